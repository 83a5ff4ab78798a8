//! The command `kafka-direct`: reads exact offset ranges of Kafka topics from a shell.
//!
//! **Promises:** stdout carries only data. A run that was cut short never exits 0. Each failure
//! exits with the code of its kind (see [`exit`]). Only `produce`, `topics create`, `topics delete` and
//! `bench --generate` change anything on a broker that this process did not start.
//!
//! **Out of scope:** the wire protocol, the layout of a Kafka batch, how ranges are planned, file
//! formats.
//!
//! # Map
//!
//! - `cli.rs`: subcommands and their flags; `cli/connection.rs`, `cli/selection.rs`, `cli/read.rs`,
//!   `cli/bench.rs`, `cli/topics.rs`: large or shared groups of flags
//! - `connect.rs`: connects to a cluster by flags, environment and config file
//! - `selection.rs`: applies the selection flags; `selection/partition_list.rs`: parses and prints
//!   LIST of `--partitions LIST`; `selection/words.rs`: the flags as
//!   words, to compare with those of a plan or folder
//! - `read.rs`: runs `read`; `read/planned.rs`: its plan and its progress; `read/folder.rs`:
//!   `--output DIR/`
//! - `read/sink.rs`: stdout or one file as a sink; `read/writer.rs`: the thread that writes it
//! - `read/table.rs`, `read/table_text.rs`: `--format table`
//! - `checkpoint.rs`: runs `checkpoint`; `cli/checkpoint.rs`: its flags
//! - `stream.rs`: runs `stream`; `cli/stream.rs`: its flags; `stream/spec.rs`: parses its sink and
//!   trigger; `stream/console.rs`: the sink `console`; `stream/topic.rs`: the sink
//!   `kafka:TOPIC`; `stream/report.rs`: reports on its batches; `stream/live.rs`: its live view;
//!   `stream/decoding.rs`, `cli/decoding.rs`: what keys and values are decoded to
//! - `verify.rs`, `plan.rs`, `offsets.rs`, `topics.rs`, `broker.rs`, `completions.rs`: run the commands
//!   of the same names; `topics/admin.rs`: creates and deletes topics, also those of `bench`
//! - `demo.rs`: runs `demo`; `demo/payload.rs`: its records, each with its own checksum;
//!   `demo/stream.rs`: runs `demo --stream`
//! - `produce.rs`: runs `produce`; `produce/stdin.rs`: reads lines ahead; `produce/line.rs`:
//!   converts a line to a record
//! - `bench.rs`: runs `bench`; `bench/generate.rs`: writes the topic of `--generate`
//! - `bench/measure.rs`: measures one round; `bench/stop.rs`: ends it early; `bench/limit.rs`:
//!   limits its fetch rate; `bench/usage.rs`: CPU time and memory
//! - `bench/figures.rs`: names, units and medians; `bench/table.rs`: formats figures as tables;
//!   `bench/results.rs`: prints and writes them
//! - `bench/summary.rs`: the result in a sentence, its warning and its settings
//! - `bench/report.rs`, `bench/plots.rs`: the HTML report and its plots
//! - `remarks.rs`: prints remarks on a plan; `progress.rs`: progress bars; `output.rs`: the only
//!   file that writes to stdout and stderr
//! - `logging.rs`: log lines; `exit.rs`: failures and exit codes; `signal.rs`: SIGINT and SIGTERM
//! - `size.rs`: parses durations and sizes; `list.rs`: parses lists; `shell.rs`: quotes words for a
//!   shell
//! - `deadline.rs`: the time limit of a whole run

mod bench;
mod broker;
mod checkpoint;
mod cli;
mod completions;
mod connect;
mod deadline;
mod demo;
mod exit;
mod list;
mod logging;
mod offsets;
mod output;
mod plan;
mod produce;
mod progress;
mod read;
mod remarks;
mod selection;
mod shell;
mod signal;
mod size;
mod stream;
mod topics;
mod verify;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    exit::Failure,
};

/// How long cancelled tasks may take to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    logging::start(&cli.logging);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return exit::report(&Failure::io("starting the runtime", source)),
    };
    let result = runtime.block_on(signal::or_interrupted(Box::pin(run(cli.command))));
    output::clear_progress();
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result.map_or_else(|failure| exit::report(&failure), |()| ExitCode::SUCCESS)
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Read(args) => read::run(*args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Stream(args) => Box::pin(stream::run(*args)).await,
        Command::Checkpoint(args) => checkpoint::run(args).await,
        Command::Plan(args) => plan::run(*args).await,
        Command::Offsets(args) => offsets::run(args).await,
        Command::Topics(args) => topics::run(args).await,
        Command::Produce(args) => produce::run(args).await,
        Command::Bench(args) => Box::pin(bench::run(*args)).await,
        Command::Broker(args) => broker::run(args).await,
        Command::Completions(args) => completions::run(&args),
    }
}
