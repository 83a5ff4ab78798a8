//! Reads the CPU time and the memory of this process from the operating system.
//!
//! Contract: a figure that the system does not report is `None`, never an estimate.

use std::{fs, time::Duration};

/// CPU time of all threads of this process, including ended ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cpu {
    total: Duration,
    /// Clock ticks in user mode and in the system, where the system reports them.
    ticks: Option<(u64, u64)>,
}

/// CPU time between two moments, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CpuTime {
    pub(super) total: f64,
    /// The fraction of `total` spent in the system, 0 to 1; the rest is user time.
    pub(super) system_fraction: Option<f64>,
}

impl Cpu {
    /// Returns the CPU time used until now.
    pub(super) fn now() -> Option<Self> {
        let ticks = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| ticks(&stat));
        Some(Self { total: cpu_time()?, ticks })
    }

    /// Returns the CPU time since `earlier`.
    ///
    /// The total is exact. Its division into user and system time is estimated from the ticks.
    pub(super) fn since(self, earlier: Self) -> CpuTime {
        let total = self.total.saturating_sub(earlier.total).as_secs_f64();
        let system_fraction = match (earlier.ticks, self.ticks) {
            (Some((user, system)), Some((user_now, system_now))) => Some(system_fraction(
                user_now.saturating_sub(user),
                system_now.saturating_sub(system),
            )),
            _ => None,
        };
        CpuTime { total, system_fraction }
    }
}

/// Returns the fraction of ticks in the system; without any tick all time counts as user time.
#[expect(clippy::cast_precision_loss, reason = "a fraction of two small numbers")]
fn system_fraction(user: u64, system: u64) -> f64 {
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

/// Returns the fields utime and stime of `/proc/PID/stat`.
///
/// The process name before them may contain spaces and parentheses.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Returns the peak resident memory of this process, in KiB.
pub(super) fn peak_rss_kib() -> Option<u64> {
    peak(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Resets the peak of resident memory where the system supports it.
///
/// Without it the peak would include the memory used for writing the topic.
pub(super) fn reset_peak() {
    // If this fails, the peak covers the whole run.
    drop(fs::write("/proc/self/clear_refs", "5"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_after_any_process_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1";
        assert_eq!(ticks(stat), Some((250, 50)));
        assert_eq!(ticks("nonsense"), None);
        assert_eq!(peak("VmPeak:\t 9 kB\nVmHWM:\t    1234 kB\n"), Some(1234));
        assert_eq!(peak("VmHWM: many"), None);
    }

    #[test]
    fn ticks_divide_the_exact_total() {
        let cpu = |millis, ticks| Cpu { total: Duration::from_millis(millis), ticks };
        let apart = cpu(3000, Some((30, 10))).since(cpu(1000, Some((0, 0))));
        assert_eq!(apart, CpuTime { total: 2.0, system_fraction: Some(0.25) });
        let short = cpu(5, Some((1, 1))).since(cpu(4, Some((1, 1))));
        assert_eq!(short.system_fraction, Some(0.0));
        let unknown = cpu(5, None).since(cpu(5, None));
        assert_eq!(unknown, CpuTime { total: 0.0, system_fraction: None });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_reports_every_figure() {
        assert!(Cpu::now().unwrap().ticks.is_some());
        assert!(peak_rss_kib().unwrap() > 100);
    }
}
