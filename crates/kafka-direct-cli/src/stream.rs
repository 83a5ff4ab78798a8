//! `stream`: follows topics in micro-batches, into a sink, with a checkpoint.

mod console;
mod decoding;
mod live;
mod report;
mod spec;
mod topic;

use std::{
    future::Future,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use kafka_direct::{
    Backpressure, Columns, DirectStream, Sink, StreamLimits, TopicPattern, Trigger,
    checkpoint::LocalCheckpoint,
    stream::{DirectStreamBuilder, StreamProgress, StreamState},
};

use indicatif::HumanCount;
use kafka_direct_sinks::{NullSink, StreamFolder};
use kafka_direct_values::{DeadLetters, DecodedSink, Decoding};

pub(crate) use self::spec::{CoalesceSpec, SinkSpec, TriggerSpec};
use self::{console::ConsoleSink, report::Report};
use crate::{
    cli::{BatchArgs, PoisonPolicy, StreamArgs},
    connect,
    exit::Failure,
    list::List,
    output, selection, signal,
};

/// Runs `stream`.
pub(crate) async fn run(args: StreamArgs) -> Result<(), Failure> {
    let selected = args.source.selection();
    selection::names_topics(&selected)?;
    let sink = &args.output.sink;
    if sink.needs_checkpoint() && args.output.checkpoint.is_none() {
        return Err(Failure::usage(format!(
            "--sink {sink} needs a checkpoint, so that a stream that is started again continues: pass --checkpoint DIR"
        )));
    }
    if let Some(checkpoint) = args.output.checkpoint.as_deref().filter(|path| is_url(path)) {
        return Err(Failure::usage(format!(
            "--checkpoint {} is a URL, and checkpoints are kept in local folders: name a folder",
            checkpoint.display()
        )));
    }
    if let (SinkSpec::Files { folder, .. }, Some(checkpoint)) = (sink, &args.output.checkpoint)
        && absolute(folder) == absolute(checkpoint)
    {
        return Err(Failure::usage("--sink and --checkpoint name the same folder; name two"));
    }
    if !sink.is_files() && !args.output.partition_by.is_empty() {
        return Err(Failure::usage(format!(
            "--partition-by lays out files, and --sink {sink} writes none; drop it, or pass --sink jsonl:DIR"
        )));
    }
    let prints_json = args.output.progress_json.as_deref() == Some(Path::new("-"));
    if prints_json && *sink == SinkSpec::Console {
        return Err(Failure::usage(
            "--progress-json - and the sink console both write to stdout; name a file, or another --sink",
        ));
    }
    let columns = columns(&args)?;
    if args.output.keep_partitions && !matches!(sink, SinkSpec::Kafka { .. }) {
        return Err(Failure::usage(format!(
            "--keep-partitions is for --sink kafka:TOPIC, and not for --sink {sink}; leave it out"
        )));
    }
    let writes_topic = matches!(sink, SinkSpec::Kafka { .. });
    if writes_topic && args.decoding.on_poison == PoisonPolicy::Null {
        return Err(Failure::usage(
            "--on-poison null would write tombstones into the topic; use skip or dead-letter:TOPIC",
        ));
    }
    if let (SinkSpec::Kafka { topic }, PoisonPolicy::DeadLetter { topic: dead }) =
        (sink, &args.decoding.on_poison)
        && topic == dead
    {
        return Err(Failure::usage(format!(
            "--sink and --on-poison name the same topic `{topic}`; name two"
        )));
    }
    let letters = match &args.decoding.on_poison {
        PoisonPolicy::DeadLetter { topic } => Some(topic::open_dead_letters(&args, topic).await?),
        _ => None,
    };
    let shared = letters.clone().map(|letters| Arc::new(letters) as Arc<dyn DeadLetters>);
    let decoding = decoding::decoding(&args.decoding, columns, shared)?;
    let ended = into_sink(&args, columns, decoding).await;
    if let Some(letters) = letters {
        topic::report(letters.altered_headers());
    }
    ended
}

/// Runs the stream into the sink of the flags.
async fn into_sink(args: &StreamArgs, columns: Columns, decoding: Decoding) -> Result<(), Failure> {
    let sink = &args.output.sink;
    match sink {
        SinkSpec::Null => Box::pin(into(args, decoding, || Ok(NullSink::new()))).await,
        SinkSpec::Console => {
            let schema = decoding.schema();
            Box::pin(into(args, decoding, || Ok(ConsoleSink::new(columns, &schema)))).await
        }
        SinkSpec::Files { format, folder } => {
            let mut folder = StreamFolder::builder(folder, *format)
                .columns(columns)
                .schema(decoding.schema())
                .partition_by(List::flat(&args.output.partition_by));
            if args.output.append {
                folder = folder.append();
            }
            Box::pin(into(args, decoding, || Ok(folder.build()?))).await
        }
        SinkSpec::Kafka { topic } => {
            let sink = topic::open(args, topic).await?;
            let ended = Box::pin(into(args, decoding, || Ok(sink.clone()))).await;
            topic::report(sink.altered_headers());
            ended
        }
    }
}

fn columns(args: &StreamArgs) -> Result<Columns, Failure> {
    if args.output.columns.is_empty() {
        return Ok(args.output.sink.default_columns());
    }
    let named = List::flat(&args.output.columns).into_iter().collect();
    args.output.sink.columns(named).map_err(Failure::usage)
}

/// Runs the stream into a sink that gets decoded batches, until it ends or a signal stops it.
async fn into<S: Sink>(
    args: &StreamArgs,
    decoding: Decoding,
    sink: impl FnOnce() -> Result<S, Failure>,
) -> Result<(), Failure> {
    let read_columns = decoding.read_columns();
    let sink = Arc::new(DecodedSink::new(sink()?, decoding));
    let cluster = connect::connect(&args.connection).await?;
    let report = Arc::new(Report::open(&args.output)?);
    let shown = Arc::clone(&report);
    let builder = builder(args, read_columns, DirectStream::builder(&cluster))?;
    let stream = builder.on_batch(move |batch| shown.batch(batch)).build().await?;
    if args.source.from.is_some() && stream.log().positions().next().is_some() {
        output::note(
            "the checkpoint has positions: --from is used only for topics that it does not have",
        );
    }
    let unfollowed = unfollowed(args, &stream)?;
    if !unfollowed.is_empty() {
        output::note(&format!(
            "the checkpoint has positions of topics that this stream does not follow: {}",
            unfollowed.join(", ")
        ));
    }
    let handle = stream.handle();
    report.watch(handle.progress());
    signal::allow_cleanup(args.batches.shutdown_timeout);
    let failed = Arc::clone(&report);
    let stopped = async {
        tokio::select! {
            _ = signal::stopped() => {}
            // Nobody reads the reports any more, or they cannot be kept: the stream would go on unseen.
            () = failed.failed() => {}
        }
        let is_running = handle.progress().borrow().state == StreamState::Running;
        handle.stop();
        if is_running {
            output::note("stopping after the batch in hand; a second signal stops at once");
            tokio::select! {
                _ = signal::stopped() => {}
                () = tokio::time::sleep(args.batches.shutdown_timeout) => {}
            }
            output::note("the batch in hand is not done; it runs again at the next start");
        }
        std::future::pending::<()>().await;
    };
    let ended = until_stopped(stream.run(sink), stopped).await;
    report.end();
    let progress = ended?;
    if !args.output.quiet {
        let (batches, records) = (progress.batches, HumanCount(progress.records));
        let batches =
            if batches == 1 { "1 batch".to_owned() } else { format!("{batches} batches") };
        let records = if progress.records == 1 {
            "1 record".to_owned()
        } else {
            format!("{records} records")
        };
        output::note(&format!("{batches}, {records}{}", report.poison()));
    }
    report.failure()
}

/// Topics that the checkpoint has and the flags do not select: they may be left out by mistake.
fn unfollowed(args: &StreamArgs, stream: &DirectStream) -> Result<Vec<String>, Failure> {
    let source = args.source.selection();
    let pattern = source.topic_pattern.as_deref().map(TopicPattern::new).transpose()?;
    let named = source.topics();
    let is_followed = |topic: &str| match &pattern {
        Some(pattern) => pattern.is_match(topic),
        None => named.iter().any(|name| name == topic),
    };
    let mut topics: Vec<String> = stream
        .log()
        .positions()
        .map(|position| position.topic_partition.topic())
        .filter(|topic| !is_followed(topic))
        .map(str::to_owned)
        .collect();
    topics.dedup();
    Ok(topics)
}

async fn until_stopped(
    run: impl Future<Output = Result<StreamProgress, kafka_direct::Error>>,
    stopped: impl Future<Output = ()>,
) -> Result<StreamProgress, Failure> {
    let run = std::pin::pin!(run);
    tokio::select! {
        ended = run => Ok(ended?),
        // It never ends: it only asks the stream to stop.
        () = stopped => Err(Failure::unmet("the stream was stopped")),
    }
}

fn builder(
    args: &StreamArgs,
    read_columns: Columns,
    mut builder: DirectStreamBuilder,
) -> Result<DirectStreamBuilder, Failure> {
    let source = args.source.selection();
    builder = match &source.topic_pattern {
        Some(pattern) => builder.pattern(pattern),
        None => builder.topics(source.topics()),
    };
    if let Some(spec) = &source.from {
        builder = builder.start(selection::starts(spec, &source)?);
    }
    if let Some(list) = &source.partitions {
        builder = builder.partitions(list.indices());
    }
    if let Some(isolation) = source.isolation {
        builder = builder.isolation(isolation.into());
    }
    if let Some(path) = &args.output.checkpoint {
        builder = builder.checkpoint(LocalCheckpoint::at(path));
    }
    builder = builder.sink_name(sink_name(&args.output.sink));
    if let Some(group) = &args.output.publish_to_group {
        builder = builder.publish_to_group(group);
    }
    if args.output.allow_other_sink {
        builder = builder.allow_other_sink();
    }
    if let Some(limit) = args.batches.sink_timeout {
        builder = builder.sink_timeout(limit);
    }
    let decode = connect::decode_options(&args.connection)?.columns(read_columns);
    if let SinkSpec::Files { format, .. } = &args.output.sink
        && let Some(files) = format.files_at_once()
    {
        // A writer of many folders has as many files open as this by itself.
        let is_laid_out = !args.output.partition_by.is_empty();
        builder = builder.concurrency(if is_laid_out { NonZeroUsize::MIN } else { files });
    }
    if let Some(writers) = coalesce(args) {
        builder = builder.coalesce(writers);
    }
    if let SinkSpec::Kafka { topic } = &args.output.sink {
        builder = builder.exclude_topics([topic.clone()]).concurrency(topic::WRITERS_AT_ONCE);
    }
    if let PoisonPolicy::DeadLetter { topic } = &args.decoding.on_poison {
        builder = builder.exclude_topics([topic.clone()]);
    }
    let is_files = args.output.sink.is_files();
    Ok(builder
        .on_data_loss(source.on_data_loss.into())
        .trigger(args.batches.trigger.map_or_else(|| default_trigger(is_files), |t| t.0))
        .limits(limits(&args.batches))
        .decode(decode))
}

/// How many writers share the ranges of a batch; `None` for a writer per range.
///
/// Ranges are split to be written at the same time, and pieces of a partition are not if they share a
/// file.
fn coalesce(args: &StreamArgs) -> Option<NonZeroUsize> {
    match args.output.coalesce {
        Some(CoalesceSpec(writers)) => writers,
        None if args.output.sink.is_files() && args.batches.min_partitions.is_none() => {
            Some(NonZeroUsize::MIN)
        }
        None => None,
    }
}

/// The sink as the checkpoint keeps it. The format of files may change.
fn sink_name(sink: &SinkSpec) -> String {
    match sink {
        SinkSpec::Files { folder, .. } => format!("folder {}", absolute(folder).display()),
        other => other.to_string(),
    }
}

/// Whether a path is meant for something else than a local folder.
pub(crate) fn is_url(path: &Path) -> bool {
    path.to_str().and_then(|text| text.split_once("://")).is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn absolute(folder: &Path) -> PathBuf {
    // A path that cannot be made absolute, because the working folder is gone, stays as it is.
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    path.components().collect()
}

/// Many small files cost every reader, so that files are written less often.
const fn default_trigger(is_files: bool) -> Trigger {
    if is_files {
        Trigger::Interval(std::time::Duration::from_secs(10))
    } else {
        Trigger::Immediate
    }
}

fn limits(args: &BatchArgs) -> StreamLimits {
    let mut limits = StreamLimits::new()
        .max_records_per_batch(args.max_records_per_batch)
        .max_records_per_second_per_partition(args.max_records_per_second_per_partition)
        .min_records_per_batch(args.min_records_per_batch)
        .min_partitions(args.min_partitions)
        .backpressure(args.backpressure.map(|_| Backpressure::pid()));
    if let Some(delay) = args.max_delay {
        limits = limits.max_delay(delay);
    }
    limits
}
