//! `completions`: prints the completion script of a shell.

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, CompletionsArgs},
    exit::Failure,
    output,
};

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kafka-direct", &mut script);
    output::block(&script)
}
