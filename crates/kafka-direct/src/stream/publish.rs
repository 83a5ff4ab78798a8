//! Publishes a stream's positions to a consumer group, for tools that show the lag of groups.
//!
//! A task of its own does it, so that a slow or refusing coordinator never holds the stream up. Nothing
//! is read back: the checkpoint alone says where the stream continues.

use std::{collections::BTreeMap, time::Duration};

use kafka_direct_core::{Offset, TopicPartition};
use kafka_direct_wire::Cluster;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// The shortest time between two commits. Tools ask for the lag less often.
const PAUSE: Duration = Duration::from_secs(1);
/// How often every position is committed again: brokers forget those that are older than a week.
const ALL_AGAIN: Duration = Duration::from_secs(3600);
/// How long after a refusal it is tried again, if no batch ends before.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);
/// How long the end of a stream waits for the last commit.
const LAST_COMMIT: Duration = Duration::from_secs(5);

type Offsets = BTreeMap<TopicPartition, Offset>;

/// Publishes the newest positions to a group. Dropping it ends the task at once, so that a stream that
/// was dropped does not publish over a newer one.
#[derive(Debug)]
pub(super) struct GroupPublisher {
    group: String,
    newest: watch::Sender<Offsets>,
    task: JoinSet<()>,
}

impl GroupPublisher {
    pub(super) fn start(cluster: Cluster, group: String) -> Self {
        let (newest, receiver) = watch::channel(Offsets::new());
        let task = Task { cluster, group: group.clone(), published: Offsets::new(), refusal: None };
        Self { group, newest, task: JoinSet::from_iter([task.run(receiver)]) }
    }

    /// Publishes `positions` when it is their turn; newer ones replace them before.
    pub(super) fn publish(&self, positions: Offsets) {
        self.newest.send_replace(positions);
    }

    /// Waits a few seconds until the newest positions are published.
    pub(super) async fn finish(self) {
        let Self { group, newest, mut task } = self;
        drop(newest);
        if timeout(LAST_COMMIT, task.join_next()).await.is_err() {
            tracing::warn!(%group, "the last positions were not published in time");
        }
    }
}

struct Task {
    cluster: Cluster,
    group: String,
    /// What the group has, as far as this task has committed it.
    published: Offsets,
    /// The last refusal, which is not reported again.
    refusal: Option<String>,
}

impl Task {
    /// Ends when the sender is dropped and its last value was published or refused.
    async fn run(mut self, mut newest: watch::Receiver<Offsets>) {
        let mut all_again = Instant::now() + ALL_AGAIN;
        loop {
            tokio::select! {
                // An error means that the sender is gone and its last value was seen.
                changed = newest.changed() => if changed.is_err() { return },
                () = sleep_until(all_again) => self.published.clear(),
            }
            let offsets = newest.borrow_and_update().clone();
            let is_published = self.commit(offsets).await;
            if !is_published {
                all_again = Instant::now() + AFTER_REFUSAL;
            } else if Instant::now() >= all_again {
                all_again = Instant::now() + ALL_AGAIN;
            }
            let next = Instant::now() + PAUSE;
            let mut is_newer = false;
            loop {
                tokio::select! {
                    () = sleep_until(next) => break,
                    changed = newest.changed() => match changed {
                        Ok(()) => is_newer = true,
                        Err(_) => break,
                    },
                }
            }
            if is_newer {
                newest.mark_changed();
            }
        }
    }

    /// Commits what is not published yet; `false` if it was refused.
    async fn commit(&mut self, mut offsets: Offsets) -> bool {
        offsets.retain(|tp, offset| self.published.get(tp) != Some(offset));
        match self.cluster.commit_offsets(&self.group, &offsets).await {
            Ok(unknown) => {
                for tp in unknown {
                    offsets.remove(&tp);
                }
                self.published.append(&mut offsets);
                self.refusal = None;
                true
            }
            Err(error) => {
                let refusal = error.to_string();
                if self.refusal.as_ref() != Some(&refusal) {
                    tracing::warn!(group = self.group, %error, "positions are not published");
                }
                self.refusal = Some(refusal);
                false
            }
        }
    }
}
