//! Fetch: sessions, the long poll, and reading each partition.
//!
//! Only one batch may exceed the limits. The first partition in [`FillOrder`] that has data returns
//! its first batch whole, whatever the limits. A later partition whose next batch exceeds the
//! remaining limit returns error 0, its watermarks and no bytes.

use std::{sync::Arc, time::Duration};

use kafka_direct_core::{Offset, TopicPartition};
use kafka_protocol::{ResponseError, messages::FetchRequest};
use tokio::time::Instant;

use super::{
    Call, Mode, Response,
    fetch_response::{self, Served},
    topic_id,
};
use crate::{
    cluster::Cluster,
    sessions::{Opened, Reported, SessionRequest, TopicRef, Want},
    settings::{ByteLimits, FillOrder},
    shared::FetchSeen,
};

/// The broker's limit for one response in bytes, Apache Kafka's default of `fetch.max.bytes`.
const MAX_RESPONSE_BYTES: i32 = 55 * 1024 * 1024;

/// The limit and the isolation level for reading the partitions of a request.
struct Reading {
    max_bytes: usize,
    committed: bool,
}

pub(super) async fn response(call: &Call<'_>, request: FetchRequest) -> Response {
    let max_bytes = request.max_bytes.min(MAX_RESPONSE_BYTES);
    let min_bytes = usize::try_from(request.min_bytes.min(max_bytes)).unwrap_or(0);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let reading = Reading {
        max_bytes: usize::try_from(max_bytes).unwrap_or(0),
        committed: request.isolation_level == 1,
    };
    let requested = session_request(call, &request);
    record(call, &request, &requested);
    if let Mode::Refuse(code) = call.mode
        && is_session_error(code)
        && call.version >= 7
    {
        return fetch_response::encode(call, code, 0, &[]);
    }
    let opened = match call.shared.sessions.get(&call.node).map(|s| s.lock().open(requested)) {
        Some(Ok(opened)) => opened,
        Some(Err(error)) => return fetch_response::encode(call, error.code(), 0, &[]),
        None => {
            return fetch_response::encode(call, ResponseError::UnknownServerError.code(), 0, &[]);
        }
    };
    if call.throttle_ms > 0 {
        return fetch_response::encode(call, 0, opened.session_id, &[]);
    }
    let served = poll(call, &opened, &reading, min_bytes, wait).await;
    let mut to_send = Vec::with_capacity(served.len());
    for (want, served) in opened.wants.iter().zip(served) {
        if must_be_sent(call, &opened, want, &served) {
            to_send.push((want, served));
        }
    }
    fetch_response::encode(call, 0, opened.session_id, &to_send)
}

const fn is_session_error(code: i16) -> bool {
    matches!(code, 70 | 71 | 106)
}

/// Converts a request for the session cache.
fn session_request(call: &Call<'_>, request: &FetchRequest) -> SessionRequest {
    let by_id = call.version >= 13;
    let reference = |name: &str, id: uuid::Uuid| {
        if by_id { TopicRef::Id(id.into_bytes()) } else { TopicRef::Name(name.into()) }
    };
    let mut wants = Vec::new();
    let cluster = call.shared.cluster.lock();
    for topic in &request.topics {
        let topic_ref = reference(&topic.topic, topic.topic_id);
        let name = topic_id(topic.topic_id).and_then(|id| cluster.name_of(id)).map(Arc::clone);
        wants.extend(topic.partitions.iter().map(|partition| Want {
            topic: topic_ref.clone(),
            partition: partition.partition,
            name: name.clone(),
            leader_epoch: partition.current_leader_epoch,
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
        }));
    }
    drop(cluster);
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let topic_ref = reference(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |partition| (topic_ref.clone(), *partition))
    });
    SessionRequest {
        session_id: request.session_id,
        epoch: request.session_epoch,
        by_id,
        forgotten: forgotten.collect(),
        wants,
    }
}

fn record(call: &Call<'_>, request: &FetchRequest, requested: &SessionRequest) {
    let partitions = requested.wants.iter().map(|want| {
        let name = match (&want.name, &want.topic) {
            (Some(name), _) | (None, TopicRef::Name(name)) => Arc::clone(name),
            (None, TopicRef::Id(id)) => uuid::Uuid::from_bytes(*id).to_string().into(),
        };
        (TopicPartition::new(name, want.partition), Offset::new(want.offset))
    });
    call.shared.record_fetch(FetchSeen {
        node: call.node,
        version: call.version,
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        max_wait_ms: request.max_wait_ms,
        max_bytes: request.max_bytes,
        partitions: partitions.collect(),
    });
}

/// Reads the partitions until at least `min_bytes` are available, an error occurs, or `wait` is
/// over.
async fn poll(
    call: &Call<'_>,
    opened: &Opened,
    reading: &Reading,
    min_bytes: usize,
    wait: Duration,
) -> Vec<Served> {
    let deadline = Instant::now() + wait;
    let mut changes = call.shared.changed.subscribe();
    loop {
        changes.borrow_and_update();
        let served = read(call, &opened.wants, reading);
        let bytes: usize = served.iter().map(|served| served.bytes).sum();
        let enough = bytes >= min_bytes
            || wait.is_zero()
            || opened.wants.is_empty()
            || call.mode != Mode::Serve
            || served.iter().any(|served| served.error != 0);
        if enough {
            return served;
        }
        tokio::select! {
            biased;
            changed = changes.changed() => if changed.is_err() { return served },
            () = tokio::time::sleep_until(deadline) => return served,
        }
    }
}

/// Reads every requested partition once, in the configured [`FillOrder`]; returns the results in
/// request order.
fn read(call: &Call<'_>, wants: &[Want], reading: &Reading) -> Vec<Served> {
    let mut cluster = call.shared.cluster.lock();
    let mut left = reading.max_bytes;
    let mut at_least_one = true;
    let mut all = Vec::with_capacity(wants.len());
    let is_reversed = call.shared.settings.fill_order == FillOrder::Reversed;
    for nth in 0..wants.len() {
        let at = if is_reversed { wants.len() - 1 - nth } else { nth };
        let Some(want) = wants.get(at) else { continue };
        let served = match call.mode {
            Mode::Refuse(code) => Served::error(code),
            Mode::Empty => one(call, &mut cluster, want, reading, 0, false),
            Mode::Serve => one(call, &mut cluster, want, reading, left, at_least_one),
        };
        at_least_one &= served.bytes == 0;
        left = left.saturating_sub(served.bytes);
        all.push(served);
    }
    if is_reversed {
        all.reverse();
    }
    all
}

fn one(
    call: &Call<'_>,
    cluster: &mut Cluster,
    want: &Want,
    reading: &Reading,
    left: usize,
    at_least_one: bool,
) -> Served {
    let found = name(cluster, want).and_then(|name| {
        let partition = cluster.led(&name, want.partition, call.node, want.leader_epoch)?;
        let log = &partition.log;
        if !(log.start()..=log.end()).contains(&want.offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        Ok(log)
    });
    let log = match found {
        Ok(log) => log,
        Err(error) => return Served::error(error.code()),
    };
    let marks = log.watermarks();
    let until = if reading.committed { marks.last_stable } else { marks.high };
    let limit = match call.shared.settings.byte_limits {
        ByteLimits::Kept => usize::try_from(want.max_bytes).unwrap_or(0).min(left),
        ByteLimits::Ignored => usize::MAX,
    };
    let tail = call.shared.settings.tail_batches;
    let found = log.read(want.offset, until.get(), limit, at_least_one, tail);
    let aborted = reading.committed.then(|| {
        if found.records.is_empty() {
            Vec::new()
        } else {
            log.transactions.aborted(want.offset, found.next).collect()
        }
    });
    Served {
        error: 0,
        high_watermark: marks.high.get(),
        last_stable: marks.last_stable.get(),
        log_start: marks.log_start.get(),
        aborted,
        records: found.records,
        bytes: found.bytes,
    }
}

/// The name of the requested topic.
///
/// For an unknown id, the error differs by history: INCONSISTENT_TOPIC_ID if the topic was
/// re-created during the session, UNKNOWN_TOPIC_ID otherwise.
fn name(cluster: &Cluster, want: &Want) -> Result<Arc<str>, ResponseError> {
    match &want.topic {
        TopicRef::Name(name) => Ok(Arc::clone(name)),
        TopicRef::Id(id) => {
            let known = kafka_direct_core::TopicId::from_bytes(*id);
            match known.and_then(|id| cluster.name_of(id)) {
                Some(name) => Ok(Arc::clone(name)),
                None if want
                    .name
                    .as_ref()
                    .is_some_and(|name| cluster.topics.contains_key(name)) =>
                {
                    Err(ResponseError::InconsistentTopicId)
                }
                None => Err(ResponseError::UnknownTopicId),
            }
        }
    }
}

/// Records the partition's response in the session, if any, and returns whether to send it.
fn must_be_sent(call: &Call<'_>, opened: &Opened, want: &Want, served: &Served) -> bool {
    if opened.session_id == 0 {
        return true;
    }
    let reported = (served.error == 0)
        .then_some(Reported { high_watermark: served.high_watermark, log_start: served.log_start });
    let has_records = opened.incremental && served.bytes > 0;
    let is_new = call.shared.sessions.get(&call.node).is_none_or(|sessions| {
        sessions.lock().report(opened.session_id, want, reported, has_records)
    });
    is_new || !opened.incremental
}
