//! A scripted cluster with one partition that responds to the queries of recovery, and a range to
//! read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::ready};
use kafka_direct_core::{
    DataLossPolicy, Fetched, IsolationLevel, Offset, OffsetRange, PlannedRange, ResetCause,
    TopicId, TopicPartition,
};
use parking_lot::Mutex;

use super::{metrics::Metrics, range_state::RangeState, recover::Recovery, stop::Stop};
use crate::{
    ClusterConfig, WireError, code,
    queries::{ListOffset, PartitionQueries, Query},
    topology::{Leader, Refresh},
};

/// One query that the scripted cluster received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Leader { fresh: bool },
    Offset(ListOffset),
    EpochEnd(i32),
}

/// The partition's state on the scripted cluster, and the queries so far.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) leader_epoch: i32,
    pub(super) topic_id: Option<TopicId>,
    /// The error code of a leader query; 0 for none, 3 for a missing topic.
    pub(super) leader_code: i16,
    pub(super) log_start: i64,
    pub(super) local_start: i64,
    pub(super) end: i64,
    /// Responses to epoch queries, by the requested epoch: the epoch found, and its end, exclusive.
    pub(super) epoch_ends: BTreeMap<i32, (i32, i64)>,
    pub(super) asked: Vec<Asked>,
}

/// The scripted cluster behind [`PartitionQueries`].
#[derive(Debug)]
pub(super) struct Scripted(Mutex<Cluster>);

fn refused(tp: &TopicPartition, api: &'static str, code: i16) -> WireError {
    WireError::Broker { address: "h:1".into(), api, code, topic_partition: Some(tp.clone()) }
}

impl PartitionQueries for Scripted {
    fn find_leader<'a>(&'a self, tp: &'a TopicPartition, refresh: Refresh) -> Query<'a, Leader> {
        let mut cluster = self.0.lock();
        cluster.asked.push(Asked::Leader { fresh: matches!(refresh, Refresh::NewerThan(_)) });
        let Cluster { leader_epoch, topic_id, .. } = *cluster;
        let leader = match cluster.leader_code {
            0 => Ok(Leader {
                node: 1,
                host: "h".into(),
                port: 1,
                epoch: Some(leader_epoch),
                topic_id,
            }),
            code::UNKNOWN_TOPIC_OR_PARTITION => Err(WireError::unknown_topic(tp.topic_arc(), None)),
            code => Err(refused(tp, "Metadata", code)),
        };
        ready(leader).boxed()
    }

    fn find_offset<'a>(&'a self, _: &'a TopicPartition, which: ListOffset) -> Query<'a, Offset> {
        let mut cluster = self.0.lock();
        cluster.asked.push(Asked::Offset(which));
        let offset = match which {
            ListOffset::Earliest => cluster.log_start,
            ListOffset::EarliestLocal => cluster.local_start,
            ListOffset::LatestCommitted | ListOffset::LatestUncommitted => cluster.end,
        };
        ready(Ok(Offset::new(offset))).boxed()
    }

    fn find_epoch_end<'a>(
        &'a self,
        _: &'a TopicPartition,
        epoch: i32,
    ) -> Query<'a, Option<(i32, Offset)>> {
        let mut cluster = self.0.lock();
        cluster.asked.push(Asked::EpochEnd(epoch));
        let found = cluster.epoch_ends.get(&epoch).map(|(at, end)| (*at, Offset::new(*end)));
        ready(Ok(found)).boxed()
    }
}

/// A read of `t-0 [10, 50)`, planned under epoch 7 and topic id 1, on a log `[0, 100)`.
pub(super) struct Reading {
    pub(super) range: RangeState,
    pub(super) recovery: Recovery,
    pub(super) cluster: Scripted,
}

pub(super) fn id(byte: u8) -> Option<TopicId> {
    TopicId::from_bytes([byte; 16])
}

impl Reading {
    pub(super) fn new(policy: DataLossPolicy) -> Self {
        let range = OffsetRange::new(TopicPartition::new("t", 0), 10, 50).unwrap();
        let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted)
            .with_topic_id(id(1))
            .with_leader_epoch(Some(7));
        let config = ClusterConfig::new(["h:1"]).retry_timeout(Duration::from_secs(5));
        let retry_policy = config.get_retry_policy();
        let cluster = Cluster {
            leader_epoch: 7,
            topic_id: id(1),
            leader_code: 0,
            log_start: 0,
            local_start: 0,
            end: 100,
            epoch_ends: BTreeMap::new(),
            asked: Vec::new(),
        };
        Self {
            range: RangeState::new(planned),
            recovery: Recovery::new(retry_policy, policy, Arc::new(Metrics::default())),
            cluster: Scripted(Mutex::new(cluster)),
        }
    }

    pub(super) fn with(self, change: impl FnOnce(&mut Cluster)) -> Self {
        change(&mut self.cluster.0.lock());
        self
    }

    /// Takes steps until there is a leader to fetch from. Returns `None` if the range has ended.
    pub(super) async fn run_steps(&mut self) -> Result<Option<Leader>, WireError> {
        while !self.range.has_ended() {
            let step = self.recovery.step(&mut self.range, &self.cluster).await?;
            if let Some(leader) = step {
                let rest = self.range.continue_under(&leader);
                assert_eq!(rest.range().until(), self.range.until());
                return Ok(Some(leader));
            }
        }
        Ok(None)
    }

    /// Stops once, then takes steps as [`run_steps`](Self::run_steps) does.
    pub(super) async fn stop(&mut self, stop: Stop) -> Result<Option<Leader>, WireError> {
        self.recovery.stopped(stop, Duration::ZERO);
        self.run_steps().await
    }

    /// Stops repeatedly until the result is an error or the end of the range. Returns the number of
    /// stops and the error, if any.
    pub(super) async fn stop_for_good(&mut self, stop: Stop) -> (usize, Option<WireError>) {
        for count in 1..1000 {
            match self.stop(stop.clone()).await {
                Ok(Some(_)) => {}
                Ok(None) => return (count, None),
                Err(error) => return (count, Some(error)),
            }
        }
        panic!("{stop:?} is retried forever")
    }

    /// Returns bytes up to `next`, exclusive, that were appended under `epoch`, to the caller.
    pub(super) fn advance(&mut self, next: i64, epoch: i32) {
        let watermark = Offset::new(100);
        self.range.advance(&Fetched {
            fetch_offset: self.range.position(),
            next: Offset::new(next),
            records: bytes::Bytes::new(),
            aborted: Vec::new(),
            high_watermark: watermark,
            last_stable: watermark,
            log_start: Offset::ZERO,
            leader_epoch: Some(epoch),
        });
        self.recovery.progressed();
    }

    /// Returns the queries since the last call.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.cluster.0.lock().asked)
    }

    /// Returns the cause, start and exclusive end of each reset.
    pub(super) fn resets(&self) -> Vec<(ResetCause, i64, i64)> {
        let resets = self.range.resets().iter();
        resets.map(|reset| (reset.cause, reset.from.get(), reset.to.get())).collect()
    }

    pub(super) fn position(&self) -> i64 {
        self.range.position().get()
    }
}
