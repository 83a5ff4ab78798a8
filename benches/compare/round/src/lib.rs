//! The report of every measured client: one JSON line per round.

use std::time::{Duration, Instant};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use serde::{Deserialize, Serialize};

/// The result of one round of one client.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Round {
    pub client: String,
    pub records: u64,
    pub value_bytes: u64,
    /// Bytes of the responses to its fetches; 0 if the client does not report them.
    pub wire_bytes: u64,
    /// Number of fetches; 0 if the client does not report it.
    pub requests: u64,
    /// Bytes of its fetch requests; `None` if the client does not report them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<u64>,
    pub wall_s: f64,
    pub user_s: f64,
    pub system_s: f64,
    pub cpu_us_per_record: f64,
    pub peak_rss_kib: u64,
}

impl Round {
    /// Returns the round as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the sum of user and system time, in seconds.
    #[must_use]
    pub fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }
}

/// The amounts that a client read in a round, without time and memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Read {
    pub records: u64,
    pub value_bytes: u64,
    pub wire_bytes: u64,
    pub requests: u64,
    pub request_bytes: Option<u64>,
}

/// CPU time of this process or of its children, and wall clock, at the start of a round.
#[derive(Debug)]
pub struct Usage {
    whose: UsageWho,
    began: Instant,
    user: Duration,
    system: Duration,
}

/// Reads user time, system time, and peak memory in KiB.
fn read(whose: UsageWho) -> (Duration, Duration, u64) {
    let Ok(usage) = getrusage(whose) else { return Default::default() };
    let duration = |time: TimeVal| {
        Duration::from_micros(
            u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0),
        )
    };
    let peak = u64::try_from(usage.max_rss()).unwrap_or(0);
    (duration(usage.user_time()), duration(usage.system_time()), peak)
}

impl Usage {
    /// Starts a round that measures this process.
    #[must_use]
    pub fn begin() -> Self {
        Self::begin_of(UsageWho::RUSAGE_SELF)
    }

    /// Starts a round that measures the processes that this one starts and waits for from now on.
    #[must_use]
    pub fn begin_of_children() -> Self {
        Self::begin_of(UsageWho::RUSAGE_CHILDREN)
    }

    fn begin_of(whose: UsageWho) -> Self {
        let (user, system, _) = read(whose);
        Self { whose, began: Instant::now(), user, system }
    }

    /// Ends the round and returns its result.
    #[must_use]
    pub fn end(self, client: &str, what: Read) -> Round {
        let (user, system, peak_rss_kib) = read(self.whose);
        let (user, system) = (user.saturating_sub(self.user), system.saturating_sub(self.system));
        let cpu = (user + system).as_secs_f64();
        Round {
            client: client.to_owned(),
            records: what.records,
            value_bytes: what.value_bytes,
            wire_bytes: what.wire_bytes,
            requests: what.requests,
            request_bytes: what.request_bytes,
            wall_s: self.began.elapsed().as_secs_f64(),
            user_s: user.as_secs_f64(),
            system_s: system.as_secs_f64(),
            cpu_us_per_record: cpu * 1e6 / what.records.max(1) as f64,
            peak_rss_kib,
        }
    }
}
