//! Folders by topic, date and hour, named as Hive and its readers expect: `date=2026-11-30/hour=09`.
//!
//! Contract: the folder of a record depends on its topic and its timestamp alone; times are UTC. The rows
//! of a batch that go into one folder keep their order.

use std::{collections::BTreeMap, fmt, ops::Range, str::FromStr, sync::Arc};

use chrono::{DateTime, Timelike as _};
use kafka_direct::{
    Column, Columns,
    arrow::{
        array::{Array as _, RecordBatch},
        schema::{Schema, SchemaRef},
    },
};

use crate::{Error, format::Rows};

/// The value of a time that a record does not have, in the words of Hive.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

const HOUR_MILLIS: i64 = 3_600_000;

/// What a level of folders is named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionBy {
    /// `topic=<name>`. The files do not have the column.
    Topic,
    /// `date=<year>-<month>-<day>` of the record's timestamp, in UTC.
    Date,
    /// `hour=<00 to 23>` of the record's timestamp, in UTC.
    Hour,
}

impl PartitionBy {
    const ALL: [Self; 3] = [Self::Topic, Self::Date, Self::Hour];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Date => "date",
            Self::Hour => "hour",
        }
    }

    /// The column that it is made from.
    const fn column(self) -> Column {
        match self {
            Self::Topic => Column::Topic,
            Self::Date | Self::Hour => Column::Timestamp,
        }
    }
}

impl fmt::Display for PartitionBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PartitionBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| {
            Error::invalid(format!(
                "files cannot be laid out by `{text}`: write topic, date or hour"
            ))
        })
    }
}

/// The levels of folders below the root, from the top; none for files in the root.
#[derive(Debug, Clone, Default)]
pub(super) struct Levels(Vec<PartitionBy>);

impl Levels {
    pub(super) fn new(levels: Vec<PartitionBy>) -> Self {
        Self(levels)
    }

    /// Checks that each level is there once, and can be made from these columns.
    pub(super) fn check(&self, columns: Columns) -> Result<(), Error> {
        for (index, level) in self.0.iter().enumerate() {
            if self.0.iter().take(index).any(|before| before == level) {
                return Err(Error::invalid(format!(
                    "files are laid out by {level} twice: name it once"
                )));
            }
            let column = level.column();
            if !columns.contains(column) {
                return Err(Error::invalid(format!(
                    "a layout by {level} needs the column `{column}`: add it to the columns"
                )));
            }
        }
        Ok(())
    }

    /// The columns of files: the topic is not among them if it is a level, as in Hive. Readers get it from
    /// the folder.
    pub(super) fn schema_of_files(&self, schema: &SchemaRef) -> SchemaRef {
        let kept = schema.fields().iter().filter(|field| !self.is_topic(field.name())).cloned();
        Arc::new(Schema::new(kept.collect::<Vec<_>>()))
    }

    /// A batch with the columns of [`Levels::schema_of_files`].
    pub(super) fn for_files(&self, batch: RecordBatch) -> Result<RecordBatch, Error> {
        let schema = batch.schema();
        let fields = schema.fields().iter().enumerate();
        let kept: Vec<usize> = fields
            .filter(|(_, field)| !self.is_topic(field.name()))
            .map(|(index, _)| index)
            .collect();
        if kept.len() == schema.fields().len() {
            return Ok(batch);
        }
        batch.project(&kept).map_err(|error| Error::Internal { message: error.to_string() })
    }

    fn is_topic(&self, column: &str) -> bool {
        self.0.contains(&PartitionBy::Topic) && column == Column::Topic.as_str()
    }

    /// The rows of `batch`, whose records have one topic, by folder: its path, with a `/` at its end, and
    /// the rows in it.
    pub(super) fn split(
        &self,
        batch: &RecordBatch,
    ) -> Result<BTreeMap<String, Vec<Range<usize>>>, Error> {
        let rows = Rows::new(batch)?;
        let topic =
            rows.topic.as_ref().filter(|_| rows.len > 0).map_or("", |topics| topics.name(0));
        let by_time = self.0.iter().any(|level| *level != PartitionBy::Topic);
        let hours = rows.timestamp.filter(|_| by_time);
        let hour = |row: usize| -> Option<i64> {
            let hours = hours.filter(|hours| !hours.is_null(row))?;
            Some(hours.value(row).div_euclid(HOUR_MILLIS))
        };
        let mut found: BTreeMap<String, Vec<Range<usize>>> = BTreeMap::new();
        let mut from = 0;
        while from < rows.len {
            let of = hour(from);
            let same = (from..rows.len).take_while(|row| hour(*row) == of).count();
            let run = from..from.saturating_add(same);
            from = run.end;
            found.entry(self.folder(topic, of)).or_default().push(run);
        }
        Ok(found)
    }

    /// The folder of records of this topic and hour since 1970.
    fn folder(&self, topic: &str, hour: Option<i64>) -> String {
        let millis = hour.and_then(|hour| hour.checked_mul(HOUR_MILLIS));
        // A producer may write any number: some are beyond the calendar.
        let time = millis.and_then(DateTime::from_timestamp_millis);
        let mut path = String::new();
        for level in &self.0 {
            let value = match (level, time) {
                (PartitionBy::Topic, _) => topic.to_owned(),
                (PartitionBy::Date, Some(at)) => at.date_naive().to_string(),
                (PartitionBy::Hour, Some(at)) => format!("{:02}", at.hour()),
                (PartitionBy::Date | PartitionBy::Hour, None) => NO_VALUE.to_owned(),
            };
            path.push_str(&format!("{level}={value}/"));
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use kafka_direct::arrow::array::{
        DictionaryArray, Int32Array, StringArray, TimestampMillisecondArray,
    };
    use proptest::prelude::*;

    use super::*;

    fn levels(text: &str) -> Levels {
        Levels::new(text.split(',').map(|one| one.parse().unwrap()).collect())
    }

    fn batch(times: &[Option<i64>]) -> RecordBatch {
        let columns = Columns::none().with(Column::Topic).with(Column::Timestamp);
        let keys = Int32Array::from_iter_values(times.iter().map(|_| 0));
        let topics = DictionaryArray::new(keys, Arc::new(StringArray::from(vec!["t-1"])));
        let times =
            TimestampMillisecondArray::from_iter(times.iter().copied()).with_timezone("UTC");
        let schema = kafka_direct::schema(columns);
        let arrays = schema.fields().iter().map(|field| match field.name().as_str() {
            "topic" => Arc::new(topics.clone()) as _,
            _ => Arc::new(times.clone()) as _,
        });
        RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).unwrap()
    }

    #[test]
    fn rows_go_into_folders_by_topic_and_utc_time() {
        let nine = 1_764_493_200_000; // 2025-11-30T09:00:00Z
        let times =
            [Some(nine), Some(nine + HOUR_MILLIS - 1), Some(nine + HOUR_MILLIS), None, Some(nine)];
        let split = |levels: Levels| -> Vec<(String, Vec<(usize, usize)>)> {
            let split = levels.split(&batch(&times)).unwrap().into_iter();
            split
                .map(|(path, runs)| (path, runs.iter().map(|run| (run.start, run.end)).collect()))
                .collect()
        };
        let none = "topic=t-1/date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__/";
        let expected = [
            ("topic=t-1/date=2025-11-30/hour=09/".to_owned(), vec![(0, 2), (4, 5)]),
            ("topic=t-1/date=2025-11-30/hour=10/".to_owned(), vec![(2, 3)]),
            (none.to_owned(), vec![(3, 4)]),
        ];
        assert_eq!(split(levels("topic,date,hour")), expected);
        assert_eq!(split(levels("topic")), [("topic=t-1/".to_owned(), vec![(0, 5)])]);
        assert_eq!(split(Levels::default()), [(String::new(), vec![(0, 5)])]);
        assert!(levels("date").split(&batch(&[])).unwrap().is_empty());
        let files = levels("date,topic").for_files(batch(&times)).unwrap();
        assert_eq!(files.schema(), levels("topic").schema_of_files(&batch(&times).schema()));
        assert_eq!((files.num_columns(), files.num_rows()), (1, 5));
        assert_eq!(levels("date").for_files(batch(&times)).unwrap().num_columns(), 2);
    }

    #[test]
    fn levels_that_repeat_or_lack_their_column_are_refused() {
        let columns = Columns::none().with(Column::Timestamp);
        levels("date,hour").check(columns).unwrap();
        for (text, named) in [("date,hour,date", "twice"), ("topic", "`topic`")] {
            assert!(levels(text).check(columns).unwrap_err().to_string().contains(named));
        }
        assert!(
            "day".parse::<PartitionBy>().unwrap_err().to_string().contains("topic, date or hour")
        );
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_folder_whatever_its_time(
            times in prop::collection::vec(prop::option::of(prop_oneof![any::<i64>(), -9_000_000..9_000_000_i64]), 0..50),
            levels_text in prop::sample::select(vec!["date", "hour", "date,hour", "topic,hour"]),
        ) {
            let split = levels(levels_text).split(&batch(&times)).unwrap();
            let mut rows: Vec<usize> = split.values().flatten().flat_map(Clone::clone).collect();
            prop_assert!(split.values().all(|runs| runs.is_sorted_by(|a, b| a.end <= b.start)));
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..times.len()).collect::<Vec<_>>());
        }
    }
}
