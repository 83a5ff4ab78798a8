//! What every measured client reports, in the same words: one JSON line a round.

use std::time::{Duration, Instant};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use serde::{Deserialize, Serialize};

/// One round of one client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    pub client: String,
    pub records: u64,
    pub value_bytes: u64,
    pub wire_bytes: u64,
    pub requests: u64,
    pub wall_s: f64,
    pub user_s: f64,
    pub system_s: f64,
    pub cpu_us_per_record: f64,
    pub peak_rss_kib: u64,
}

impl Round {
    /// One line.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The process's CPU time and the clock at the start of a round.
#[derive(Debug)]
pub struct Usage {
    began: Instant,
    user: Duration,
    system: Duration,
}

/// User and system time of this process, and its peak memory in KiB.
fn read() -> (Duration, Duration, u64) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Default::default() };
    let duration = |time: TimeVal| {
        Duration::from_micros(
            u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0),
        )
    };
    let peak = u64::try_from(usage.max_rss()).unwrap_or(0);
    (duration(usage.user_time()), duration(usage.system_time()), peak)
}

impl Usage {
    /// Starts a round.
    #[must_use]
    pub fn begin() -> Self {
        let (user, system, _) = read();
        Self { began: Instant::now(), user, system }
    }

    /// Ends it.
    #[must_use]
    pub fn end(
        self,
        client: &str,
        records: u64,
        value_bytes: u64,
        wire_bytes: u64,
        requests: u64,
    ) -> Round {
        let (user, system, peak_rss_kib) = read();
        let (user, system) = (user.saturating_sub(self.user), system.saturating_sub(self.system));
        let cpu = (user + system).as_secs_f64();
        Round {
            client: client.to_owned(),
            records,
            value_bytes,
            wire_bytes,
            requests,
            wall_s: self.began.elapsed().as_secs_f64(),
            user_s: user.as_secs_f64(),
            system_s: system.as_secs_f64(),
            cpu_us_per_record: cpu * 1e6 / records.max(1) as f64,
            peak_rss_kib,
        }
    }
}
