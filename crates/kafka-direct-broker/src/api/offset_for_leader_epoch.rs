//! OffsetForLeaderEpoch: returns the end offset of a leader epoch. Readers use it to detect a
//! truncation (KIP-320).

use kafka_protocol::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};

use super::{Call, Mode};

pub(super) fn response(
    call: &Call<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let response = OffsetForLeaderEpochResponse::default().with_throttle_time_ms(call.throttle_ms);
    if call.mode == Mode::Empty {
        return response;
    }
    let mut cluster = call.shared.cluster.lock();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|requested| {
            let mut end = (-1, -1);
            let code = call.outcome(|| {
                let epoch = requested.current_leader_epoch;
                let led = cluster.led(&topic.topic, requested.partition, call.node, epoch)?;
                end = led.log.epochs.end_of(requested.leader_epoch, led.log.end());
                Ok(())
            });
            EpochEndOffset::default()
                .with_error_code(code)
                .with_partition(requested.partition)
                .with_leader_epoch(end.0)
                .with_end_offset(end.1)
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    let topics = topics.collect();
    response.with_topics(topics)
}
