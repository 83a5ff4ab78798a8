//! The reasons why a lane stops a cursor, and the action for each that needs no query.

use std::{io, sync::Arc};

use kafka_direct_core::{ErrorKind, HeaderError, Offset};

use super::{frame::FrameError, range_state::RangeState};
use crate::{code, error::WireError};

/// A size field above this limit, in bytes, is not the size of a Kafka response.
const SIZE_LIMIT_BYTES: usize = 1 << 30;

/// The reason why a lane stopped a cursor.
#[derive(Debug, Clone)]
pub(super) enum Stop {
    /// The fetch position reached the end of the range.
    Done,
    /// The queued bytes were dropped for a reader that is blocked on the budget.
    Evicted,
    /// The connection failed. All cursors of the lane stop for this reason.
    Connection { address: Arc<str>, kind: io::ErrorKind, reason: Arc<str> },
    /// The broker responded with an error code for this partition.
    Code { address: Arc<str>, code: i16 },
    /// The response had no batch, although the request listed the cursor first, no other cursor got
    /// bytes, and there was no throttle. `end` is the readable end in the response, exclusive.
    Empty { end: Offset },
    /// A batch header is invalid.
    Header(HeaderError),
    /// A batch ends above the high watermark; `next` is its end, exclusive.
    AboveHighWatermark { next: Offset, high_watermark: Offset },
    /// The batch `[base, end)` overlaps the next batch, which begins at `next_base`.
    Overlap { base: Offset, end: Offset, next_base: Offset },
    /// The response is larger than the request and `max_batch_bytes` allow.
    TooLarge { bytes: usize },
    /// The response could not be parsed.
    Protocol { address: Arc<str>, reason: Arc<str> },
    /// The broker and this build support no common version of a request.
    Version { address: Arc<str>, api: &'static str, broker: Option<(i16, i16)>, ours: (i16, i16) },
}

/// The action of recovery after a stop for which it does not query the cluster.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The range has ended.
    End,
    /// No fault: the rest of the range is fetched at once.
    Continue,
    /// A passing fault: the range is retried until the retry timeout.
    Retry(WireError),
    /// An invalid response: it is requested again a few times.
    Invalid(WireError),
    /// A fault that a retry cannot fix.
    Fail(WireError),
}

impl Stop {
    /// Returns the stop for cursors of a lane whose task ended.
    pub(super) fn lane_ended() -> Self {
        Self::Connection {
            address: "the fetch connection".into(),
            kind: io::ErrorKind::Interrupted,
            reason: "its task ended because its tokio runtime was shut down".into(),
        }
    }

    /// Returns the stop for a response of the broker at `address` that could not be read.
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

    /// Returns the action for this stop of `range`.
    pub(super) fn verdict(self, range: &RangeState) -> Verdict {
        let invalid = |reason| Verdict::Invalid(range.bad_batch(reason, ErrorKind::Corrupt));
        match self {
            Self::Done => Verdict::End,
            Self::Evicted | Self::Empty { .. } => Verdict::Continue,
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
                "the batch at offset {base} ends at {end}, but the next one begins at {next_base}"
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
            // A proxy may respond in the place of a broker for a while.
            WireError::WrongListener { what, next, .. } => Self::Connection {
                address,
                kind: io::ErrorKind::InvalidData,
                reason: format!("it is {what}; {next}").into(),
            },
            WireError::UnsupportedVersion { api, broker, ours, .. } => {
                Self::Version { address, api, broker, ours }
            }
            other => Self::Protocol { address, reason: other.to_string().into() },
        }
    }
}
