//! `bench`: measures how fast a cluster or the embedded broker is read, and what that costs.
//!
//! Contract: `bench` only reads a cluster, unless `--generate` creates a new topic. The offsets are
//! planned once, and every round reads the same offsets. The figures of finished rounds are shown
//! even if a later round fails or is interrupted.

mod figures;
mod generate;
mod limit;
mod measure;
mod plots;
mod report;
mod results;
mod stop;
mod summary;
mod table;
mod usage;

use std::{num::NonZeroUsize, sync::OnceLock, time::Duration};

use kafka_direct_broker::Broker;
use serde::Serialize;
use tokio::time::Instant;

use self::{
    figures::{Figures, Round},
    generate::Topic,
    measure::Reading,
    results::Files,
    stop::Bounds,
};
use crate::{
    cli::{BenchArgs, ConnectionArgs},
    connect,
    exit::Failure,
    list::List,
    output,
    remarks::note_plan,
    selection, signal,
};

/// Name of the topic generated on the embedded broker if no topic is given.
const TOPIC: &str = "bench";
/// Limit on the bytes that generated records take in the memory of the embedded broker.
const MAX_EMBEDDED_BYTES: u64 = 4 << 30;
/// Lower limit of the default memory budget with `--max-mb-per-second`.
///
/// The default is one second of the rate, at most 48 MiB, because prefetch up to the budget is not
/// limited.
const MIN_BUDGET_BYTES: usize = 4 << 20;

/// Runs `bench`.
pub(crate) async fn run(args: BenchArgs) -> Result<(), Failure> {
    let mut bench = Box::pin(Bench::prepare(args)).await?;
    let outcome = tokio::select! {
        biased;
        signal = signal::stopped() => Err(Failure::Signalled { signal }),
        done = bench.measure() => done,
    };
    output::clear_progress();
    let shown = bench.show(outcome.is_ok());
    let done = outcome.and(shown);
    let Some(topic) = bench.take_topic_to_delete() else { return done };
    match (done, topic.delete().await) {
        (Ok(()), deleted) => deleted,
        (failed, Ok(())) => failed,
        (failed, Err(error)) => {
            output::error(&format!("error: the generated topic was not deleted: {error}"));
            failed
        }
    }
}

/// One run of `bench` and its measurements so far.
#[derive(Debug)]
struct Bench {
    args: BenchArgs,
    connection: ConnectionArgs,
    /// Keeps the embedded broker alive.
    embedded: Option<Broker>,
    generated: Option<Topic>,
    files: Files,
    /// What is read; `None` before planning.
    subject: Option<Subject>,
    rounds: Vec<Round>,
}

/// What every round reads, as the output shows it.
#[derive(Debug, Clone, Serialize)]
struct Subject {
    topics: Vec<String>,
    /// Number of partitions of the topics that are selected, also those with nothing to read.
    partitions: usize,
    /// Number of planned ranges: one per partition, unless they are split.
    ranges: usize,
    /// Number of offsets that the ranges cover.
    span: i64,
    columns: Vec<&'static str>,
    /// Bootstrap addresses.
    brokers: Option<String>,
    /// Id of the cluster, if its brokers report one.
    cluster: Option<String>,
    isolation: String,
    /// Maximum number of ranges that are read at the same time; `None` for the default, which is one
    /// per partition and at least two per core.
    concurrency: Option<NonZeroUsize>,
    warmup_rounds: u32,
}

/// The document that `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'a> {
    client: &'static str,
    version: &'static str,
    /// Whether the broker ran in this process; CPU time and memory then include the broker.
    embedded_broker: bool,
    /// The command line, quoted for a shell.
    command: &'a str,
    #[serde(flatten)]
    subject: &'a Subject,
    cores: usize,
    generated_records: Option<u64>,
    codec: Option<String>,
    /// Codecs of the Kafka batches that were read; `none` is a batch that is not compressed.
    codecs: Vec<&'static str>,
    /// Whether all requested rounds are finished.
    complete: bool,
    rounds: &'a [Round],
    median: Option<Figures>,
}

impl Bench {
    /// Checks the flags, and starts the broker and creates the topic if they request it.
    async fn prepare(mut args: BenchArgs) -> Result<Self, Failure> {
        let files = Files::create(&args)?;
        let mut connection = connect::merged(&args.connection)?;
        let embedded = embedded(&mut args, &mut connection).await?;
        selection::names_topics(&args.selection)?;
        if let Some(mb) = args.rounds.max_mb_per_second
            && connection.memory_budget.is_none()
        {
            let second = usize::try_from(mb.get().saturating_mul(1_000_000)).unwrap_or(usize::MAX);
            connection.memory_budget = Some(second.clamp(MIN_BUDGET_BYTES, 48 << 20));
        }
        let (generated, subject, rounds) = (None, None, Vec::new());
        let mut bench = Self { args, connection, embedded, generated, files, subject, rounds };
        if bench.args.generate.generate.is_some() {
            bench.generated = Some(bench.create().await?);
        }
        Ok(bench)
    }

    async fn create(&self) -> Result<Topic, Failure> {
        let selection = &self.args.selection;
        let topics = selection.topics();
        let [name] = topics.as_slice() else {
            return Err(Failure::usage("--generate writes one topic; pass one name with --topic"));
        };
        let partitions = self.args.generate.topic_partitions;
        let topic = Topic::create(&self.connection, name, partitions).await?;
        if self.args.generate.delete_after && self.embedded.is_none() {
            signal::allow_cleanup(signal::CLEANUP_TIMEOUT);
        }
        Ok(topic)
    }

    /// Fills the generated topic, plans the ranges and reads all rounds.
    async fn measure(&mut self) -> Result<(), Failure> {
        if let Some(topic) = &self.generated {
            self.print_generating()?;
            topic.fill(&self.args.generate).await?;
            usage::reset_peak();
        }
        let reading = self.plan().await?;
        self.print_subject(&reading.rdd)?;
        let rounds = &self.args.rounds;
        for round in 1..=rounds.warmup {
            reading.round(&format!("warm-up {round} of {}", rounds.warmup)).await?;
        }
        for round in 1..=rounds.rounds.get() {
            let measured = reading.round(&format!("round {round} of {}", rounds.rounds)).await?;
            self.rounds.push(Round::new(round, measured));
        }
        Ok(())
    }

    async fn plan(&mut self) -> Result<Reading, Failure> {
        let Self { args, connection, .. } = self;
        let cluster = connect::connect(connection).await?;
        let decode =
            connect::decode_options(connection)?.columns(args.rounds.columns()).clock(since_start);
        let mut builder = selection::builder(&cluster, &args.selection)?.decode(decode).attempts(1);
        if let Some(concurrency) = args.rounds.concurrency {
            builder = builder.concurrency(concurrency);
        }
        let rdd = builder.build().await?;
        note_plan(rdd.plan());
        let mut topics: Vec<String> =
            rdd.partitions().iter().map(|p| p.topic_partition().topic().to_owned()).collect();
        topics.dedup();
        self.subject = Some(Subject {
            topics,
            ranges: rdd.partitions().len(),
            span: rdd.span(),
            columns: args.rounds.columns().iter().map(kafka_direct::Column::as_str).collect(),
            partitions: rdd.plan().partitions().len(),
            brokers: connection.brokers.clone(),
            cluster: cluster.id(),
            isolation: rdd.plan().isolation().to_string(),
            concurrency: args.rounds.concurrency,
            warmup_rounds: args.rounds.warmup,
        });
        let everything = args.rounds.all || args.selection.to.is_some();
        let bounds = (!everything).then_some(Bounds::STANDARD);
        Ok(Reading { cluster, rdd, bounds, max_mb_per_second: args.rounds.max_mb_per_second })
    }

    /// Takes the generated topic out, if it is to be deleted.
    fn take_topic_to_delete(&mut self) -> Option<Topic> {
        let deleted = self.args.generate.delete_after && self.embedded.is_none();
        self.generated.take_if(|_| deleted)
    }
}

/// Starts the embedded broker if a topic is generated and no broker is configured.
async fn embedded(
    args: &mut BenchArgs,
    connection: &mut ConnectionArgs,
) -> Result<Option<Broker>, Failure> {
    let names_nothing = selection::names_topics(&args.selection).is_err();
    let Some(records) = args.generate.generate else {
        if names_nothing && connection.brokers.is_none() {
            return Err(Failure::usage(
                "no topic is selected; pass `-b HOST:PORT -t TOPIC` to read your topic, or `--generate 1000000` to write and read one on the embedded broker",
            ));
        }
        return Ok(None);
    };
    if connection.brokers.is_some() {
        return Ok(None);
    }
    let size = u64::try_from(args.generate.size).unwrap_or(u64::MAX);
    if records.get().saturating_mul(size.saturating_add(64)) > MAX_EMBEDDED_BYTES {
        return Err(Failure::usage(format!(
            "--generate {records} with --size {size} exceeds 4 GiB, and the embedded broker keeps everything in memory; pass --brokers, or write less"
        )));
    }
    if names_nothing {
        args.selection.topics.push(List::one(TOPIC.to_owned()));
    }
    // With its default cap the broker would trim records before they are read.
    let broker = Broker::builder().partition_cap_bytes(usize::MAX).start().await;
    let broker = broker.map_err(|error| Failure::Unmet {
        message: format!("the embedded broker failed: {error}"),
        kind: error.kind(),
    })?;
    connection.brokers = Some(broker.bootstrap());
    Ok(Some(broker))
}

/// Clock for the decompression time: the time since its first call.
fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
