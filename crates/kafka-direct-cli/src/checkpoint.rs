//! `checkpoint`: what a stream's checkpoint says, whether it is intact, and rewinding; without a broker.

use std::{path::Path, sync::Arc};

use chrono::{DateTime, SecondsFormat, Utc};
use kafka_direct::{
    EndPosition, Reset,
    checkpoint::{BatchId, CheckpointState, LocalCheckpoint, OffsetsEntry, StreamLog},
};
use serde::Serialize;

use crate::{
    cli::{CheckpointArgs, CheckpointCommand, RewindArgs, ShowArgs, VerifyCheckpointArgs},
    exit::Failure,
    output::{self, Columns},
};

/// How many of the last batches are shown.
const SHOWN_BATCHES: usize = 10;

/// A checkpoint as JSON.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    stream_id: String,
    cluster: Option<&'a str>,
    sink: Option<&'a str>,
    /// The last batch that is done, and when.
    batch: Option<u64>,
    time: Option<String>,
    /// The batch that runs again at the next start.
    pending: Option<u64>,
    positions: Vec<EndPosition>,
    /// The last batches that are done, the newest first.
    batches: Vec<ShownBatch>,
}

/// A batch that is done.
#[derive(Debug, Serialize)]
struct ShownBatch {
    batch: u64,
    time: Option<String>,
    /// How many offsets it planned.
    span: i64,
    /// Offsets that planning and reading skipped.
    skipped: i64,
    /// The batch that a rewind went back to.
    rewind_to: Option<u64>,
}

/// The last batches of the stream, the newest first. Those that a driver purges meanwhile are left out.
async fn last_batches(state: &CheckpointState, folder: &Path) -> Result<Vec<ShownBatch>, Failure> {
    let mut shown = Vec::new();
    for batch in state.batches.iter().rev() {
        let store = Arc::new(LocalCheckpoint::at(folder));
        let (Some(offsets), Some(commit)) = state.read_batch(store, *batch).await? else {
            continue;
        };
        let resets = offsets.plan.resets().iter().chain(&commit.resets);
        shown.push(ShownBatch {
            batch: batch.get(),
            time: time(commit.time_millis),
            span: offsets.plan.span(),
            skipped: resets.map(Reset::skipped).fold(0, i64::saturating_add),
            rewind_to: commit.rewind.map(|rewind| rewind.to_batch.get()),
        });
        if shown.len() >= SHOWN_BATCHES {
            break;
        }
    }
    Ok(shown)
}

fn time(millis: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(millis)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Runs `checkpoint`.
pub(crate) async fn run(args: CheckpointArgs) -> Result<(), Failure> {
    match args.command {
        CheckpointCommand::Show(args) => show(&args).await,
        CheckpointCommand::Verify(args) => verify(&args).await,
        CheckpointCommand::Rewind(args) => rewind(&args).await,
    }
}

/// Reads the checkpoint in `folder`.
pub(crate) async fn read(folder: &Path) -> Result<CheckpointState, Failure> {
    let none = || Failure::usage(format!("{} has no checkpoint of a stream", folder.display()));
    if !folder.is_dir() {
        return Err(none());
    }
    CheckpointState::read(Arc::new(LocalCheckpoint::at(folder))).await?.ok_or_else(none)
}

async fn show(args: &ShowArgs) -> Result<(), Failure> {
    let state = read(&args.folder).await?;
    let newest = state.pending.as_ref();
    let newest = newest.or_else(|| state.last.as_ref().map(|batch| &batch.offsets));
    let time = state.last.as_ref().and_then(|last| time(last.commit.time_millis));
    let shown = Shown {
        stream_id: state.meta.stream_id.to_string(),
        cluster: state.meta.cluster.as_deref(),
        sink: newest.and_then(|entry: &OffsetsEntry| entry.sink.as_deref()),
        batch: state.last.as_ref().map(|last| last.batch().get()),
        time,
        pending: state.pending.as_ref().map(|pending| pending.batch.get()),
        positions: state.positions(),
        batches: last_batches(&state, &args.folder).await?,
    };
    if args.json {
        return output::json(&shown);
    }
    let dash = || "-".to_owned();
    let number = |number: Option<u64>| number.map_or_else(dash, |number| number.to_string());
    let mut text = format!(
        "stream      {}\ncluster     {}\nsink        {}\nlast batch  {}",
        shown.stream_id,
        shown.cluster.unwrap_or("-"),
        shown.sink.unwrap_or("-"),
        number(shown.batch),
    );
    if let Some(time) = &shown.time {
        text.push_str(&format!(", done {time}"));
    }
    if let Some(pending) = shown.pending {
        text.push_str(&format!(
            "\nin hand     batch {pending}; if no stream runs, it runs again at the next start"
        ));
    }
    text.push_str("\n\n");
    let mut table = Columns::new(&["topic", "partition", "continues at"]);
    for EndPosition { topic_partition: tp, offset, .. } in &shown.positions {
        table.row([tp.topic().to_owned(), tp.partition().to_string(), offset.to_string()]);
    }
    text.push_str(&table.finish());
    if !shown.batches.is_empty() {
        text.push('\n');
        let mut table = Columns::new(&["batch", "done", "offsets", "skipped", ""]);
        for one in &shown.batches {
            let rewind = one.rewind_to.map(|to| format!("rewind to the end of batch {to}"));
            table.row([
                one.batch.to_string(),
                one.time.clone().unwrap_or_else(dash),
                one.span.to_string(),
                one.skipped.to_string(),
                rewind.unwrap_or_default(),
            ]);
        }
        text.push_str(&table.finish());
    }
    output::data(&text)
}

async fn verify(args: &VerifyCheckpointArgs) -> Result<(), Failure> {
    let state = read(&args.folder).await?;
    let batches = state.verify(Arc::new(LocalCheckpoint::at(&args.folder))).await?;
    output::data(&format!("{batches} batches are intact and continue each other\n"))
}

async fn rewind(args: &RewindArgs) -> Result<(), Failure> {
    // Opening would create a checkpoint.
    let before = read(&args.folder).await?;
    // The sink may have committed the batch in hand, too.
    let pending = before.pending.map(|pending| pending.batch);
    if let Some(pending) = pending {
        return Err(Failure::usage(format!(
            "batch {pending} is not done, and its sink may show it later: start the stream with --trigger available-now, and rewind then"
        )));
    }
    let last = pending.or_else(|| before.last.map(|last| last.batch())).map(BatchId::get);
    if last == Some(args.to_batch) {
        return Err(Failure::usage(format!(
            "batch {} is the last one: there is nothing to rewind; `checkpoint show` lists the batches",
            args.to_batch
        )));
    }
    let store = Arc::new(LocalCheckpoint::at(&args.folder));
    let now = Utc::now().timestamp_millis();
    let (mut log, _) = StreamLog::open(store, None, now).await?;
    let batch = args.to_batch;
    let entry = log.rewind(BatchId::new(batch), now).await?;
    output::note(&format!(
        "batch {} is the rewind: the stream continues where batch {batch} ended",
        entry.batch
    ));
    if let Some(last) = last.filter(|last| *last > batch) {
        let first = batch.saturating_add(1);
        output::note(&format!(
            "the sink may have the records of batches {first} to {last}: remove them, or they appear twice; the names of their files begin with `batch-` and the number in 20 digits"
        ));
    }
    Ok(())
}
