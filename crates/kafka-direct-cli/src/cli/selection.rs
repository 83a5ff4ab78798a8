//! The selection flags, which `read`, `plan` and `bench` share.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use kafka_direct::{DataLossPolicy, IsolationLevel, NoMatch, OffsetSpec};

use crate::{list::List, selection::PartitionList, size};

/// Help text on the syntax of S and E in `--from S` and `--to E`.
pub(crate) const OFFSETS_HELP: &str = "\
Starts and ends (S and E):
  earliest, latest         the first existing offset; the readable end
  1500                     an offset: the first one read, or the first one not read
  -1500                    this many offsets before the readable end of each partition
  @2025-01-01T00:00:00Z    the first offset whose record has this time or a later one; also without
                           the @, as a date (2025-01-01, midnight UTC) or as a time before now (@-1h)
  @1735689600000           the same in milliseconds since 1970
  group:NAME               the committed offset of a consumer group (starts only); earliest for
                           partitions without a committed offset
  0:100,1:earliest,*:-10   by partition; `*` is for all other partitions
  orders:0:100,logs:3:-5   by topic and partition

The readable end is the last stable offset, or the high watermark with read_uncommitted.
A time is converted to an offset. Records after that offset may be older. It may also be the offset
of a transaction marker. If open transactions withhold --from or --to, the exit code is 7.";

/// Help text on the syntax of S in `--from S` of a stream.
pub(crate) const STARTS_HELP: &str = "\
Starts (S):
  earliest, latest         the first existing offset; the readable end
  1500, -1500              an offset; this many offsets before the readable end of each partition
  @2025-01-01T00:00:00Z    the first offset whose record has this time or a later one; also a date
                           (2025-01-01) or a time before now (@-1h)
  group:NAME               the committed offset of a consumer group; earliest where there is none
  0:100,1:earliest,*:-10   by partition; `*` is for all other partitions

A start is used once: from then on the checkpoint has the positions.";

/// Flags that select topics, offsets and visible records, and that split ranges.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArgs {
    /// Topics to read
    #[arg(short, long = "topic", value_name = "T[,T2..]", conflicts_with = "topic_pattern")]
    pub(crate) topics: Vec<List<String>>,
    /// Read every topic whose full name matches this regular expression
    #[arg(long, value_name = "RE")]
    pub(crate) topic_pattern: Option<String>,
    /// Where to start, inclusive; see below [default: earliest]
    #[arg(short = 'o', long, value_name = "S", allow_hyphen_values = true)]
    pub(crate) from: Option<OffsetSpec>,
    /// Start where the job in this folder, or of this receipt, ended; partitions it did not have start
    /// at earliest
    #[arg(long, conflicts_with = "from", value_name = "DIR|RECEIPT")]
    pub(crate) after: Option<PathBuf>,
    /// Where to end, exclusive; see below [default: latest]
    #[arg(long, value_name = "E", allow_hyphen_values = true)]
    pub(crate) to: Option<OffsetSpec>,
    /// Only these partitions of each topic: `0,3-5` [default: all]
    #[arg(short, long, value_name = "LIST", allow_hyphen_values = true)]
    pub(crate) partitions: Option<PartitionList>,
    /// Which records of transactions are read [default: read_committed]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) isolation: Option<Isolation>,
    /// What to do if offsets do not exist: stop, or read what exists and report what is skipped
    #[arg(long, value_enum, default_value_t = OnDataLoss::Fail, value_name = "POLICY")]
    pub(crate) on_data_loss: OnDataLoss,
    /// What to do if a partition has no record at or after the time of `--from @..`: stop, or read
    /// nothing of that partition
    #[arg(long, value_enum, default_value_t = OnNoMatch::Error, value_name = "POLICY")]
    #[arg(hide_short_help = true)]
    pub(crate) on_no_match: OnNoMatch,
    /// Wait up to this long for open transactions that withhold records below --from or --to; without
    /// it such a run exits with code 7: `30s`, `5m`
    #[arg(long, value_parser = size::duration, value_name = "D")]
    pub(crate) wait_for_transactions: Option<Duration>,
    /// Split large ranges until there are about this many ranges [default: one per partition]
    #[arg(long, value_name = "N")]
    pub(crate) min_partitions: Option<u64>,
    /// Split ranges so that each spans at most this many offsets
    #[arg(long, value_name = "N")]
    pub(crate) max_records_per_partition: Option<u64>,
}

impl SelectionArgs {
    /// The names of all `--topic` flags.
    pub(crate) fn topics(&self) -> Vec<String> {
        List::flat(&self.topics)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Isolation {
    /// No aborted records, and no records of open transactions
    #[default]
    ReadCommitted,
    /// Every replicated record
    ReadUncommitted,
}

impl From<Isolation> for IsolationLevel {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::ReadCommitted => Self::ReadCommitted,
            Isolation::ReadUncommitted => Self::ReadUncommitted,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnDataLoss {
    /// Stop with exit code 3
    #[default]
    Fail,
    /// Read what exists inside the range, and report on stderr what was skipped
    Resume,
}

impl From<OnDataLoss> for DataLossPolicy {
    fn from(policy: OnDataLoss) -> Self {
        match policy {
            OnDataLoss::Fail => Self::Fail,
            OnDataLoss::Resume => Self::Resume,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnNoMatch {
    /// Stop with exit code 2
    #[default]
    Error,
    /// Start at the readable end
    Latest,
}

impl From<OnNoMatch> for NoMatch {
    fn from(policy: OnNoMatch) -> Self {
        match policy {
            OnNoMatch::Error => Self::Error,
            OnNoMatch::Latest => Self::Latest,
        }
    }
}
