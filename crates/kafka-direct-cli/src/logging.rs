//! Writes the log lines of the library to stderr, as text or JSON.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    cli::{LogFormat, LogLevel, LoggingArgs},
    output,
};

/// The client that creates, deletes and writes topics.
const REPORTED: &str = "rskafka";

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
    // It logs each error that it returns or tries again after, several times a second while a broker is
    // unavailable. The command reports them.
    let reported = if level < LevelFilter::INFO { LevelFilter::OFF } else { level };
    let filter = Targets::new().with_default(level).with_target(REPORTED, reported);
    drop(match args.log_format {
        LogFormat::Text => lines.finish().with(filter).try_init(),
        LogFormat::Json => lines.json().finish().with(filter).try_init(),
    });
}
