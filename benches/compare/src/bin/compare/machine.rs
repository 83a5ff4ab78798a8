//! Facts about the machine and the code, which the report shows with its figures.

use std::{fs, process::Command};

use crate::clients::{Client, Clients};

/// Facts about the machine and the code at the start of a measurement: name and value.
pub(crate) struct State(Vec<(&'static str, String)>);

impl State {
    /// Collects the facts; a fact that cannot be read is `unknown`.
    pub(crate) fn now(clients: &Clients) -> Self {
        let cores = std::thread::available_parallelism().map_or_else(
            |_| "an unknown number of cores".to_owned(),
            |cores| format!("{cores} cores"),
        );
        Self(vec![
            ("Date", printed("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
            ("Commit", commit()),
            ("Versions", versions(clients)),
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

const LOCK: &str = include_str!("../../../Cargo.lock");
const RDKAFKA_LOCK: &str = include_str!("../../../clients/rdkafka/Cargo.lock");
const GO_MODULES: &str = include_str!("../../../clients/franz-go/go.mod");
const KAFKA_POM: &str = include_str!("../../../../../integration-tests/kafka/pom.xml");
const SPARK_POM: &str = include_str!("../../../clients/spark/pom.xml");

/// Returns the versions of ours and of every measured client.
fn versions(clients: &Clients) -> String {
    let mut versions = vec![
        format!("kafka-direct {}", locked(LOCK, "kafka-direct")),
        format!("arrow {}", locked(LOCK, "arrow-array")),
    ];
    let of = [
        (Client::Rskafka, format!("rskafka {}", locked(LOCK, "rskafka"))),
        (
            Client::Rdkafka,
            format!(
                "rdkafka {} with librdkafka {}",
                locked(RDKAFKA_LOCK, "rdkafka"),
                locked(RDKAFKA_LOCK, "rdkafka-sys").split('+').next_back().unwrap_or_default()
            ),
        ),
        (
            Client::FranzGo,
            format!("franz-go {}", after(GO_MODULES, "github.com/twmb/franz-go v", '\n')),
        ),
        (
            Client::JavaPoll,
            format!("Kafka's Java client and tools {}", after(KAFKA_POM, "<kafka.version>", '<')),
        ),
        (Client::Spark, format!("Spark {}", after(SPARK_POM, "<spark.version>", '<'))),
    ];
    versions
        .extend(of.into_iter().filter(|(client, _)| clients.has(*client)).map(|(_, name)| name));
    versions.join(", ")
}

/// Returns the text between `start` and the next `end`.
fn after<'a>(text: &'a str, start: &str, end: char) -> &'a str {
    let rest = text.split(start).nth(1);
    rest.and_then(|rest| rest.split(end).next()).unwrap_or("unknown")
}

/// Returns the version of a package in a `Cargo.lock`.
fn locked<'a>(lock: &'a str, package: &str) -> &'a str {
    after(lock, &format!("name = \"{package}\"\nversion = \""), '"')
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

/// Returns the value of the line `NAME   : VALUE` of a file.
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
    use super::*;

    #[test]
    fn versions_are_those_of_the_files_that_say_what_is_built() {
        assert_eq!(locked(LOCK, "rskafka").split('.').next(), Some("0"));
        assert_eq!(locked(LOCK, "no-such-package"), "unknown");
        for found in [
            locked(RDKAFKA_LOCK, "rdkafka-sys"),
            after(GO_MODULES, "github.com/twmb/franz-go v", '\n'),
            after(KAFKA_POM, "<kafka.version>", '<'),
            after(SPARK_POM, "<spark.version>", '<'),
        ] {
            assert!(found.starts_with(|first: char| first.is_ascii_digit()), "{found}");
        }
    }
}
