//! Writes the log lines of the library to stderr, as text or JSON.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

use crate::{
    cli::{LogFormat, LogLevel, LoggingArgs},
    output,
};

/// Starts logging; later calls have no effect.
pub(crate) fn start(args: &LoggingArgs) {
    let level = match args.log_level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let lines = fmt().with_max_level(level).with_writer(|| output::LogLines).with_ansi(false);
    drop(match args.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    });
}
