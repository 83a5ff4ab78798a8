//! OffsetForLeaderEpoch: the end offset of a leader epoch.
//!
//! It distinguishes a truncated log from a log that only lags (KIP-320).

use kafka_direct_core::{Offset, TopicPartition};
use kafka_protocol::{
    messages::{
        ApiKey, BrokerId, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    protocol::StrBytes,
};

use crate::{Cluster, WireError, code, pool::BrokerResponse, topology::Refresh};

impl Cluster {
    /// Returns the largest epoch at or below `epoch` in the leader's log, and its end offset
    /// (exclusive); `None` if the leader's log has no such epoch.
    ///
    /// A reader that read up to an offset under `epoch` learns so whether the log was truncated below
    /// it since (KIP-320).
    ///
    /// # Errors
    /// As [`Cluster::watermarks`].
    pub async fn end_offset_for_epoch(
        &self,
        topic_partition: &TopicPartition,
        epoch: i32,
    ) -> Result<Option<(i32, Offset)>, WireError> {
        let operation = format!("requesting the end offset of epoch {epoch} of {topic_partition}");
        let policy = self.inner().config.get_retry_policy();
        policy.run(operation, |refresh| self.end_offset_once(topic_partition, epoch, refresh)).await
    }

    async fn end_offset_once(
        &self,
        topic_partition: &TopicPartition,
        epoch: i32,
        refresh: Refresh,
    ) -> Result<Option<(i32, Offset)>, WireError> {
        let leader = self.leader_of(topic_partition, refresh).await?;
        let request = |_| {
            let partition = OffsetForLeaderPartition::default()
                .with_partition(topic_partition.partition())
                .with_current_leader_epoch(leader.epoch.unwrap_or(-1))
                .with_leader_epoch(epoch);
            let name = StrBytes::from_string(topic_partition.topic().to_owned());
            let topic = OffsetForLeaderTopic::default()
                .with_topic(TopicName(name))
                .with_partitions(vec![partition]);
            OffsetForLeaderEpochRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(vec![topic])
        };
        let response: BrokerResponse<OffsetForLeaderEpochResponse> = self
            .inner()
            .pool
            .call(
                &self.inner().config,
                (&*leader.host, leader.port),
                ApiKey::OffsetForLeaderEpoch,
                request,
            )
            .await?;
        let entry = response
            .body
            .topics
            .iter()
            .filter(|topic| topic.topic.as_str() == topic_partition.topic())
            .flat_map(|topic| &topic.partitions)
            .find(|partition| partition.partition == topic_partition.partition());
        match entry {
            None => Err(response.invalid(format!("{topic_partition} is missing in it"))),
            Some(entry) if entry.error_code != code::NONE => {
                Err(response.error(entry.error_code).about(topic_partition))
            }
            Some(entry) => Ok((entry.leader_epoch >= 0 && entry.end_offset >= 0)
                .then(|| (entry.leader_epoch, Offset::new(entry.end_offset)))),
        }
    }
}
