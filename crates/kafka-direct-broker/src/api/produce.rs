//! Produce: checks a batch, assigns its offsets and stores it.
//!
//! A request holds one v2 batch per partition, as in Apache Kafka since Produce v3. Idempotence is
//! not checked. Transactional and control batches are refused, because there are no transactions.

use bytes::{Bytes, BytesMut};
use kafka_direct_core::walk;
use kafka_protocol::{
    ResponseError,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::PartitionProduceData,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
};

use super::{Call, Mode, Response, topic_id};
use crate::{batch_writer, log::Unplaced};

pub(super) fn response(call: &Call<'_>, request: ProduceRequest) -> Response {
    let wants_response = request.acks != 0;
    let acks_known = (-1..=1).contains(&request.acks);
    let mut responses = Vec::new();
    for topic in request.topic_data {
        if call.mode == Mode::Empty {
            break;
        }
        let name = if call.version >= 13 {
            let cluster = call.shared.cluster.lock();
            topic_id(topic.topic_id)
                .and_then(|id| cluster.name_of(id))
                .map(|name| (**name).to_owned())
        } else {
            Some(topic.name.to_string())
        };
        let partitions = topic.partition_data.into_iter().map(|partition| {
            let index = partition.index;
            let appended = match (&name, call.refused()) {
                (_, Some(code)) => Err(code),
                _ if !acks_known => Err(ResponseError::InvalidRequiredAcks.code()),
                (None, None) => Err(ResponseError::UnknownTopicId.code()),
                (Some(name), None) => append(call, name, &partition).map_err(|error| error.code()),
            };
            let response =
                PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
            match appended {
                Ok((base, start)) => response.with_base_offset(base).with_log_start_offset(start),
                Err(code) => {
                    response.with_error_code(code).with_base_offset(-1).with_log_start_offset(-1)
                }
            }
        });
        let partitions = partitions.collect();
        responses.push(
            TopicProduceResponse::default()
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions),
        );
    }
    call.shared.wake();
    if !wants_response {
        return Ok(None);
    }
    call.encode(
        &ProduceResponse::default()
            .with_responses(responses)
            .with_throttle_time_ms(call.throttle_ms),
    )
}

/// Appends the batch of a partition; returns its base offset and the log start offset.
fn append(
    call: &Call<'_>,
    topic: &str,
    partition: &PartitionProduceData,
) -> Result<(i64, i64), ResponseError> {
    let batch = checked(partition.records.as_ref())?;
    let mut cluster = call.shared.cluster.lock();
    let led = cluster.led(topic, partition.index, call.node, -1)?;
    let epoch = led.epoch;
    Ok((led.log.append(vec![batch], epoch), led.log.start()))
}

/// Checks the one batch of a partition in a Produce request, and copies it out of the frame.
fn checked(records: Option<&Bytes>) -> Result<Unplaced, ResponseError> {
    let records = records.ok_or(ResponseError::InvalidRecord)?;
    let mut batches = walk(records);
    let first = batches.next().ok_or(ResponseError::InvalidRecord)?;
    let (header, bytes) = first.map_err(|error| match error {
        kafka_direct_core::HeaderError::OldFormat { .. } => ResponseError::InvalidRecord,
        _ => ResponseError::CorruptMessage,
    })?;
    if header.crc != batch_writer::crc_of(bytes) {
        return Err(ResponseError::CorruptMessage);
    }
    let dense = header.count > 0 && header.count.checked_sub(1) == Some(header.last_offset_delta);
    if batches.rest_bytes() != 0 || !dense || header.is_control() || header.codec().is_err() {
        return Err(ResponseError::InvalidRecord);
    }
    if header.is_transactional() {
        return Err(ResponseError::InvalidTxnState);
    }
    Ok(Unplaced { header, bytes: BytesMut::from(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchWriter, Marker, Record};

    fn code(bytes: &[u8]) -> Option<ResponseError> {
        checked(Some(&Bytes::copy_from_slice(bytes))).err()
    }

    #[test]
    fn only_one_valid_plain_batch_is_accepted() {
        let records = [Record::new("a"), Record::new("b")];
        let good = BatchWriter::new().write(&records).unwrap();
        assert_eq!(code(&good), None);
        let mut flipped = good.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(code(&flipped), Some(ResponseError::CorruptMessage));
        assert_eq!(code(&good[..good.len() - 1]), Some(ResponseError::InvalidRecord));
        let invalid = Some(ResponseError::InvalidRecord);
        assert_eq!(code(&[&good[..], &good[..]].concat()), invalid);
        let holes = BatchWriter::new().offset_deltas([0, 2]).write(&records).unwrap();
        assert_eq!(code(&holes), invalid);
        let open = BatchWriter::new().transaction(1, 0);
        assert_eq!(code(&open.write(&records).unwrap()), Some(ResponseError::InvalidTxnState));
        assert_eq!(code(&open.marker(Marker::Commit).unwrap()), invalid);
        assert_eq!(checked(None).err(), invalid);
    }
}
