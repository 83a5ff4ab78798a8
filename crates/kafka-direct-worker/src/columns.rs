//! The columns of a batch, and the set of columns that a read requests.

use std::{fmt, str::FromStr};

use crate::WorkerError;

/// One column of an Arrow batch. `Display` and `FromStr` use its name in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Column {
    /// `key`: the record's key, null if it has none.
    Key,
    /// `value`: the record's value, null for a tombstone; an empty value is not null.
    Value,
    /// `topic`: the topic's name.
    Topic,
    /// `partition`: the partition's index.
    Partition,
    /// `offset`: the record's offset.
    Offset,
    /// `timestamp`: milliseconds since the epoch, null if the record has none.
    Timestamp,
    /// `timestamp_type`: 0 if the producer set the timestamp, 1 if the broker did.
    TimestampType,
    /// `headers`: every header in order, duplicates included.
    Headers,
}

impl Column {
    /// Every column, in schema order.
    pub const ALL: [Self; 8] = [
        Self::Key,
        Self::Value,
        Self::Topic,
        Self::Partition,
        Self::Offset,
        Self::Timestamp,
        Self::TimestampType,
        Self::Headers,
    ];

    /// The column's name in the schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Offset => "offset",
            Self::Timestamp => "timestamp",
            Self::TimestampType => "timestamp_type",
            Self::Headers => "headers",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::Value => 1 << 1,
            Self::Topic => 1 << 2,
            Self::Partition => 1 << 3,
            Self::Offset => 1 << 4,
            Self::Timestamp => 1 << 5,
            Self::TimestampType => 1 << 6,
            Self::Headers => 1 << 7,
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Column {
    type Err = WorkerError;

    fn from_str(text: &str) -> Result<Self, WorkerError> {
        let found = Self::ALL.into_iter().find(|column| column.as_str() == text);
        found.ok_or_else(|| WorkerError::UnknownColumn { name: text.to_owned() })
    }
}

/// A set of columns, whose Arrow types are in the table of [`schema`](crate::schema()). The default is every column except headers, which cost most and are requested
/// least often.
///
/// `FromStr` reads names separated by commas, in any order: `"key,value".parse::<Columns>()`. An
/// unknown name is [`WorkerError::UnknownColumn`], of kind `Invalid`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Columns(u8);

impl Columns {
    /// The set of all columns, headers included.
    #[must_use]
    pub const fn all() -> Self {
        Self(u8::MAX)
    }

    /// The empty set: batches then have a row count and no columns.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// This set with `column` added.
    #[must_use]
    pub const fn with(self, column: Column) -> Self {
        Self(self.0 | column.bit())
    }

    /// This set with `column` removed.
    #[must_use]
    pub const fn without(self, column: Column) -> Self {
        Self(self.0 & !column.bit())
    }

    /// Whether `column` is in the set.
    #[must_use]
    pub const fn contains(self, column: Column) -> bool {
        self.0 & column.bit() != 0
    }

    /// Iterates over the columns in schema order, whatever the order they were added in.
    pub fn iter(self) -> impl Iterator<Item = Column> {
        Column::ALL.into_iter().filter(move |column| self.contains(*column))
    }

    /// Whether any of these columns needs bytes of the records.
    pub(crate) const fn need_bytes(self) -> bool {
        self.contains(Column::Key) || self.contains(Column::Value) || self.contains(Column::Headers)
    }

    /// Whether any of these columns needs the records to be parsed, not only counted.
    pub(crate) const fn need_records(self) -> bool {
        self.need_bytes() || self.contains(Column::Offset) || self.contains(Column::Timestamp)
    }
}

impl Default for Columns {
    fn default() -> Self {
        Self::all().without(Column::Headers)
    }
}

impl fmt::Debug for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Column::as_str)).finish()
    }
}

impl FromIterator<Column> for Columns {
    fn from_iter<I: IntoIterator<Item = Column>>(columns: I) -> Self {
        columns.into_iter().fold(Self::none(), Self::with)
    }
}

impl FromStr for Columns {
    type Err = WorkerError;

    fn from_str(text: &str) -> Result<Self, WorkerError> {
        text.split(',').map(str::parse::<Column>).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_unknown_ones_are_rejected() {
        for column in Column::ALL {
            assert_eq!(column.to_string().parse::<Column>().unwrap(), column);
        }
        let error = "Key".parse::<Column>().unwrap_err();
        assert!(error.to_string().contains("`Key`"), "{error}");
        assert_eq!(error.kind(), kafka_direct_core::ErrorKind::Invalid);
    }

    #[test]
    fn a_set_is_read_from_names_with_commas() {
        let set: Columns = "headers,key".parse().unwrap();
        assert_eq!(set, Columns::none().with(Column::Key).with(Column::Headers));
        for (text, unknown) in
            [("", "``"), ("key,", "``"), ("key, value", "` value`"), ("a", "`a`")]
        {
            let error = text.parse::<Columns>().unwrap_err();
            assert!(error.to_string().contains(unknown), "{error}");
        }
    }

    #[test]
    fn sets_keep_schema_order_and_default_leaves_headers_out() {
        let set: Columns = [Column::Headers, Column::Key].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Column::Key, Column::Headers]);
        assert_eq!(Columns::default().with(Column::Headers), Columns::all());
        assert_eq!(Columns::all().iter().fold(Columns::all(), Columns::without), Columns::none());
        assert!(!Columns::default().contains(Column::Headers));
    }
}
