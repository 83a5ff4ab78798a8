//! Reports on a running stream: a live view on a terminal, else one line per batch; JSON if asked for.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use kafka_direct::stream::{BatchProgress, StreamProgress};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, interval},
};

use super::{SinkSpec, live::Live};
use crate::{cli::StreamOutputArgs, exit::Failure, output};

/// Interval between redraws of the live view.
const TICK: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Report {
    json: Option<Json>,
    /// The live view, if stderr is a terminal.
    view: Option<View>,
    quiet: bool,
    /// Records that could not be decoded.
    poison: AtomicU64,
    has_failed: Notify,
    /// The first failure to write the JSON.
    failure: Mutex<Option<Failure>>,
}

/// The live view, and where it is drawn.
#[derive(Debug, Clone)]
struct View {
    live: Arc<Mutex<Live>>,
    drawn: ProgressBar,
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
        // A table or JSON on the same terminal would be mixed with the live view.
        let is_data = args.sink == SinkSpec::Console || matches!(json, Some(Json::Stdout));
        let is_shown = is_data && output::stdout_is_terminal();
        let draws = !args.quiet && !is_shown && output::stderr_is_terminal();
        let view = draws.then(View::new);
        Ok(Self {
            json,
            view,
            quiet: args.quiet,
            poison: AtomicU64::new(0),
            has_failed: Notify::new(),
            failure: Mutex::new(None),
        })
    }

    /// Reports a batch that is done.
    pub(super) fn batch(&self, batch: &BatchProgress) {
        if let Some(json) = &self.json
            && let Err(failure) = json.write(batch)
        {
            self.failure.lock().get_or_insert(failure);
            self.has_failed.notify_one();
        }
        self.poison.fetch_add(batch.poison, Ordering::Relaxed);
        match &self.view {
            Some(view) => view.live.lock().batch(batch, Instant::now()),
            None if self.quiet || matches!(self.json, Some(Json::Stdout)) => {}
            None => output::note(&sentence(batch)),
        }
    }

    /// Waits until the JSON could not be written.
    pub(super) async fn failed(&self) {
        self.has_failed.notified().await;
    }

    /// Draws the live view until [`Report::end`].
    pub(super) fn watch(&self, mut progress: watch::Receiver<StreamProgress>) {
        let Some(view) = self.view.clone() else { return };
        drop(tokio::spawn(async move {
            let mut tick = interval(TICK);
            while progress.has_changed().is_ok() && !view.drawn.is_finished() {
                tick.tick().await;
                let state = progress.borrow_and_update().state.clone();
                view.live.lock().state(state);
                view.draw();
            }
        }));
    }

    /// Removes the live view.
    pub(super) fn end(&self) {
        if let Some(view) = &self.view {
            view.drawn.finish_and_clear();
        }
    }

    /// How many records could not be decoded, as the end of a sentence; empty if there are none.
    pub(super) fn poison(&self) -> String {
        undecodable(self.poison.load(Ordering::Relaxed))
    }

    /// The first failure to write the JSON, if there was one.
    pub(super) fn failure(&self) -> Result<(), Failure> {
        self.failure.lock().take().map_or(Ok(()), Err)
    }
}

impl View {
    fn new() -> Self {
        let drawn = output::bars().add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            drawn.set_style(style);
        }
        let view = Self { live: Arc::new(Mutex::new(Live::new(Instant::now()))), drawn };
        view.draw();
        view
    }

    fn draw(&self) {
        let width = output::stderr_width().map_or(80, usize::from);
        let lines = self.live.lock().lines(Instant::now(), width);
        self.drawn.set_message(lines.join("\n"));
        self.drawn.tick();
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
    let BatchProgress { batch: number, records, poison, lag, planning, reading, commit, .. } =
        batch;
    format!(
        "batch {number}: {} records{}, {} to read; plan {planning:.0?}, read {reading:.0?}, commit {commit:.0?}",
        HumanCount(*records),
        undecodable(*poison),
        HumanCount(*lag)
    )
}

fn undecodable(records: u64) -> String {
    if records == 0 {
        String::new()
    } else {
        format!(", {} of them undecodable", HumanCount(records))
    }
}
