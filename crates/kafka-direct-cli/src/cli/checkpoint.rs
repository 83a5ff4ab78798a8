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
    /// Verify that every retained batch continues the one before; changes nothing
    Verify(VerifyCheckpointArgs),
    /// Let the stream continue where an earlier batch ended. Stop the stream first
    Rewind(RewindArgs),
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

/// Flags of `checkpoint verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyCheckpointArgs {
    /// Folder of the checkpoint, as in `stream --checkpoint DIR`
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// Flags of `checkpoint rewind`.
#[derive(Debug, Args)]
pub(crate) struct RewindArgs {
    /// Folder of the checkpoint, as in `stream --checkpoint DIR`
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The last batch that stays; the stream reads again what came after it. The sink keeps its
    /// records: remove those of later batches, or they appear twice
    #[arg(long, value_name = "N")]
    pub(crate) to_batch: u64,
}
