//! What this process has used: CPU time and memory, as the system counts them.
//!
//! Contract: what a system does not tell is `None`, never a guess.

use std::{fs, time::Duration};

/// CPU time of all threads, ended ones too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cpu {
    total: Duration,
    /// Clock ticks in user mode and in the system, where they are told apart.
    ticks: Option<(u64, u64)>,
}

/// Seconds of CPU time between two moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CpuTime {
    pub(super) total: f64,
    /// The share of it that was spent in the system; the rest was in user mode.
    pub(super) system_share: Option<f64>,
}

impl Cpu {
    /// What was used until now.
    pub(super) fn now() -> Option<Self> {
        let ticks = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| ticks(&stat));
        Some(Self { total: cpu_time()?, ticks })
    }

    /// What was used since `earlier`. The sum is exact; how it is divided follows the ticks.
    pub(super) fn since(self, earlier: Self) -> CpuTime {
        let total = self.total.saturating_sub(earlier.total).as_secs_f64();
        let system_share = match (earlier.ticks, self.ticks) {
            (Some((user, system)), Some((user_now, system_now))) => {
                Some(share(user_now.saturating_sub(user), system_now.saturating_sub(system)))
            }
            _ => None,
        };
        CpuTime { total, system_share }
    }
}

/// What took less than a tick counts as user time.
#[expect(clippy::cast_precision_loss, reason = "a share of two small numbers")]
fn share(user: u64, system: u64) -> f64 {
    system as f64 / user.saturating_add(system).max(1) as f64
}

#[cfg(unix)]
fn cpu_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(not(unix))]
const fn cpu_time() -> Option<Duration> {
    None
}

/// The fields utime and stime of `/proc/PID/stat`. The name before them may hold anything.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The most memory that was resident, in KiB.
pub(super) fn peak_rss_kib() -> Option<u64> {
    peak(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Lets the peak begin anew, where the system can: reading is to be told from what was done before.
pub(super) fn forget_peak() {
    // Elsewhere the peak stays that of the whole run, which is no less true.
    drop(fs::write("/proc/self/clear_refs", "5"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_program_is_called() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1";
        assert_eq!(ticks(stat), Some((250, 50)));
        assert_eq!(ticks("nonsense"), None);
        assert_eq!(peak("VmPeak:\t 9 kB\nVmHWM:\t    1234 kB\n"), Some(1234));
        assert_eq!(peak("VmHWM: many"), None);
    }

    #[test]
    fn ticks_divide_the_exact_sum() {
        let cpu = |millis, ticks| Cpu { total: Duration::from_millis(millis), ticks };
        let apart = cpu(3000, Some((30, 10))).since(cpu(1000, Some((0, 0))));
        assert_eq!(apart, CpuTime { total: 2.0, system_share: Some(0.25) });
        let short = cpu(5, Some((1, 1))).since(cpu(4, Some((1, 1))));
        assert_eq!(short.system_share, Some(0.0));
        let unknown = cpu(5, None).since(cpu(5, None));
        assert_eq!(unknown, CpuTime { total: 0.0, system_share: None });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_reports_all_of_it() {
        assert!(Cpu::now().unwrap().ticks.is_some());
        assert!(peak_rss_kib().unwrap() > 100);
    }
}
