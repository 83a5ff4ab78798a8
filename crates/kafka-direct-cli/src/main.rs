//! The command `kafka-direct`: exact offset ranges of Kafka topics from a shell.
//!
//! **Promises:** stdout carries data and nothing else; a run that was cut short never exits 0; each
//! failure exits with the code of its kind (see [`exit`]); nothing but `bench --generate` and
//! `produce` writes to a broker that was not started here.
//!
//! **Does not know:** the wire protocol, the form of a Kafka batch, how ranges are planned,
//! file formats.
//!
//! # Map
//!
//! - `cli.rs`: every flag; `cli/connection.rs`, `cli/selection.rs`, `cli/read.rs`, `cli/bench.rs`: flags
//!   that are shared or many
//! - `connect.rs`: from flag, environment and config file to a cluster
//! - `selection.rs`, `selection/offset_spec.rs`, `selection/partition_list.rs`: the words for offsets
//!   and partitions
//! - `read.rs`: `read`; `read/planned.rs`: its plan and its progress; `read/folder.rs`: `--output DIR/`
//! - `read/sink.rs`: stdout or one file as a sink; `read/writer.rs`: the one thread that writes it
//! - `read/table.rs`, `read/table_text.rs`: `--format table`
//! - `plan.rs`, `offsets.rs`, `topics.rs`, `broker.rs`, `completions.rs`: the commands of these names
//! - `demo.rs`: `demo`; `demo/payload.rs`: its records, which carry their own checksum
//! - `produce.rs`: `produce`; `produce/stdin.rs`, `produce/line.rs`, `produce/batches.rs`: lines read
//!   ahead, as records, sent in batches
//! - `bench.rs`: `bench`; `bench/generate.rs`: the topic it may write first
//! - `bench/measure.rs`: one round; `bench/stop.rs`, `bench/limit.rs`: when it ends early, how fast it
//!   may go; `bench/usage.rs`: CPU and memory
//! - `bench/figures.rs`: names, units, medians; `bench/table.rs`, `bench/results.rs`: as tables, and where
//!   they are shown
//! - `bench/report.rs`, `bench/plots.rs`: the page with everything on it, and its plots
//! - `remarks.rs`: remarks on a plan; `progress.rs`: bars; `output.rs`: the only place that prints
//! - `logging.rs`: log lines; `exit.rs`: failures and exit codes; `signal.rs`: SIGINT and SIGTERM
//! - `size.rs`: durations and sizes as people write them

mod bench;
mod broker;
mod cli;
mod completions;
mod connect;
mod demo;
mod exit;
mod logging;
mod offsets;
mod output;
mod plan;
mod produce;
mod progress;
mod read;
mod remarks;
mod selection;
mod signal;
mod size;
mod topics;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    exit::Failure,
};

/// How long tasks that were cancelled may take to end.
const SHUTDOWN: Duration = Duration::from_millis(100);

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
    runtime.shutdown_timeout(SHUTDOWN);
    result.map_or_else(|failure| exit::report(&failure), |()| ExitCode::SUCCESS)
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Read(args) => read::run(*args).await,
        Command::Plan(args) => plan::run(*args).await,
        Command::Offsets(args) => offsets::run(args).await,
        Command::Topics(args) => topics::run(args).await,
        Command::Produce(args) => produce::run(args).await,
        Command::Bench(args) => Box::pin(bench::run(*args)).await,
        Command::Broker(args) => broker::run(args).await,
        Command::Completions(args) => completions::run(&args),
    }
}
