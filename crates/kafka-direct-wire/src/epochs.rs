//! OffsetForLeaderEpoch: how far a leader epoch reaches, which tells truncation from a log that
//! merely lags (KIP-320).

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
    /// The largest epoch at or below `epoch` in the leader's log, and the offset at which that
    /// epoch ends (exclusive); `None` if the leader knows no such epoch.
    pub(crate) async fn end_offset_for_epoch(
        &self,
        topic_partition: &TopicPartition,
        epoch: i32,
    ) -> Result<Option<(i32, Offset)>, WireError> {
        let operation = format!("asking where epoch {epoch} of {topic_partition} ends");
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
            .ask(
                &self.inner().config,
                (&*leader.host, leader.port),
                ApiKey::OffsetForLeaderEpoch,
                request,
            )
            .await?;
        let said = response
            .body
            .topics
            .iter()
            .filter(|topic| topic.topic.as_str() == topic_partition.topic())
            .flat_map(|topic| &topic.partitions)
            .find(|partition| partition.partition == topic_partition.partition());
        match said {
            None => Err(response.invalid(format!("it does not mention {topic_partition}"))),
            Some(said) if said.error_code != code::NONE => {
                Err(response.error(said.error_code).about(topic_partition))
            }
            Some(said) => Ok((said.leader_epoch >= 0 && said.end_offset >= 0)
                .then(|| (said.leader_epoch, Offset::new(said.end_offset)))),
        }
    }
}
