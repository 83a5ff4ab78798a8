//! DeleteRecords: raises the log start offset; −1 means up to the high watermark.

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use super::{Call, Mode};

pub(super) fn response(call: &Call<'_>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let response = DeleteRecordsResponse::default().with_throttle_time_ms(call.throttle_ms);
    if call.mode == Mode::Empty {
        return response;
    }
    let mut cluster = call.shared.cluster.lock();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|requested| {
            let index = requested.partition_index;
            let mut low = -1;
            let code = call.outcome(|| {
                let partition = cluster.led(&topic.name, index, call.node, -1)?;
                let high = partition.log.watermarks().high.get();
                let offset = if requested.offset == -1 { high } else { requested.offset };
                if !(0..=high).contains(&offset) {
                    return Err(ResponseError::OffsetOutOfRange);
                }
                partition.log.trim(offset);
                low = partition.log.start();
                Ok(())
            });
            DeleteRecordsPartitionResult::default()
                .with_partition_index(index)
                .with_low_watermark(low)
                .with_error_code(code)
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
    });
    let topics = topics.collect();
    drop(cluster);
    call.shared.wake();
    response.with_topics(topics)
}
