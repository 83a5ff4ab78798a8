//! Parses SINK of `--sink SINK`, WHEN of `--trigger WHEN` and N of `--coalesce N`.

use std::{
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
};

use kafka_direct::{Column, Columns, Trigger, is_legal_topic_name};
use kafka_direct_sinks::{Format, kafka_topic::KafkaTopicSink};

use crate::size;

/// Where the records of a stream go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SinkSpec {
    Console,
    Null,
    Files { format: Format, folder: PathBuf },
    Kafka { topic: String },
}

impl SinkSpec {
    /// Whether it writes files.
    pub(crate) const fn is_files(&self) -> bool {
        matches!(self, Self::Files { .. })
    }

    /// Whether a stream that is started again must continue, since its records are kept.
    pub(crate) const fn needs_checkpoint(&self) -> bool {
        matches!(self, Self::Files { .. } | Self::Kafka { .. })
    }

    /// The columns to read if `--columns` is not given.
    pub(crate) fn default_columns(&self) -> Columns {
        match self {
            Self::Console => Columns::default().without(Column::TimestampType),
            // What a benchmark of the reading needs.
            Self::Null => Columns::default(),
            Self::Files { format, .. } => format.default_columns(),
            Self::Kafka { .. } => KafkaTopicSink::columns(),
        }
    }

    /// The columns to read for those of `--columns`.
    ///
    /// # Errors
    /// What the sink needs and `named` leaves out.
    pub(crate) fn columns(&self, named: Columns) -> Result<Columns, String> {
        let Self::Kafka { .. } = self else { return Ok(named) };
        for needed in [Column::Key, Column::Value] {
            if !named.contains(needed) {
                return Err(format!(
                    "--sink {self} writes whole records: include `{needed}` in --columns"
                ));
            }
        }
        let columns = KafkaTopicSink::columns();
        let has_headers = named.contains(Column::Headers);
        Ok(if has_headers { columns } else { columns.without(Column::Headers) })
    }
}

impl FromStr for SinkSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "invalid sink `{text}`; write console, null, jsonl:DIR, csv:DIR, raw:DIR, arrow:DIR, parquet:DIR or kafka:TOPIC"
            )
        };
        match text {
            "console" => return Ok(Self::Console),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let (format, folder) = text.split_once(':').ok_or_else(wrong)?;
        if format == "kafka" {
            if is_legal_topic_name(folder) {
                return Ok(Self::Kafka { topic: folder.to_owned() });
            }
            return Err(format!("`{text}` names no legal topic"));
        }
        let format = match format {
            "jsonl" => Format::JsonLines,
            "csv" => Format::Csv,
            "raw" => Format::Raw,
            "arrow" => Format::Arrow,
            "parquet" => Format::Parquet,
            _ => return Err(wrong()),
        };
        if folder.is_empty() {
            return Err(format!("`{text}` names no folder"));
        }
        if super::is_url(Path::new(folder)) {
            return Err(format!("`{folder}` is a URL, and files are written into local folders"));
        }
        if !format.is_available() {
            return Err(format!(
                "{} is not in this build; install it with `cargo install --path crates/kafka-direct-cli --features full`",
                format.extension()
            ));
        }
        Ok(Self::Files { format, folder: PathBuf::from(folder) })
    }
}

impl fmt::Display for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console => f.write_str("console"),
            Self::Null => f.write_str("null"),
            Self::Files { format, folder } => {
                write!(f, "{}:{}", format.extension(), folder.display())
            }
            Self::Kafka { topic } => write!(f, "kafka:{topic}"),
        }
    }
}

/// When batches run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TriggerSpec(pub(crate) Trigger);

impl FromStr for TriggerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "immediate" => Trigger::Immediate,
            "available-now" => Trigger::AvailableNow,
            interval => match size::duration(interval) {
                Ok(interval) if !interval.is_zero() => Trigger::Interval(interval),
                _ => {
                    return Err(format!(
                        "invalid trigger `{text}`; write immediate, available-now, or an interval such as 10s"
                    ));
                }
            },
        }))
    }
}

/// How many writers share the ranges of a batch; `None` for a writer per range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoalesceSpec(pub(crate) Option<NonZeroUsize>);

impl FromStr for CoalesceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            number => match number.parse() {
                Ok(number) => Ok(Self(Some(number))),
                Err(_) => Err(format!("`{text}` is neither a number from 1 nor `off`")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sinks_read_back_from_their_text_and_others_are_refused() {
        for text in ["console", "null", "jsonl:out", "csv:/a/b", "raw:x:y", "kafka:a.b"] {
            assert_eq!(text.parse::<SinkSpec>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "json",
            "jsonl",
            "jsonl:",
            "xml:out",
            "Console",
            "csv:s3://b/x",
            "kafka:",
            "kafka:a b",
        ] {
            assert!(text.parse::<SinkSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn writers_are_a_number_or_off() {
        let parsed = |text: &str| text.parse::<CoalesceSpec>().map(|spec| spec.0);
        assert_eq!(parsed("off"), Ok(None));
        assert_eq!(parsed("3"), Ok(NonZeroUsize::new(3)));
        for text in ["", "0", "-1", "none", "1.5"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_topic_gets_whole_records_and_headers_only_if_they_are_named() {
        let sink = SinkSpec::Kafka { topic: "out".to_owned() };
        let columns = |names: &str| sink.columns(names.parse().unwrap());
        assert!(columns("key").unwrap_err().contains("`value`"));
        assert!(columns("value,headers").unwrap_err().contains("`key`"));
        assert_eq!(columns("value,key,headers"), Ok(sink.default_columns()));
        assert_eq!(columns("key,value"), Ok(sink.default_columns().without(Column::Headers)));
        assert_eq!(SinkSpec::Null.columns(Columns::none()), Ok(Columns::none()));
    }

    #[test]
    fn triggers_are_words_or_intervals() {
        let trigger = |text: &str| text.parse::<TriggerSpec>().map(|spec| spec.0);
        assert_eq!(trigger("immediate"), Ok(Trigger::Immediate));
        assert_eq!(trigger("available-now"), Ok(Trigger::AvailableNow));
        assert_eq!(trigger("500ms"), Ok(Trigger::Interval(Duration::from_millis(500))));
        for text in ["", "0s", "once", "now", "-1s"] {
            assert!(trigger(text).is_err(), "{text}");
        }
    }
}
