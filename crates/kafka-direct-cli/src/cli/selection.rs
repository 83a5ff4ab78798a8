//! Which offsets are meant: the same flags for `read` and `plan`.

use clap::{Args, ValueEnum};
use kafka_direct::{DataLossPolicy, IsolationLevel, NoMatch};

use crate::selection::{OffsetSpec, PartitionList};

/// How S and E of `--from S` and `--to E` are written.
pub(crate) const OFFSETS_HELP: &str = "\
Starts and ends (S and E):
  earliest, latest         the first offset there is; the readable end
  1500                     an offset: the first one read, or the first one not read
  -1500                    so many offsets before the readable end
  @1735689600000           the first record at or after this time, in milliseconds since 1970
  @2025-01-01T00:00:00Z    the same as RFC 3339
  group:NAME               where a consumer group stands (starts only); earliest where it has
                           committed nothing
  0:100,1:earliest,*:-10   by partition, `*` for those not named
  orders:0:100,logs:3:-5   the same with several topics

For an end by time the bound is an offset: older records behind it are not read.";

/// Topics, offsets, visibility, splitting.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArgs {
    /// Topics to read
    #[arg(short, long = "topic", value_delimiter = ',', value_name = "T[,T2..]")]
    #[arg(conflicts_with = "topic_pattern")]
    pub(crate) topics: Vec<String>,
    /// Read every topic whose whole name matches this regular expression
    #[arg(long, value_name = "RE")]
    pub(crate) topic_pattern: Option<String>,
    /// Where to start, inclusive; see below [default: earliest]
    #[arg(short = 'o', long, value_name = "S", allow_negative_numbers = true)]
    pub(crate) from: Option<OffsetSpec>,
    /// Where to end, exclusive; see below [default: latest]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub(crate) to: Option<OffsetSpec>,
    /// Only these partitions of each topic: `0,3-5` [default: all]
    #[arg(short, long, value_name = "LIST")]
    pub(crate) partitions: Option<PartitionList>,
    /// Which records of transactions are seen
    #[arg(long, value_enum, default_value_t = Isolation::ReadCommitted, value_name = "LEVEL")]
    pub(crate) isolation: Isolation,
    /// What to do about offsets that do not exist: stop, or go on with what exists and say so
    #[arg(long, value_enum, default_value_t = OnDataLoss::Fail, value_name = "POLICY")]
    pub(crate) on_data_loss: OnDataLoss,
    /// What to do about a partition that has no record at or after the time of `--from @..`: stop,
    /// or read nothing of it
    #[arg(long, value_enum, default_value_t = OnNoMatch::Error, value_name = "POLICY")]
    #[arg(hide_short_help = true)]
    pub(crate) on_no_match: OnNoMatch,
    /// Split large ranges until there are about this many [default: one range per partition]
    #[arg(long, value_name = "N")]
    pub(crate) min_partitions: Option<u64>,
    /// Split ranges so that none spans more offsets than this
    #[arg(long, value_name = "N")]
    pub(crate) max_records_per_partition: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Isolation {
    /// Neither aborted records nor those of open transactions
    #[default]
    ReadCommitted,
    /// Every record that is replicated
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
    /// Go on inside the range with what exists, and say on stderr what was skipped
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
