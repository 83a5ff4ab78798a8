//! Flags of `checkpoint`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Subcommands of `checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    #[command(subcommand)]
    pub(crate) command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// Show the stream of a checkpoint, its last batches, and where it continues; changes nothing
    Show(ShowArgs),
}

/// Flags of `checkpoint show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Folder of the checkpoint, as in `stream --checkpoint DIR`
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
