//! Reports on a running stream: a live line on a terminal, else one line per batch; JSON if asked for.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use kafka_direct::stream::{BatchProgress, StreamProgress, StreamState};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::SinkSpec;
use crate::{cli::StreamOutputArgs, exit::Failure, output};

/// Interval between redraws of the live line.
const TICK: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Report {
    json: Option<Json>,
    /// The live line; hidden unless stderr is a terminal.
    line: Option<ProgressBar>,
    quiet: bool,
    began: Instant,
    records: Mutex<u64>,
    /// The first failure to write the JSON.
    failure: Mutex<Option<Failure>>,
}

#[derive(Debug)]
enum Json {
    Stdout,
    File(Mutex<File>),
}

impl Report {
    pub(super) fn open(args: &StreamOutputArgs) -> Result<Self, Failure> {
        let json = match &args.progress_json {
            None => None,
            Some(path) if path == Path::new("-") => Some(Json::Stdout),
            Some(path) => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                let failed = |error| Failure::io(format!("opening {}", path.display()), error);
                Some(Json::File(Mutex::new(file.map_err(failed)?)))
            }
        };
        // A table on the same terminal would be mixed with the live line.
        let is_shown = args.sink == SinkSpec::Console && output::stdout_is_terminal();
        let draws = !args.quiet && !is_shown && output::stderr_is_terminal();
        let line = draws.then(|| {
            let line = output::bars().add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                line.set_style(style);
            }
            line.set_message("waiting for records");
            line.enable_steady_tick(TICK);
            line
        });
        Ok(Self {
            json,
            line,
            quiet: args.quiet,
            began: Instant::now(),
            records: Mutex::new(0),
            failure: Mutex::new(None),
        })
    }

    /// Reports a batch that is done.
    pub(super) fn batch(&self, batch: &BatchProgress) {
        if let Some(json) = &self.json
            && let Err(failure) = json.write(batch)
        {
            self.failure.lock().get_or_insert(failure);
        }
        let total = {
            let mut records = self.records.lock();
            *records = records.saturating_add(batch.records);
            *records
        };
        let text = sentence(batch);
        match &self.line {
            Some(line) => {
                let seconds = self.began.elapsed().as_secs_f64().max(0.001);
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a rate for people"
                )]
                let rate = (total as f64 / seconds) as u64;
                let (total, rate) = (HumanCount(total), HumanCount(rate));
                line.set_message(format!("{text}; {total} records in all, {rate}/s"));
            }
            None if self.quiet || matches!(self.json, Some(Json::Stdout)) => {}
            None => output::note(&text),
        }
    }

    /// Shows on the live line when the stream waits for an unavailable cluster or is paused.
    pub(super) fn watch(&self, mut progress: watch::Receiver<StreamProgress>) {
        let Some(line) = self.line.clone() else { return };
        drop(tokio::spawn(async move {
            while progress.changed().await.is_ok() {
                if let StreamState::Unavailable(reason) = &progress.borrow_and_update().state {
                    line.set_message(format!("waiting for the cluster: {reason}"));
                }
            }
        }));
    }

    /// Removes the live line.
    pub(super) fn end(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }

    /// The first failure to write the JSON, if there was one.
    pub(super) fn failure(&self) -> Result<(), Failure> {
        self.failure.lock().take().map_or(Ok(()), Err)
    }
}

impl Json {
    fn write(&self, batch: &BatchProgress) -> Result<(), Failure> {
        let mut text = serde_json::to_string(batch)
            .map_err(|error| Failure::io("writing progress", std::io::Error::other(error)))?;
        text.push('\n');
        match self {
            Self::Stdout => output::data(&text),
            Self::File(file) => file
                .lock()
                .write_all(text.as_bytes())
                .map_err(|error| Failure::io("writing progress", error)),
        }
    }
}

fn sentence(batch: &BatchProgress) -> String {
    let BatchProgress { batch: number, records, lag, planning, reading, commit, .. } = batch;
    format!(
        "batch {number}: {} records, {} to read; plan {planning:.0?}, read {reading:.0?}, commit {commit:.0?}",
        HumanCount(*records),
        HumanCount(*lag)
    )
}
