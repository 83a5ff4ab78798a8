//! Why a lane no longer serves a cursor, and what each reason means if nothing has to be asked.

use std::{io, sync::Arc};

use kafka_direct_core::{ErrorKind, HeaderError, Offset};

use super::{frame::FrameError, range_state::RangeState};
use crate::{code, error::WireError};

/// A response above this size was not meant as one: its length field is rubbish.
const SIZE_LIMIT_BYTES: usize = 1 << 30;

/// Why a lane no longer serves a cursor.
#[derive(Debug, Clone)]
pub(super) enum Stop {
    /// The position reached the end of the range.
    Done,
    /// The queued bytes were given up for readers that starved.
    Evicted,
    /// The connection failed; every range of the lane is told the same.
    Connection { address: Arc<str>, kind: io::ErrorKind, reason: Arc<str> },
    /// The broker responded with an error code for this partition.
    Code { address: Arc<str>, code: i16 },
    /// First in the request, not throttled, nothing for others either, and yet nothing came: `end` is
    /// the readable end the response named.
    Empty { end: Offset },
    /// The batch headers make no sense.
    Header(HeaderError),
    /// A batch ends above the high watermark.
    AboveHighWatermark { next: Offset, high_watermark: Offset },
    /// The batch `[base, end)` overlaps the one after it, which begins at `next_base`.
    Overlap { base: Offset, end: Offset, next_base: Offset },
    /// The response is larger than a single batch may be.
    TooLarge { bytes: usize },
    /// The response could not be parsed.
    Protocol { address: Arc<str>, reason: Arc<str> },
    /// The broker and this build have no version of a request in common.
    Version { address: Arc<str>, api: &'static str, broker: Option<(i16, i16)>, ours: (i16, i16) },
}

/// What recovery does about a stop for which it asks the cluster nothing.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The range has ended.
    End,
    /// No fault: the rest is fetched again at once.
    GoOn,
    /// A passing fault: it is retried until the retry timeout.
    Retry(WireError),
    /// The response makes no sense: it is requested again a few times.
    Invalid(WireError),
    /// No retry can mend this.
    Fail(WireError),
}

impl Stop {
    /// The lane's task ended.
    pub(super) fn lane_ended() -> Self {
        Self::Connection {
            address: "the lane".into(),
            kind: io::ErrorKind::Interrupted,
            reason: "its task ended: the runtime it ran on was shut down".into(),
        }
    }

    /// A response of the broker at `address` could not be read.
    pub(super) fn unreadable(address: &Arc<str>, error: FrameError) -> Self {
        let address = Arc::clone(address);
        match error {
            FrameError::Io(error) => {
                Self::Connection { address, kind: error.kind(), reason: error.to_string().into() }
            }
            FrameError::TooLarge { bytes, .. } if bytes < SIZE_LIMIT_BYTES => {
                Self::TooLarge { bytes }
            }
            other => Self::Protocol { address, reason: other.to_string().into() },
        }
    }

    /// What this stop means for `range`.
    pub(super) fn verdict(self, range: &RangeState) -> Verdict {
        let invalid = |reason| Verdict::Invalid(range.bad_batch(reason, ErrorKind::Corrupt));
        match self {
            Self::Done => Verdict::End,
            Self::Evicted | Self::Empty { .. } => Verdict::GoOn,
            Self::Connection { address, kind, reason } => {
                let source = io::Error::new(kind, reason.to_string());
                Verdict::Retry(WireError::Connection { address, action: "Fetch", source })
            }
            Self::Protocol { address, reason } => {
                let reason = reason.to_string().into();
                Verdict::Invalid(WireError::Protocol { address, api: "Fetch", reason })
            }
            Self::Version { address, api, broker, ours } => {
                Verdict::Fail(WireError::UnsupportedVersion { address, api, broker, ours })
            }
            Self::Header(source @ HeaderError::OldFormat { .. }) => {
                Verdict::Fail(range.bad_batch(source.to_string(), ErrorKind::Invalid))
            }
            Self::Header(source) => invalid(source.to_string()),
            Self::AboveHighWatermark { next, high_watermark } => invalid(format!(
                "the batch ends at {next}, above the high watermark {high_watermark}"
            )),
            Self::Overlap { base, end, next_base } => invalid(format!(
                "the batch at offset {base} ends at {end}, the one after it begins at {next_base}"
            )),
            Self::TooLarge { bytes } => {
                let reason = format!(
                    "{} at offset {}: the response has {bytes} bytes; raise the setting to read the batch",
                    range.range(),
                    range.position()
                );
                Verdict::Fail(WireError::Config { setting: "max_batch_bytes", reason })
            }
            Self::Code { code, address } => {
                let topic_partition = Some(range.topic_partition().clone());
                let error = WireError::Broker { address, api: "Fetch", code, topic_partition };
                if code == code::CORRUPT_MESSAGE {
                    Verdict::Invalid(error)
                } else {
                    Verdict::Retry(error)
                }
            }
        }
    }
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        let address = error.address().map_or_else(|| "the broker".into(), Arc::clone);
        match error {
            WireError::Connection { source, .. } => {
                Self::Connection { address, kind: source.kind(), reason: source.to_string().into() }
            }
            WireError::UnsupportedVersion { api, broker, ours, .. } => {
                Self::Version { address, api, broker, ours }
            }
            other => Self::Protocol { address, reason: other.to_string().into() },
        }
    }
}
