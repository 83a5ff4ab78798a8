//! The seam for tests: what happens to the next request of one API instead of the truth.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::ApiKey;

/// How a response, given without its size prefix, is changed before it goes out.
pub type Corruption = Arc<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// What happens to a request.
#[derive(Clone)]
#[non_exhaustive]
pub enum Fault {
    /// Waits, then serves it as usual. Later requests of the connection wait behind it.
    Delay(Duration),
    /// Nothing is done; a well-formed response carries this Kafka error code in every place that has
    /// one. In Fetch the session errors (70, 71, 106) stand at the top, others at each partition.
    ErrorCode(i16),
    /// Nothing is done; a well-formed response without errors says nothing. A Fetch response has every
    /// partition with its watermarks and no records.
    Empty,
    /// Nothing is done; the connection closes without a response.
    Cut,
    /// It is served, and the connection closes after this many bytes of the response, its size
    /// prefix included. 0 is a request that took effect and was never answered.
    CutAfter(usize),
    /// It is served, and the response without its size prefix is changed by this function.
    Corrupt(Corruption),
    /// Nothing is done; these bytes, size prefix included, are the response.
    Raw(Bytes),
    /// It is served, and the response names this throttle time (in whole milliseconds). A Fetch is not
    /// served: its response names no partition, as Apache Kafka's under a quota.
    Throttle(Duration),
}

impl Fault {
    /// Serves the request and changes its response, given without the size prefix.
    pub fn corrupt(change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::Corrupt(Arc::new(change))
    }

    /// Serves the request and flips every bit of byte `at` of its response, counted from the
    /// correlation id's first byte; from the end if `at` lies behind it.
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

/// The faults of a broker. Each is for one API, whichever node and connection the request comes
/// to.
#[derive(Debug, Default)]
pub struct Faults(Mutex<HashMap<ApiKey, Plan>>);

impl Faults {
    /// The next request of `api` meets `fault`. Several calls queue up, first come first served.
    pub fn next(&self, api: ApiKey, fault: Fault) {
        self.0.lock().entry(api).or_default().next.push_back(fault);
    }

    /// Every request of `api` meets `fault`, those apart for which [`Faults::next`] has one.
    /// Replaces the one before.
    pub fn every(&self, api: ApiKey, fault: Fault) {
        self.0.lock().entry(api).or_default().every = Some(fault);
    }

    /// Takes all faults back; counts stay.
    pub fn clear(&self) {
        for plan in self.0.lock().values_mut() {
            plan.next.clear();
            plan.every = None;
        }
    }

    /// How many requests of `api` met a fault.
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
    fn queued_faults_come_first_then_the_standing_one() {
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
