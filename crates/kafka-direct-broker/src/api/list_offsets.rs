//! ListOffsets: looks up offsets by position (latest −1, earliest −2, largest timestamp −3,
//! earliest local −4) and by timestamp.
//!
//! A look-up by timestamp returns the first record at or after it. In a compressed batch it returns
//! the batch's first offset instead. Results are below the last stable offset under read_committed,
//! and below the high watermark otherwise.

use std::collections::HashSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use super::{Call, Mode};
use crate::batch_reader::Stamped;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

/// The result of one look-up.
struct Found {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

const NONE: Found = Found { offset: -1, timestamp: -1, leader_epoch: -1 };

pub(super) fn response(call: &Call<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let response = ListOffsetsResponse::default().with_throttle_time_ms(call.throttle_ms);
    if call.mode == Mode::Empty {
        return response;
    }
    let committed = request.isolation_level == 1;
    let mut seen = HashSet::new();
    let mut duplicates = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.clone(), partition.partition_index);
            if !seen.insert(key.clone()) {
                duplicates.insert(key);
            }
        }
    }
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let result = match call.refused() {
                Some(code) => Err(code),
                None if duplicates.contains(&(topic.name.clone(), partition.partition_index)) => {
                    Err(ResponseError::InvalidRequest.code())
                }
                None => find(call, &topic.name, partition, committed).map_err(|error| error.code()),
            };
            let code = result.as_ref().err().copied().unwrap_or(0);
            let found = result.unwrap_or(NONE);
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
                .with_offset(found.offset)
                .with_timestamp(found.timestamp);
            if call.version >= 4 {
                response.with_leader_epoch(found.leader_epoch)
            } else {
                response
            }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    response.with_topics(topics.collect())
}

fn find(
    call: &Call<'_>,
    topic: &str,
    requested: &ListOffsetsPartition,
    committed: bool,
) -> Result<Found, ResponseError> {
    let mut cluster = call.shared.cluster.lock();
    let partition =
        cluster.led(topic, requested.partition_index, call.node, requested.current_leader_epoch)?;
    let log = &partition.log;
    let marks = log.watermarks();
    let end = if committed { marks.last_stable } else { marks.high }.get();
    let at = |offset| Found { offset, timestamp: -1, leader_epoch: log.epochs.at(offset) };
    let stamped = |found: Option<Stamped>| match found {
        Some(Stamped { offset, timestamp }) if offset < end => {
            Found { offset, timestamp, leader_epoch: log.epochs.at(offset) }
        }
        Some(_) | None => NONE,
    };
    match requested.timestamp {
        LATEST => Ok(Found { leader_epoch: partition.epoch, ..at(end) }),
        EARLIEST => Ok(at(log.start())),
        MAX_TIMESTAMP if call.version >= 7 => Ok(stamped(log.max_timestamp())),
        EARLIEST_LOCAL if call.version >= 8 => Ok(at(log.local_start())),
        time if time >= 0 => Ok(stamped(log.first_at_or_after(time))),
        _ if call.version >= 9 => Ok(NONE),
        _ => Err(ResponseError::UnsupportedVersion),
    }
}
