//! The failures of a run, their exit codes, and their report on stderr.

use std::{error::Error as _, io, process::ExitCode};

use kafka_direct::{
    BoxError, Error, ErrorKind,
    error::{DriverError, WireError},
};

use crate::output;

/// The exit code that a shell reports for a process ended by a closed pipe (128 + SIGPIPE).
const CLOSED_PIPE: u8 = 141;

/// The exit codes: what each means, and what a scheduler should do. The help and docs/jobs.md show them.
pub(crate) const CODES: [(&str, &str, &str); 9] = [
    ("0", "done, now or in an earlier run", "continue"),
    (
        "1",
        "a bug, a failed verification, an output that cannot be written, or `--fail-if-empty`",
        "alert an operator",
    ),
    (
        "2",
        "wrong flags, a port that is no Kafka listener, an unknown topic, a folder or plan of another job or cluster",
        "alert an operator",
    ),
    (
        "3",
        "offsets do not exist, or no longer: trimmed, lost, or of a re-created topic",
        "alert an operator; see `--on-data-loss`",
    ),
    ("4", "another driver owns the checkpoint", "alert an operator"),
    ("5", "corrupt or unreadable records", "alert an operator"),
    ("6", "credentials or ACLs", "alert an operator"),
    (
        "7",
        "cluster unavailable, deadline passed, open transactions, or another run is active",
        "run it again later",
    ),
    ("130, 143, 141", "SIGINT, SIGTERM, or stdout was closed by its reader", "run it again"),
];

/// The exit codes for the help.
pub(crate) fn codes_help() -> String {
    let rows = CODES.map(|(code, meaning, _)| format!("  {code:<3}  {meaning}"));
    format!("Exit codes:\n{}\n\nOnly 7 is worth a retry.", rows.join("\n"))
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The library could not plan or read.
    #[error(transparent)]
    Read(Error),
    /// A flag, a file or stdin has invalid input.
    #[error("{message}")]
    Usage {
        /// What is wrong, and how to correct it.
        message: String,
    },
    /// A file, stdin or stdout failed.
    #[error("{action} failed")]
    Io {
        /// The failed action and its file.
        action: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// An expectation or a verification failed.
    #[error("{message}")]
    Unmet {
        /// What was expected and what was found.
        message: String,
        /// The kind, which decides the exit code.
        kind: ErrorKind,
    },
    /// Writing records failed.
    #[error("writing to {target} failed")]
    Produce {
        /// Topic and partition.
        target: String,
        /// The kind, which decides the exit code.
        kind: ErrorKind,
        /// The error of the producing client.
        source: BoxError,
    },
    /// Writing records failed after a part of them was written.
    #[error("writing to {target} failed")]
    HalfProduced {
        /// Topic and partition.
        target: String,
        /// The error of the producing client.
        source: BoxError,
    },
    /// The reader of stdout has closed it; nothing is reported.
    #[error("stdout was closed")]
    ClosedPipe,
    /// A signal stopped the run.
    #[error("stopped by signal {signal}")]
    Signalled {
        /// The number of the signal: 2 for SIGINT, 15 for SIGTERM.
        signal: u8,
    },
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into() }
    }

    /// A failed verification or expectation: exit code 1.
    pub(crate) fn unmet(message: impl Into<String>) -> Self {
        Self::Unmet { message: message.into(), kind: ErrorKind::Internal }
    }

    /// The failure of `action` on a file or stream; a closed pipe is [`Failure::ClosedPipe`].
    pub(crate) fn io(action: impl Into<String>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::ClosedPipe;
        }
        Self::Io { action: action.into(), source }
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            // A folder that cannot be written, as for other files.
            Self::Read(Error::Checkpoint { kind: ErrorKind::Unavailable, .. }) => 1,
            Self::Read(error) => code(error.kind()),
            Self::Usage { .. } => 2,
            Self::Io { .. } => 1,
            Self::Unmet { kind, .. } => code(*kind),
            Self::Produce { kind, .. } => code(*kind),
            Self::HalfProduced { .. } => 1,
            Self::ClosedPipe => CLOSED_PIPE,
            Self::Signalled { signal } => signal.saturating_add(128),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        let kind = match self {
            Self::Read(error) => return hint_for(error),
            Self::Produce { kind, .. } => *kind,
            Self::Io { action, source }
                if source.kind() == io::ErrorKind::StorageFull && action != output::TO_STDOUT =>
            {
                return Some("free space and run the command again; no incomplete file is left");
            }
            Self::HalfProduced { .. } => {
                return Some(
                    "the same command would write the first records again; read the topic to see which are there",
                );
            }
            // Their messages say what to do, or there is nothing to do.
            Self::Usage { .. }
            | Self::Unmet { .. }
            | Self::Io { .. }
            | Self::ClosedPipe
            | Self::Signalled { .. } => return None,
        };
        hint(kind)
    }
}

/// Unwraps a [`Failure`] that the engine returned as the source of its own error.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Closure { range, attempts, source } => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(source) => Self::Read(Error::Closure { range, attempts, source }),
            },
            Error::Sink { range, attempts, source } => match own(source) {
                Ok(own) => own,
                Err(source) => Self::Read(Error::Sink { range, attempts, source }),
            },
            Error::Commit { source } => match own(source) {
                Ok(own) => own,
                Err(source) => Self::Read(Error::Commit { source }),
            },
            other => in_flags(&other).unwrap_or(Self::Read(other)),
        }
    }
}

/// The failure that a sink of this program, or of the sinks' crate, returned; or a record that could not
/// be decoded.
fn own(source: BoxError) -> Result<Failure, BoxError> {
    let source = match source.downcast::<Failure>() {
        Ok(own) => return Ok(*own),
        Err(source) => source,
    };
    let source = match source.downcast::<kafka_direct_sinks::Error>() {
        Ok(of_sinks) => return Ok((*of_sinks).into()),
        Err(source) => source,
    };
    match *source.downcast::<Error>()? {
        // It names the record, and it was tried once.
        poison @ Error::Poison { .. } => Ok(Failure::Read(poison)),
        other => Err(other.into()),
    }
}

impl From<kafka_direct_sinks::Error> for Failure {
    fn from(error: kafka_direct_sinks::Error) -> Self {
        use kafka_direct_sinks::Error as Sinks;
        let (message, kind) = (error.to_string(), error.kind());
        match error {
            Sinks::Read(error) => error.into(),
            Sinks::Io { action, source } => Self::io(action, source),
            Sinks::Produce { target, kind, source } => Self::Produce { target, kind, source },
            Sinks::Invalid { message } => Self::Usage { message },
            _ => Self::Unmet { message, kind },
        }
    }
}

const fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 2,
        ErrorKind::OffsetLost => 3,
        ErrorKind::Fenced => 4,
        ErrorKind::Corrupt => 5,
        ErrorKind::Unauthorized => 6,
        ErrorKind::Unavailable => 7,
        ErrorKind::Cancelled => 130,
        _ => 1,
    }
}

/// What an error of the library does not say itself: the flag that helps.
fn hint_for(error: &Error) -> Option<&'static str> {
    match error {
        Error::Withheld { .. } => {
            Some("`--wait-for-transactions 10m` waits until the transactions have ended")
        }
        Error::ForeignPlan { .. } => Some(
            "name another --plan file or output folder; `--force` and `--on-data-loss` do not help, since the plan is of a topic or cluster that is not this one",
        ),
        Error::Driver(DriverError::NoRecordSince { .. }) => {
            Some("`--on-no-match latest` reads nothing of such partitions")
        }
        Error::Driver(DriverError::Recreated { .. }) => {
            Some("`--on-data-loss resume` reads the new topic from its start and reports it")
        }
        Error::Poison { .. } => Some(
            "`--on-poison skip` leaves such records out, `--on-poison null` keeps them with the reason; both count them and warn",
        ),
        Error::OtherSink { .. } => {
            Some("`--allow-other-sink` goes on here, without the batches that are done")
        }
        // Their messages say what to check.
        Error::Checkpoint { .. } => None,
        // Their messages say which time limit passed.
        Error::PlanningDeadline | Error::Wire(WireError::Deadline { .. }) => None,
        other => hint(other.kind()),
    }
}

const fn hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Unavailable => Some(
            "the same command may succeed later; check the addresses, the brokers and the network",
        ),
        ErrorKind::OffsetLost => Some(
            "`kafka-direct offsets` shows which offsets exist; `--on-data-loss resume` reads them and reports the skipped ones",
        ),
        ErrorKind::Fenced => Some(
            "another process has started on this checkpoint and goes on; a scheduler that may start a run before the last one has ended needs a lock, such as `flock`",
        ),
        ErrorKind::Unauthorized => Some("check the user's credentials and ACLs"),
        ErrorKind::Corrupt => Some(
            "the stored or received bytes are corrupt; check the broker's disk and log, or exclude the offset with --from and --to",
        ),
        _ => None,
    }
}

/// The flag that sets what the library calls `setting`.
fn flag(setting: &str) -> Option<&'static str> {
    Some(match setting {
        "bootstrap servers" => "--brokers",
        "client_id" => "--client-id",
        "connect_timeout" => "--connect-timeout",
        "request_timeout" => "--request-timeout",
        "memory_budget_bytes" => "--memory-budget",
        "fetch_max_bytes" => "--fetch-max-bytes",
        "partition_max_bytes" => "--partition-max-bytes",
        "max_batch_bytes" => "--max-batch-bytes",
        "fetch_connections_per_broker" => "--fetch-connections",
        "min_partitions" => "--min-partitions",
        "max_records_per_partition" => "--max-records-per-partition",
        "topics" => "--topic",
        "topic pattern" => "--topic-pattern",
        "after" => "--after",
        "group" => "group:NAME",
        _ => return None,
    })
}

/// The failure in the words of the command line, where the library names its own setting.
fn in_flags(error: &Error) -> Option<Failure> {
    let (setting, reason) = match error {
        Error::Wire(WireError::Config { setting, reason }) => (setting, reason.clone()),
        Error::Setting { setting, reason } => (setting, reason.clone()),
        Error::Driver(DriverError::BadNumber {
            topic_partition: None,
            setting,
            value,
            problem,
        }) => (setting, format!("{value} {problem}")),
        _ => return None,
    };
    let policy = "data-loss policy `resume`";
    let reason = reason.replace(&format!("the {policy}"), "`--on-data-loss resume`");
    let reason = reason.replace(policy, "`--on-data-loss resume`");
    Some(Failure::usage(format!("{}: {reason}", flag(setting)?)))
}

/// Reports `failure` on stderr, one line per cause, and returns its exit code.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    if !matches!(failure, Failure::ClosedPipe | Failure::Signalled { .. }) {
        output::error(&format!("error: {failure}"));
        let mut last = failure.to_string();
        let mut cause = failure.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if text != last {
                output::error(&format!("caused by: {text}"));
            }
            last = text;
            cause = error.source();
        }
        if let Some(hint) = failure.hint() {
            output::error(&format!("hint: {hint}"));
        }
    }
    ExitCode::from(failure.code())
}

/// Reports `failure` and ends the process at once, although other threads may be blocked.
#[expect(clippy::exit, reason = "the thread that would return from `main` may be blocked")]
pub(crate) fn end_process(failure: &Failure) -> ! {
    report(failure);
    std::process::exit(i32::from(failure.code()))
}

/// Prints help and version of clap on stdout, or its errors on stderr, and returns the exit code.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        output::error(error.render().to_string().trim_end());
        return ExitCode::from(2);
    }
    match output::data(&error.render().to_string()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_documented_code() {
        for (kind, expected) in [
            (ErrorKind::Internal, 1),
            (ErrorKind::Invalid, 2),
            (ErrorKind::OffsetLost, 3),
            (ErrorKind::Fenced, 4),
            (ErrorKind::Corrupt, 5),
            (ErrorKind::Unauthorized, 6),
            (ErrorKind::Unavailable, 7),
        ] {
            let failure = Failure::Unmet { message: String::new(), kind };
            assert_eq!(failure.code(), expected, "{kind}");
        }
        assert_eq!(Failure::Signalled { signal: 2 }.code(), 130);
        assert_eq!(Failure::Signalled { signal: 15 }.code(), 143);
        assert_eq!(Failure::usage("x").code(), 2);
    }

    #[test]
    fn the_page_on_jobs_shows_the_table_of_codes() {
        let page = include_str!("../../../docs/jobs.md");
        for (code, meaning, action) in CODES {
            let row = format!("| {code} | {meaning} | {action} |");
            assert!(page.contains(&row), "docs/jobs.md lacks {row}");
        }
    }

    #[test]
    fn settings_are_named_by_their_flags() {
        let setting = "fetch_connections_per_broker";
        let wire = WireError::Config { setting, reason: "must be from 1 to 64".to_owned() };
        let failure = Failure::from(Error::from(wire));
        assert_eq!(failure.to_string(), "--fetch-connections: must be from 1 to 64");
        assert_eq!(failure.code(), 2);
    }
}
