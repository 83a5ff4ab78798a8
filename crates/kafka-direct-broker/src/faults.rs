//! Fault injection for tests: faults that replace the normal handling of an API's requests.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{ApiKey, ErrorCode};

/// A function that changes a response, without its size prefix, before it is sent.
pub type Corruption = Arc<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// A fault: what happens to a request instead of its normal handling.
#[derive(Clone)]
#[non_exhaustive]
pub enum Fault {
    /// Waits, then serves the request normally. Later requests of the connection wait for it.
    Delay(Duration),
    /// Does not serve the request; the response has this error code in every error field.
    ///
    /// In Fetch, the session errors (`FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`,
    /// `FETCH_SESSION_TOPIC_ID_ERROR`) are in the top-level field. Other codes are in
    /// each partition.
    ErrorCode(ErrorCode),
    /// Does not serve the request; the response is well-formed, empty and without errors.
    ///
    /// A Fetch response contains every partition, with its watermarks and without records.
    Empty,
    /// Does not serve the request; the connection closes without a response.
    Cut,
    /// Serves the request, then closes the connection after this many bytes of the response, size
    /// prefix included.
    ///
    /// With 0, the request takes effect and gets no response.
    CutAfter(usize),
    /// Serves the request; this function changes the response, without its size prefix.
    Corrupt(Corruption),
    /// Does not serve the request; these bytes, size prefix included, are the response.
    Raw(Bytes),
    /// Serves the request; the response has this throttle time, in whole milliseconds.
    ///
    /// A Fetch is not served. Its response contains no partition, as Apache Kafka's under a quota.
    Throttle(Duration),
}

impl Fault {
    /// A [`Fault::Corrupt`]: serves the request and changes its response, without the size prefix,
    /// with `change`.
    pub fn corrupt(change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::Corrupt(Arc::new(change))
    }

    /// A [`Fault::Corrupt`] that serves the request and flips all bits of byte `at` of its
    /// response.
    ///
    /// Byte 0 is the first byte of the correlation id. If `at` is after the end, the last byte is
    /// flipped.
    #[must_use]
    pub fn flip_byte(at: usize) -> Self {
        Self::corrupt(move |response| {
            let at = at.min(response.len().saturating_sub(1));
            if let Some(byte) = response.get_mut(at) {
                *byte = !*byte;
            }
        })
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(time) => f.debug_tuple("Delay").field(time).finish(),
            Self::ErrorCode(code) => f.debug_tuple("ErrorCode").field(code).finish(),
            Self::Empty => f.write_str("Empty"),
            Self::Cut => f.write_str("Cut"),
            Self::CutAfter(bytes) => f.debug_tuple("CutAfter").field(bytes).finish(),
            Self::Corrupt(_) => f.write_str("Corrupt(..)"),
            Self::Raw(bytes) => f.debug_tuple("Raw").field(&bytes.len()).finish(),
            Self::Throttle(time) => f.debug_tuple("Throttle").field(time).finish(),
        }
    }
}

#[derive(Debug, Default)]
struct Plan {
    next: VecDeque<Fault>,
    every: Option<Fault>,
    intercepted: u64,
}

/// The faults of a broker. Each fault applies to one API, on every node and connection.
#[derive(Debug, Default)]
pub struct Faults(Mutex<HashMap<ApiKey, Plan>>);

impl Faults {
    /// Applies `fault` to the next request of `api`. Several calls queue their faults in order.
    pub fn next(&self, api: ApiKey, fault: Fault) {
        self.0.lock().entry(api).or_default().next.push_back(fault);
    }

    /// Applies `fault` to every request of `api`. Faults from [`Faults::next`] take precedence. It
    /// replaces the fault of an earlier call.
    pub fn every(&self, api: ApiKey, fault: Fault) {
        self.0.lock().entry(api).or_default().every = Some(fault);
    }

    /// Removes all faults; the counts of intercepted requests stay.
    pub fn clear(&self) {
        for plan in self.0.lock().values_mut() {
            plan.next.clear();
            plan.every = None;
        }
    }

    /// The number of requests of `api` that met a fault.
    #[must_use]
    pub fn intercepted(&self, api: ApiKey) -> u64 {
        self.0.lock().get(&api).map_or(0, |plan| plan.intercepted)
    }

    pub(crate) fn take(&self, api: ApiKey) -> Option<Fault> {
        let mut plans = self.0.lock();
        let plan = plans.get_mut(&api)?;
        let fault = plan.next.pop_front().or_else(|| plan.every.clone())?;
        plan.intercepted = plan.intercepted.saturating_add(1);
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_faults_come_before_the_permanent_one() {
        let faults = Faults::default();
        faults.every(ApiKey::Fetch, Fault::Empty);
        faults.next(ApiKey::Fetch, Fault::Cut);
        assert!(matches!(faults.take(ApiKey::Fetch), Some(Fault::Cut)));
        assert!(matches!(faults.take(ApiKey::Fetch), Some(Fault::Empty)));
        assert!(faults.take(ApiKey::Produce).is_none());
        faults.clear();
        assert!(faults.take(ApiKey::Fetch).is_none());
        assert_eq!(faults.intercepted(ApiKey::Fetch), 2);
    }
}
