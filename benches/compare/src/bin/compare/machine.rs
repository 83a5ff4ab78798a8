//! What a reader of the figures must know about the machine and the code they come from.

use std::{fs, process::Command};

/// The machine and the code when the measurement began.
pub(crate) struct State(Vec<(&'static str, String)>);

impl State {
    /// What cannot be found out is said to be unknown.
    pub(crate) fn now() -> Self {
        let versions = format!(
            "kafka-direct {}, rskafka {}, arrow {}",
            locked("kafka-direct"),
            locked("rskafka"),
            locked("arrow-array")
        );
        let cores = std::thread::available_parallelism().map_or_else(
            |_| "an unknown number of cores".to_owned(),
            |cores| format!("{cores} cores"),
        );
        Self(vec![
            ("Date", printed("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
            ("Commit", commit()),
            ("Versions", versions),
            ("CPU", format!("{}, {cores}", cpu())),
            ("Memory", memory()),
            ("Kernel", format!("Linux {}", first_line("/proc/sys/kernel/osrelease"))),
            ("Load average at the start", load_average()),
        ])
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The version that this program was built with.
fn locked(package: &str) -> &'static str {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let after = LOCK.split(&format!("name = \"{package}\"\nversion = \"")).nth(1);
    after.and_then(|rest| rest.split('"').next()).unwrap_or("unknown")
}

fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let output = output.filter(|output| output.status.success());
    output.map_or_else(unknown, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn commit() -> String {
    printed("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).ok();
    let line = text.as_deref().and_then(|text| text.lines().next());
    line.map_or_else(unknown, str::to_owned)
}

/// The value of a line `NAME   : VALUE`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn cpu() -> String {
    field("/proc/cpuinfo", "model name").unwrap_or_else(unknown)
}

fn memory() -> String {
    let kib = field("/proc/meminfo", "MemTotal")
        .and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
    kib.map_or_else(unknown, |kib| format!("{} GiB", kib.div_ceil(1 << 20)))
}

fn load_average() -> String {
    first_line("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::locked;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert_eq!(locked("rskafka").split('.').next(), Some("0"));
        assert_eq!(locked("no-such-package"), "unknown");
    }
}
