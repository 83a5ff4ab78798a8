//! `compare`: measures clients on the same topics in interleaved rounds, and prints Markdown
//! tables.
//!
//! Tables go to standard output, progress to standard error. Compare only ratios of runs in one
//! call of this program: absolute figures differ between machines and hours.

mod clients;
mod loads;
mod machine;
mod plot;
mod producer;
mod report;
mod rounds;
mod spread;
mod targets;
mod values;

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Parser;

use crate::{
    clients::{Clients, Peers},
    loads::Load,
    rounds::{Measured, Wanted},
};

/// An error that ends the comparison, printed for the person who started it.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Measures kafka-direct, floor and other clients on the same topics.
///
/// A round runs each client in its own process, and each round has another order. The first round
/// is discarded. A round is also discarded if `floor drain`, which measures the machine and not a
/// client, is more than 20 % from its median.
#[derive(Parser)]
#[command(name = "compare")]
struct Arguments {
    /// Brokers, host:port, separated by commas
    #[arg(short, long, alias = "brokers", required_unless_present = "list")]
    bootstrap: Option<String>,
    /// Topics to read, each TOPIC or NAME=TOPIC, separated by commas
    #[arg(short, long, alias = "topic", value_delimiter = ',', required_unless_present_any = ["load", "list"])]
    topics: Vec<String>,
    /// Write the standard loads to new topics, and delete each after it is measured; existing
    /// topics are read as they are and kept. Needs java, and KAFKA_DIRECT_KAFKA_CP set to the class
    /// path of Kafka's jars
    #[arg(short, long)]
    load: bool,
    /// Measure only these standard loads, by topic or name, separated by commas
    #[arg(long, value_delimiter = ',', requires = "load")]
    only: Vec<String>,
    /// Factor for the number of records of each standard load
    #[arg(long, default_value_t = 1.0, requires = "load")]
    scale: f64,
    /// List the standard loads and exit
    #[arg(long)]
    list: bool,
    /// Rounds to keep; at most three times as many are run
    #[arg(short, long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Other clients to measure
    #[arg(long, value_enum, default_value_t = Peers::Fast)]
    peers: Peers,
    /// Kept rounds in which other clients run too; the remaining rounds run only kafka-direct and
    /// floor, whose ratio is the closest to 1
    #[arg(long, default_value_t = 3)]
    peer_rounds: u16,
    /// Kept rounds in which slow clients run too; at most --peer-rounds
    #[arg(long, default_value_t = 1)]
    slow_rounds: u16,
    /// Kept rounds in which the cheapest other client runs, including --peer-rounds
    #[arg(long, default_value_t = 12)]
    rival_rounds: u16,
    /// A toolchain whose clients cannot be run, TOOLCHAIN=REASON with rdkafka, franz-go, java or
    /// spark; may be repeated
    #[arg(long)]
    missing: Vec<String>,
    /// Line KEY=VALUE at the start of the output; may be repeated
    #[arg(long)]
    note: Vec<String>,
    /// Write every round of every client, including discarded ones, to this file as JSON lines
    #[arg(long)]
    raw: Option<PathBuf>,
    /// Write a plot (SVG) of CPU per record by client and load to this file
    #[arg(long)]
    svg: Option<PathBuf>,
}

fn main() {
    if let Err(error) = run(&Arguments::parse()) {
        eprintln!("compare: {error}");
        std::process::exit(1);
    }
}

fn run(arguments: &Arguments) -> Result<(), BoxError> {
    if arguments.list {
        for load in loads::standard(1.0) {
            let topics: Vec<&str> = load.topics.iter().map(|topic| topic.name.as_str()).collect();
            let records = load.expected.unwrap_or(0);
            println!("{} ({records} records): {}", load.name, topics.join(", "));
        }
        return Ok(());
    }
    let bootstrap = arguments.bootstrap.as_deref().unwrap_or_default();
    let clients = Clients::find(arguments.peers, &arguments.missing)?;
    for (client, reason) in clients.left_out() {
        eprintln!("not measured: {}: {reason}", client.name());
    }
    let peer_rounds = arguments.peer_rounds.min(arguments.rounds);
    let wanted = Wanted {
        rounds: arguments.rounds.into(),
        peer_rounds: peer_rounds.into(),
        slow_rounds: arguments.slow_rounds.min(peer_rounds).into(),
        rival_rounds: arguments.rival_rounds.min(arguments.rounds).into(),
    };
    let began = machine::State::now(&clients);
    let mut measured = Vec::new();
    let mut outcome = Ok(());
    for load in chosen(arguments)? {
        match written_and_measured(&clients, bootstrap, load, wanted) {
            Ok(one) => measured.push(one),
            // Loads that were measured before the error are still reported.
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    if let Some(path) = &arguments.raw {
        write_raw(path, &measured)?;
    }
    let mut plot = None;
    if let Some(path) = &arguments.svg {
        let drawn = plot::svg(&measured)?;
        std::fs::write(path, drawn).map_err(|error| format!("{}: {error}", path.display()))?;
        plot = path.file_name().and_then(|name| name.to_str());
    }
    print!("{}", report::markdown(&began, &arguments.note, &clients, &measured, plot));
    outcome
}

/// Writes the load's missing topics, measures the load, and deletes the topics that it wrote.
fn written_and_measured(
    clients: &Clients,
    bootstrap: &str,
    load: Load,
    wanted: Wanted,
) -> Result<Measured, BoxError> {
    let mut written = Vec::new();
    let measured = producer::write_missing(clients, bootstrap, &load, &mut written)
        .and_then(|()| rounds::measure(clients, bootstrap, load, wanted));
    producer::delete(bootstrap, &written)?;
    measured
}

fn chosen(arguments: &Arguments) -> Result<Vec<Load>, BoxError> {
    let mut chosen: Vec<Load> =
        arguments.topics.iter().map(|topic| Load::existing(topic)).collect();
    if arguments.load {
        let standard = loads::standard(arguments.scale);
        for wanted in &arguments.only {
            if !standard.iter().any(|load| load.is_called(wanted)) {
                return Err(format!("no standard load has the name {wanted:?}: see --list").into());
            }
        }
        let only = &arguments.only;
        chosen.extend(
            standard
                .into_iter()
                .filter(|load| only.is_empty() || only.iter().any(|wanted| load.is_called(wanted))),
        );
    }
    Ok(chosen)
}

fn write_raw(path: &Path, measured: &[Measured]) -> Result<(), BoxError> {
    let mut file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for one in measured {
        for (number, round) in (1..).zip(&one.rounds) {
            for ((client, topic), result) in round.all() {
                let line = serde_json::json!({
                    "load": one.load.name,
                    "topic": one.load.topics[topic].name,
                    "client": client.name(),
                    "round": number,
                    "kept": one.is_kept(round),
                    "result": result,
                });
                writeln!(file, "{line}")?;
            }
        }
    }
    Ok(())
}
