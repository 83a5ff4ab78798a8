//! Encodes a Fetch response without copying batches.
//!
//! `kafka-protocol` encodes each partition with null records. This module replaces the null with
//! the length and the batches. In flexible versions it also writes the empty list of tagged fields
//! after the records. A test compares the result with `kafka-protocol`'s own encoding in every
//! version.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        FetchResponse,
        fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData},
    },
    protocol::Encodable,
};

use super::{Call, NoResponse, Response};
use crate::sessions::{TopicRef, Want};

/// First version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;
/// Batches below this size are copied, because each separate part costs a write.
const OWN_PART_BYTES: usize = 16 * 1024;

/// The response of one partition.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) error: i16,
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    pub(super) log_start: i64,
    /// Producer id and first offset of each aborted transaction; `None` under read_uncommitted.
    pub(super) aborted: Option<Vec<(i64, i64)>>,
    pub(super) records: Vec<Bytes>,
    pub(super) bytes: usize,
}

impl Served {
    pub(super) const fn error(code: i16) -> Self {
        Self {
            error: code,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            aborted: None,
            records: Vec::new(),
            bytes: 0,
        }
    }
}

/// Encodes the response. Neighbouring partitions of the same topic are grouped.
pub(super) fn encode(
    call: &Call<'_>,
    error: i16,
    session_id: i32,
    to_send: &[(&Want, Served)],
) -> Response {
    parts(call.version, call.throttle_ms, error, session_id, to_send)
        .map(Some)
        .map_err(|error| NoResponse(format!("cannot encode the Fetch response: {error}")))
}

fn parts(
    version: i16,
    throttle_ms: i32,
    error: i16,
    session_id: i32,
    to_send: &[(&Want, Served)],
) -> Result<Vec<Bytes>, &'static str> {
    let flexible = version >= FLEXIBLE;
    let mut out = Parts::default();
    let topics: Vec<_> = to_send.chunk_by(|a, b| a.0.topic == b.0.topic).collect();
    let whole = FetchResponse::default().with_throttle_time_ms(throttle_ms);
    let whole =
        if version >= 7 { whole.with_error_code(error).with_session_id(session_id) } else { whole };
    let open = end_bytes(flexible);
    out.head(&whole, version, open)?;
    out.count(flexible, topics.len())?;
    for topic in topics {
        let Some(((first, _), _)) = topic.split_first() else { continue };
        let head = FetchableTopicResponse::default();
        let head = match &first.topic {
            TopicRef::Name(name) => head.with_topic(super::text(name).into()),
            TopicRef::Id(id) => head.with_topic_id(uuid::Uuid::from_bytes(*id)),
        };
        out.head(&head, version, open)?;
        out.count(flexible, topic.len())?;
        for (want, served) in topic {
            out.head(&partition(version, want, served), version, end_bytes(flexible))?;
            let length = i32::try_from(served.bytes)
                .map_err(|_| "a partition has more than 2 GiB of records")?;
            if flexible {
                out.varint(length.unsigned_abs().saturating_add(1));
            } else {
                out.tail.put_i32(length);
            }
            served.records.iter().for_each(|batch| out.batch(batch));
            out.end(flexible);
        }
        out.end(flexible);
    }
    out.end(flexible);
    Ok(out.finish())
}

/// How many bytes the encoder writes for an empty or null last field and no tagged fields.
///
/// They are cut off again. A compact length takes 1 byte, a plain one 4.
const fn end_bytes(flexible: bool) -> usize {
    if flexible { 2 } else { 4 }
}

fn partition(version: i16, want: &Want, served: &Served) -> PartitionData {
    let aborted = served.aborted.as_ref().map(|aborted| {
        let entry = |(producer, first): &(i64, i64)| {
            AbortedTransaction::default()
                .with_producer_id((*producer).into())
                .with_first_offset(*first)
        };
        aborted.iter().map(entry).collect()
    });
    let data = PartitionData::default()
        .with_partition_index(want.partition)
        .with_error_code(served.error)
        .with_high_watermark(served.high_watermark)
        .with_last_stable_offset(served.last_stable)
        .with_aborted_transactions(aborted)
        .with_records(None);
    if version >= 5 { data.with_log_start_offset(served.log_start) } else { data }
}

/// The encoded parts of a response: `done`, then `tail`.
#[derive(Debug, Default)]
struct Parts {
    done: Vec<Bytes>,
    tail: BytesMut,
}

impl Parts {
    /// Encodes `value` without its last `cut` bytes.
    fn head(
        &mut self,
        value: &impl Encodable,
        version: i16,
        cut: usize,
    ) -> Result<(), &'static str> {
        value
            .encode(&mut self.tail, version)
            .map_err(|_| "a field does not exist in this version")?;
        self.tail.truncate(self.tail.len().saturating_sub(cut));
        Ok(())
    }

    fn count(&mut self, flexible: bool, count: usize) -> Result<(), &'static str> {
        let count = i32::try_from(count).map_err(|_| "too many elements")?;
        if flexible {
            self.varint(count.unsigned_abs().saturating_add(1));
        } else {
            self.tail.put_i32(count);
        }
        Ok(())
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.put_u8(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(u8::try_from(value).unwrap_or(0));
    }

    fn batch(&mut self, batch: &Bytes) {
        if batch.len() < OWN_PART_BYTES {
            self.tail.extend_from_slice(batch);
        } else {
            self.done.push(self.tail.split().freeze());
            self.done.push(batch.clone());
        }
    }

    /// Writes an empty list of tagged fields, in flexible versions.
    fn end(&mut self, flexible: bool) {
        if flexible {
            self.tail.put_u8(0);
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.done.push(self.tail.freeze());
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(topic: TopicRef, partition: i32) -> Want {
        Want { topic, partition, name: None, leader_epoch: -1, offset: 0, max_bytes: 0 }
    }

    fn served(batches: &[usize], aborted: Option<Vec<(i64, i64)>>) -> Served {
        let records: Vec<_> = batches.iter().map(|len| Bytes::from(vec![7; *len])).collect();
        Served {
            error: 3,
            high_watermark: 9,
            last_stable: 8,
            log_start: 2,
            aborted,
            bytes: records.iter().map(Bytes::len).sum(),
            records,
        }
    }

    #[test]
    fn the_response_equals_the_codecs_own_encoding_in_every_version() {
        for version in 4..=17i16 {
            let topic = |n: u8| {
                if version >= 13 {
                    TopicRef::Id([n; 16])
                } else {
                    TopicRef::Name(n.to_string().into())
                }
            };
            let wants =
                [want(topic(1), 0), want(topic(1), 4), want(topic(2), 1), want(topic(3), 0)];
            let all = [
                served(&[100, OWN_PART_BYTES, 5], None),
                served(&[], Some(vec![])),
                served(&[OWN_PART_BYTES * 3], Some(vec![(7, 1), (8, 0)])),
                served(&[61], None),
            ];
            let to_send: Vec<_> = wants.iter().zip(all).collect();
            let mut responses: Vec<FetchableTopicResponse> = Vec::new();
            for group in to_send.chunk_by(|a, b| a.0.topic == b.0.topic) {
                let head = match &group[0].0.topic {
                    TopicRef::Name(name) => FetchableTopicResponse::default()
                        .with_topic(super::super::text(name).into()),
                    TopicRef::Id(id) => {
                        FetchableTopicResponse::default().with_topic_id(uuid::Uuid::from_bytes(*id))
                    }
                };
                let partitions = group.iter().map(|(want, served)| {
                    partition(version, want, served)
                        .with_records(Some(served.records.concat().into()))
                });
                responses.push(head.with_partitions(partitions.collect()));
            }
            let (error, session) = if version >= 7 { (71, 5) } else { (0, 0) };
            let expected = FetchResponse::default()
                .with_throttle_time_ms(77)
                .with_error_code(error)
                .with_session_id(session)
                .with_responses(responses);
            let mut bytes = BytesMut::new();
            expected.encode(&mut bytes, version).unwrap();
            let ours = parts(version, 77, error, session, &to_send).unwrap().concat();
            assert_eq!(ours, bytes, "version {version}");
        }
    }
}
