//! Flags of `stream` that decode keys and values.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How keys and values are decoded, and what happens to records that cannot be.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Decoding")]
pub(crate) struct DecodingArgs {
    /// What values are. `utf8` and `json` are checked in every record
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Encoding::Binary)]
    pub(crate) value_format: Encoding,
    /// What keys are
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Encoding::Binary)]
    pub(crate) key_format: Encoding,
    /// Decode JSON values into these fields: a JSON file of names and types, see below; needs
    /// `--value-format json`
    #[arg(long, value_name = "FILE")]
    pub(crate) value_schema: Option<PathBuf>,
    /// What to do with a record whose key or value cannot be decoded
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = PoisonPolicy::Fail)]
    pub(crate) on_poison: PoisonPolicy,
}

/// What the bytes of a key or value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// Bytes, which stay as they are
    Binary,
    /// Text in UTF-8
    Utf8,
    /// JSON
    Json,
}

/// What happens to a record that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoisonPolicy {
    /// End the stream with exit code 5; the message names the record
    Fail,
    /// Leave the record out, count it and warn
    Skip,
    /// Make the key or value null, put the reason into the column `_error`, count it and warn
    Null,
}
