//! `java_performance BOOTSTRAP TOPIC RECORDS`: measures the process of Kafka's ConsumerPerformance.
//!
//! The measurement includes the start of the JVM. The tool prints records, and MB of keys and
//! values with four decimals, which become `value_bytes`. It joins its own group; commits are
//! disabled. It does not check CRCs, and has no setting for that.

use std::{
    error::Error,
    fs,
    process::{Command, Stdio},
};

use kafka_direct_compare_round::{Read, Usage};

type BoxError = Box<dyn Error + Send + Sync>;

const TOOL: &str = "org.apache.kafka.tools.ConsumerPerformance";

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, bootstrap, topic, records] = arguments.as_slice() else {
        return Err("usage: java_performance BOOTSTRAP TOPIC RECORDS".into());
    };
    let class_path = std::env::var("KAFKA_DIRECT_KAFKA_CP")
        .map_err(|_| "KAFKA_DIRECT_KAFKA_CP must be set to the class path of Kafka's jars")?;
    let config = std::env::temp_dir()
        .join(format!("kafka-direct-compare-{}.properties", std::process::id()));
    fs::write(&config, "enable.auto.commit=false\n")?;
    let usage = Usage::begin_of_children();
    let output = Command::new("java")
        .args(["-Xmx512m", "-Duser.language=en", "-cp", &class_path, TOOL])
        .args(["--bootstrap-server", bootstrap, "--topic", topic, "--messages", records])
        .args(["--hide-header", "--timeout", "60000", "--consumer.config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    fs::remove_file(&config)?;
    let output = output.map_err(|error| format!("java: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{TOOL} failed: {}\n{printed}", output.status).into());
    }
    let (records, value_bytes) =
        printed.lines().rev().find_map(figures).ok_or_else(|| format!("{TOOL}: {printed}"))?;
    let read = Read { records, value_bytes, ..Read::default() };
    println!("{}", usage.end("java-performance", read).to_json());
    Ok(())
}

/// Parses records and bytes from the line `start, end, MB, MB/s, records, ..`.
fn figures(line: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let mib: f64 = fields.get(2)?.parse().ok()?;
    let records = fields.get(4)?.parse().ok()?;
    Some((records, (mib * (1u64 << 20) as f64).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::figures;

    #[test]
    fn records_and_bytes_are_parsed_from_the_tools_line() {
        let line = "2026-01-01 10:00:00:000, 2026-01-01 10:00:04:310, 476.8372, 110.6, 5000000, \
                    1160092.8, 3300, 1010, 472.1, 4950495.0";
        assert_eq!(figures(line), Some((5_000_000, 500_000_044)));
        assert_eq!(figures("WARNING: Exiting before consuming, no more"), None);
    }
}
