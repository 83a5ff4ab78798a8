//! Fetch sessions (KIP-227): the broker remembers which partitions a connection wants, and an
//! incremental response leaves out those with nothing new.
//!
//! A cache belongs to one node. Sessions idle for two minutes give way to new ones; while all
//! slots are in use, a client that asks for a session is told 0 and stays on full fetches.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

/// A session untouched for this long may be dropped for a new one.
const EVICT_AFTER: Duration = Duration::from_secs(120);

/// How a request names a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TopicRef {
    /// By name, before Fetch v13.
    Name(Arc<str>),
    /// By id.
    Id([u8; 16]),
}

/// One partition as a Fetch asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) topic: TopicRef,
    pub(crate) partition: i32,
    /// The name the id stood for when the partition entered the session.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) leader_epoch: i32,
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
}

type Key = (TopicRef, i32);

/// What an incremental response last said about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
}

const NOTHING_SAID: Said = Said { high_watermark: -1, log_start: -1 };

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    used: Instant,
    /// In the order in which partitions are served; keys of `wants`.
    order: BTreeMap<u64, Key>,
    wants: HashMap<Key, (u64, Want, Said)>,
    next_place: u64,
}

impl Session {
    fn put(&mut self, want: Want) {
        let key = (want.topic.clone(), want.partition);
        if let Some((_, known, _)) = self.wants.get_mut(&key) {
            let name = known.name.take().or_else(|| want.name.clone());
            *known = Want { name, ..want };
            return;
        }
        self.order.insert(self.next_place, key.clone());
        self.wants.insert(key, (self.next_place, want, NOTHING_SAID));
        self.next_place = self.next_place.saturating_add(1);
    }

    fn forget(&mut self, key: &Key) {
        if let Some((place, ..)) = self.wants.remove(key) {
            self.order.remove(&place);
        }
    }

    fn in_order(&self) -> Vec<Want> {
        let wants = self.order.values().filter_map(|key| self.wants.get(key));
        wants.map(|(_, want, _)| want.clone()).collect()
    }
}

/// What a request asks of the session cache.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) session_id: i32,
    pub(crate) epoch: i32,
    pub(crate) by_id: bool,
    pub(crate) wants: Vec<Want>,
    pub(crate) forgotten: Vec<Key>,
}

/// How a request is to be answered.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The id for the response; 0 for none.
    pub(crate) session_id: i32,
    /// Whether partitions with nothing new are left out.
    pub(crate) incremental: bool,
    /// Everything to read, in order.
    pub(crate) wants: Vec<Want>,
}

/// The sessions of one node.
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

    /// Ends all sessions.
    pub(crate) fn clear(&mut self) {
        self.sessions.clear();
    }

    /// Finds or makes the session of a request.
    pub(crate) fn open(&mut self, asked: Asked) -> Result<Opened, ResponseError> {
        let Asked { session_id, epoch, by_id, wants, forgotten } = asked;
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
            next_place: 0,
        };
        wants.iter().cloned().for_each(|want| session.put(want));
        self.sessions.insert(self.last_id, session);
        self.last_id
    }

    /// Notes what is about to be said of a partition; `said` is `None` for an error. Responses
    /// whether it must be said. A partition that gave records goes to the end of the order.
    pub(crate) fn say(
        &mut self,
        session_id: i32,
        want: &Want,
        said: Option<Said>,
        has_records: bool,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&session_id) else { return true };
        let key = (want.topic.clone(), want.partition);
        let Some((place, _, before)) = session.wants.get_mut(&key) else { return true };
        let changed = said.is_none_or(|said| said != *before);
        *before = said.unwrap_or(NOTHING_SAID);
        if has_records {
            session.order.remove(place);
            *place = session.next_place;
            session.order.insert(session.next_place, key);
            session.next_place = session.next_place.saturating_add(1);
        }
        changed || has_records
    }
}

/// A partition named twice counts once, at its first place with its last wish.
fn collapse(wants: Vec<Want>) -> Vec<Want> {
    let mut places: HashMap<Key, usize> = HashMap::with_capacity(wants.len());
    let mut kept: Vec<Want> = Vec::with_capacity(wants.len());
    for want in wants {
        let place = *places.entry((want.topic.clone(), want.partition)).or_insert(kept.len());
        match kept.get_mut(place) {
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

    fn ask(session_id: i32, epoch: i32, wants: Vec<Want>) -> Asked {
        Asked { session_id, epoch, by_id: false, wants, forgotten: vec![] }
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
        let mut asked = ask(1, 2, vec![]);
        asked.forgotten = vec![(TopicRef::Name("t".into()), 0)];
        assert_eq!(seen(&sessions.open(asked).unwrap()), [(1, 9), (2, 0)]);
    }

    #[tokio::test]
    async fn only_news_is_said_and_partitions_with_records_go_last() {
        let mut sessions = Sessions::new(10);
        sessions.open(ask(0, 0, vec![want(0, 0), want(1, 0)])).unwrap();
        let said = Some(Said { high_watermark: 5, log_start: 0 });
        assert!(sessions.say(1, &want(0, 0), said, true));
        assert!(!sessions.say(1, &want(0, 0), said, false));
        assert!(sessions.say(1, &want(0, 0), None, false));
        assert!(sessions.say(1, &want(0, 0), said, false));
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
        let error = refused(sessions.open(Asked { by_id: true, ..ask(1, 1, vec![]) }));
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
