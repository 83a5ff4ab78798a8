//! Fetch sessions (KIP-227): the broker stores which partitions a client fetches. An incremental
//! response omits partitions with nothing new.
//!
//! Each node has its own cache. When all slots are in use, a new session evicts one that is idle
//! for more than two minutes. If there is none, the client gets session id 0 and continues with
//! full fetches.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

/// A session that is idle for longer than this may be evicted for a new one.
const EVICT_AFTER: Duration = Duration::from_secs(120);

/// How a request names a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TopicRef {
    /// By name, in Fetch before v13.
    Name(Arc<str>),
    /// By id, in Fetch since v13.
    Id([u8; 16]),
}

/// One requested partition of a Fetch.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) topic: TopicRef,
    pub(crate) partition: i32,
    /// The name of the topic with this id when the partition was added to the session.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) leader_epoch: i32,
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
}

type Key = (TopicRef, i32);

/// The high watermark and log start offset that a session last reported for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
}

const NOTHING_REPORTED: Reported = Reported { high_watermark: -1, log_start: -1 };

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    used: Instant,
    /// The keys of `wants` by position, in the order in which partitions are served.
    order: BTreeMap<u64, Key>,
    wants: HashMap<Key, (u64, Want, Reported)>,
    next_position: u64,
}

impl Session {
    fn put(&mut self, want: Want) {
        let key = (want.topic.clone(), want.partition);
        if let Some((_, known, _)) = self.wants.get_mut(&key) {
            let name = known.name.take().or_else(|| want.name.clone());
            *known = Want { name, ..want };
            return;
        }
        self.order.insert(self.next_position, key.clone());
        self.wants.insert(key, (self.next_position, want, NOTHING_REPORTED));
        self.next_position = self.next_position.saturating_add(1);
    }

    fn forget(&mut self, key: &Key) {
        if let Some((position, ..)) = self.wants.remove(key) {
            self.order.remove(&position);
        }
    }

    fn in_order(&self) -> Vec<Want> {
        let wants = self.order.values().filter_map(|key| self.wants.get(key));
        wants.map(|(_, want, _)| want.clone()).collect()
    }
}

/// The session fields and partitions of a Fetch request.
#[derive(Debug)]
pub(crate) struct SessionRequest {
    pub(crate) session_id: i32,
    pub(crate) epoch: i32,
    pub(crate) by_id: bool,
    pub(crate) wants: Vec<Want>,
    pub(crate) forgotten: Vec<Key>,
}

/// The session id and the partitions to respond with.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The id for the response; 0 for none.
    pub(crate) session_id: i32,
    /// Whether partitions with nothing new are omitted.
    pub(crate) incremental: bool,
    /// All partitions to read, in order.
    pub(crate) wants: Vec<Want>,
}

/// The session cache of one node.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: usize,
    last_id: i32,
    sessions: HashMap<i32, Session>,
}

impl Sessions {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots, last_id: 0, sessions: HashMap::new() }
    }

    /// Removes all sessions.
    pub(crate) fn clear(&mut self) {
        self.sessions.clear();
    }

    /// Finds, updates or creates the session of a request.
    pub(crate) fn open(&mut self, request: SessionRequest) -> Result<Opened, ResponseError> {
        let SessionRequest { session_id, epoch, by_id, wants, forgotten } = request;
        if epoch <= 0 {
            self.sessions.remove(&session_id);
            let wants = collapse(wants);
            let session_id =
                if epoch == 0 && !wants.is_empty() { self.begin(by_id, &wants) } else { 0 };
            return Ok(Opened { session_id, incremental: false, wants });
        }
        let session =
            self.sessions.get_mut(&session_id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        session.epoch = epoch.checked_add(1).unwrap_or(1);
        session.used = Instant::now();
        wants.into_iter().for_each(|want| session.put(want));
        forgotten.iter().for_each(|key| session.forget(key));
        Ok(Opened { session_id, incremental: true, wants: session.in_order() })
    }

    fn begin(&mut self, by_id: bool, wants: &[Want]) -> i32 {
        let now = Instant::now();
        if self.sessions.len() >= self.slots {
            let idle = self.sessions.iter().filter(|(_, s)| now - s.used > EVICT_AFTER);
            let Some(oldest) = idle.min_by_key(|(id, s)| (s.used, **id)).map(|(id, _)| *id) else {
                return 0;
            };
            self.sessions.remove(&oldest);
        }
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let mut session = Session {
            epoch: 1,
            by_id,
            used: now,
            order: BTreeMap::new(),
            wants: HashMap::new(),
            next_position: 0,
        };
        wants.iter().cloned().for_each(|want| session.put(want));
        self.sessions.insert(self.last_id, session);
        self.last_id
    }

    /// Records a partition's response in the session, and returns whether an incremental response
    /// must include it.
    ///
    /// `reported` is `None` for an error. A partition that returned records moves to the end of the
    /// order.
    pub(crate) fn report(
        &mut self,
        session_id: i32,
        want: &Want,
        reported: Option<Reported>,
        has_records: bool,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&session_id) else { return true };
        let key = (want.topic.clone(), want.partition);
        let Some((position, _, before)) = session.wants.get_mut(&key) else { return true };
        let changed = reported.is_none_or(|reported| reported != *before);
        *before = reported.unwrap_or(NOTHING_REPORTED);
        if has_records {
            session.order.remove(position);
            *position = session.next_position;
            session.order.insert(session.next_position, key);
            session.next_position = session.next_position.saturating_add(1);
        }
        changed || has_records
    }
}

/// Merges duplicate partitions: the first position and the last values remain.
fn collapse(wants: Vec<Want>) -> Vec<Want> {
    let mut positions: HashMap<Key, usize> = HashMap::with_capacity(wants.len());
    let mut kept: Vec<Want> = Vec::with_capacity(wants.len());
    for want in wants {
        let position = *positions.entry((want.topic.clone(), want.partition)).or_insert(kept.len());
        match kept.get_mut(position) {
            Some(known) => *known = want,
            None => kept.push(want),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(partition: i32, offset: i64) -> Want {
        Want {
            topic: TopicRef::Name("t".into()),
            partition,
            name: None,
            leader_epoch: -1,
            offset,
            max_bytes: 100,
        }
    }

    fn ask(session_id: i32, epoch: i32, wants: Vec<Want>) -> SessionRequest {
        SessionRequest { session_id, epoch, by_id: false, wants, forgotten: vec![] }
    }

    fn seen(opened: &Opened) -> Vec<(i32, i64)> {
        opened.wants.iter().map(|w| (w.partition, w.offset)).collect()
    }

    #[tokio::test]
    async fn a_session_keeps_moves_and_drops_partitions() {
        let mut sessions = Sessions::new(10);
        let full = sessions.open(ask(0, 0, vec![want(0, 5), want(1, 6), want(0, 7)])).unwrap();
        assert_eq!(
            (full.session_id, full.incremental, seen(&full)),
            (1, false, vec![(0, 7), (1, 6)])
        );
        let next = sessions.open(ask(1, 1, vec![want(1, 9), want(2, 0)])).unwrap();
        assert_eq!(seen(&next), [(0, 7), (1, 9), (2, 0)]);
        assert!(next.incremental);
        let mut request = ask(1, 2, vec![]);
        request.forgotten = vec![(TopicRef::Name("t".into()), 0)];
        assert_eq!(seen(&sessions.open(request).unwrap()), [(1, 9), (2, 0)]);
    }

    #[tokio::test]
    async fn only_changes_are_sent_and_partitions_with_records_go_last() {
        let mut sessions = Sessions::new(10);
        sessions.open(ask(0, 0, vec![want(0, 0), want(1, 0)])).unwrap();
        let reported = Some(Reported { high_watermark: 5, log_start: 0 });
        assert!(sessions.report(1, &want(0, 0), reported, true));
        assert!(!sessions.report(1, &want(0, 0), reported, false));
        assert!(sessions.report(1, &want(0, 0), None, false));
        assert!(sessions.report(1, &want(0, 0), reported, false));
        let next = sessions.open(ask(1, 1, vec![])).unwrap();
        assert_eq!(seen(&next), [(1, 0), (0, 0)]);
    }

    #[tokio::test]
    async fn unknown_sessions_wrong_epochs_and_mixed_ids_are_refused() {
        let mut sessions = Sessions::new(10);
        let refused = |result: Result<Opened, _>| result.unwrap_err();
        let error = refused(sessions.open(ask(9, 1, vec![])));
        assert_eq!(error, ResponseError::FetchSessionIdNotFound);
        sessions.open(ask(0, 0, vec![want(0, 0)])).unwrap();
        let error = refused(sessions.open(ask(1, 2, vec![])));
        assert_eq!(error, ResponseError::InvalidFetchSessionEpoch);
        let error = refused(sessions.open(SessionRequest { by_id: true, ..ask(1, 1, vec![]) }));
        assert_eq!(error, ResponseError::FetchSessionTopicIdError);
        sessions.open(ask(1, -1, vec![])).unwrap();
        let error = refused(sessions.open(ask(1, 1, vec![])));
        assert_eq!(error, ResponseError::FetchSessionIdNotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_cache_gives_no_session_until_one_is_idle() {
        let mut sessions = Sessions::new(1);
        let open = |sessions: &mut Sessions| {
            sessions.open(ask(0, 0, vec![want(0, 0)])).unwrap().session_id
        };
        assert_eq!([open(&mut sessions), open(&mut sessions)], [1, 0]);
        tokio::time::advance(EVICT_AFTER + Duration::from_secs(1)).await;
        assert_eq!(open(&mut sessions), 2);
    }
}
