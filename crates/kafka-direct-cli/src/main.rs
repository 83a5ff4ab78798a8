//! The command `kafka-direct`: exact offset ranges of Kafka topics from a shell.
//!
//! **Promises:** stdout carries data and nothing else; a run that was cut short never exits 0; each
//! failure exits with the code of its kind (see [`exit`]); nothing but `bench --generate` and
//! `produce` writes to a broker that was not started here.
//!
//! **Does not know:** the wire protocol, the form of a Kafka batch, how ranges are planned.

mod atomic_file;
mod bench;
mod broker;
mod cli;
mod completions;
mod connect;
mod demo;
mod exit;
mod format;
mod job;
mod logging;
mod offsets;
mod output;
mod plan;
mod produce;
mod progress;
mod read;
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
