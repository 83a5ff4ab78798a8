//! The time limit of a whole run: it bounds connecting, planning and reading together.

use std::{future::Future, time::Duration};

use kafka_direct::{Cluster, ErrorKind};
use tokio::time::Instant;

use crate::{
    cli::ConnectionArgs,
    connect,
    exit::{self, Failure},
};

/// How long after the limit a run may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// A time limit that runs since it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    limit: Option<Duration>,
    began: Instant,
}

impl Deadline {
    /// Starts a limit; `None` is none.
    pub(crate) fn start(limit: Option<Duration>) -> Self {
        Self { limit, began: Instant::now() }
    }

    /// Ends the process shortly after the limit, also while it waits for the reader of its output, which
    /// cannot be cancelled.
    pub(crate) fn enforce(self) {
        let Some(limit) = self.limit else { return };
        drop(tokio::spawn(async move {
            tokio::time::sleep(limit.saturating_add(GRACE)).await;
            let failure = Failure::Unmet {
                message: format!(
                    "the deadline of {limit:?} passed, and the output does not take what was read; raise --deadline, or check what reads the output"
                ),
                kind: ErrorKind::Unavailable,
            };
            exit::end_process(&failure);
        }));
    }

    /// What is left of the limit.
    pub(crate) fn left(self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.began.elapsed()))
    }

    /// Connects as the flags say, within what is left of the limit.
    pub(crate) async fn connect(self, args: &ConnectionArgs) -> Result<Cluster, Failure> {
        self.bound("while connecting", connect::connect(args)).await
    }

    async fn bound<T>(
        self,
        doing: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let (Some(limit), Some(left)) = (self.limit, self.left()) else { return work.await };
        tokio::time::timeout(left, work).await.unwrap_or_else(|_| {
            Err(Failure::Unmet {
                message: format!(
                    "the deadline of {limit:?} passed {doing}; raise --deadline, or check the brokers"
                ),
                kind: ErrorKind::Unavailable,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_left_bounds_the_work() {
        let deadline = Deadline::start(Some(Duration::from_secs(5)));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(deadline.left(), Some(Duration::from_secs(3)));
        let began = Instant::now();
        let failure = deadline.bound::<()>("while connecting", std::future::pending()).await;
        let failure = failure.unwrap_err();
        assert_eq!((failure.code(), began.elapsed()), (7, Duration::from_secs(3)));
        assert!(failure.to_string().contains("5s passed while connecting"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_is_bounded() {
        let deadline = Deadline::start(None);
        let work = async {
            tokio::time::sleep(Duration::from_secs(1_000_000)).await;
            Ok(7)
        };
        assert_eq!(deadline.bound("", work).await.unwrap(), 7);
        assert_eq!(deadline.left(), None);
    }
}
