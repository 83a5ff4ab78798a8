//! `produce`: writes lines of stdin as records to an existing topic.
//!
//! Contract: a metadata request that cannot create the topic comes first, because requests of the
//! producing client could create it. Lines of one partition are written in their order. A record
//! counts as written only after the broker confirmed it.

mod line;
mod stdin;

use std::{sync::Once, time::Duration};

use kafka_direct_sinks::kafka_topic::{
    Compression, Origin, Producer, ProducerBatches, ProducerConfig,
};
use tokio::time::Instant;

use self::line::LineForm;
use crate::{
    cli::{Codec, ConnectionArgs, ProduceArgs},
    connect,
    exit::Failure,
    output,
};

/// How long buffered records wait for another line before they are sent.
const LINGER: Duration = Duration::from_millis(50);
/// Bytes that are buffered or in flight, all partitions together.
pub(crate) const HELD_BYTES: usize = 16 << 20;
/// Default of `--retry-timeout` for the producing client.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Reports only once that headers are put in order.
static HEADER_ORDER: Once = Once::new();

/// Runs `produce`.
pub(crate) async fn run(args: ProduceArgs) -> Result<(), Failure> {
    let form = LineForm::new(&args)?;
    let connection = connect::merged(&args.connection)?;
    let config = config(&connection)?
        .retry_timeout(connection.retry_timeout.unwrap_or(RETRY_TIMEOUT))
        .compression(compression(args.compression));
    let producer = connect(&connection, &args.topic, config).await?;
    check(&args, producer.partitions())?;
    let mut batches = producer.batches(HELD_BYTES);
    let written = async {
        write_lines(&form, &args, &mut batches).await?;
        Ok(batches.finish().await?)
    };
    let written = match written.await {
        Ok(written) => written,
        Err(failure) => {
            // What was buffered is not sent; what was sent may be confirmed still.
            let written = batches.stop().await;
            output::note(&format!("{} to {} before", written_records(written), args.topic));
            return Err(if written > 0 { half_written(failure) } else { failure });
        }
    };
    output::note(&format!("{} to {}", written_records(written), args.topic));
    Ok(())
}

fn written_records(count: usize) -> String {
    format!("{count} {} written", if count == 1 { "record" } else { "records" })
}

/// A failure after which the same command must not run again, since a part of its input is written.
fn half_written(failure: Failure) -> Failure {
    match failure {
        Failure::Produce { target, source, .. } => Failure::HalfProduced { target, source },
        other => other,
    }
}

/// Reads stdin to its end and adds its lines to the batches.
async fn write_lines(
    form: &LineForm,
    args: &ProduceArgs,
    batches: &mut ProducerBatches,
) -> Result<(), Failure> {
    let mut lines = stdin::lines();
    let mut number: u64 = 0;
    // Since the first line that may still be buffered, so that lines that trickle in are not held back.
    let mut send_at = Instant::now() + LINGER;
    loop {
        let next = tokio::time::timeout_at(send_at, lines.recv());
        let Ok(next) = next.await else {
            batches.send_all().await?;
            // The buffers are empty until the next line.
            let Some(block) = lines.recv().await else { return Ok(()) };
            send_at = Instant::now() + LINGER;
            take(block?, &mut number, form, args, batches).await?;
            continue;
        };
        let Some(block) = next else { return Ok(()) };
        take(block?, &mut number, form, args, batches).await?;
        if Instant::now() >= send_at {
            batches.send_all().await?;
            send_at = Instant::now() + LINGER;
        }
    }
}

/// Returns the brokers, the name and the request timeout of the flags for a producer; `connection` is
/// already merged with the config file.
pub(crate) fn config(connection: &ConnectionArgs) -> Result<ProducerConfig, Failure> {
    let mut config = ProducerConfig::new(connect::brokers_of(connection)?);
    if let Some(client_id) = &connection.client_id {
        config = config.client_id(client_id);
    }
    if let Some(limit) = connection.request_timeout {
        config = config.request_timeout(limit);
    }
    Ok(config)
}

/// Connects a producer to a topic; does not create the topic.
pub(crate) async fn connect(
    connection: &ConnectionArgs,
    topic: &str,
    config: ProducerConfig,
) -> Result<Producer, Failure> {
    let cluster = connect::connect(connection).await?;
    Ok(Producer::connect(&cluster, topic, config).await?)
}

async fn take(
    block: Vec<Vec<u8>>,
    number: &mut u64,
    form: &LineForm,
    args: &ProduceArgs,
    batches: &mut ProducerBatches,
) -> Result<(), Failure> {
    for text in block {
        *number = number.saturating_add(1);
        if let Some(line) = form.parse(text, *number)? {
            if line.reorders_headers {
                HEADER_ORDER.call_once(|| {
                    output::note(&format!(
                        "line {number}: headers are written in the order of their names, not as given"
                    ));
                });
            }
            let partition = args.partition.or(line.partition);
            batches.add(line.record, partition, Origin::Line(*number)).await?;
        }
    }
    Ok(())
}

fn check(args: &ProduceArgs, partitions: i32) -> Result<(), Failure> {
    match args.partition {
        Some(partition) if !(0..partitions).contains(&partition) => Err(Failure::usage(format!(
            "--partition {partition}: topic `{}` has partitions 0 to {}",
            args.topic,
            partitions.saturating_sub(1)
        ))),
        _ => Ok(()),
    }
}

pub(crate) const fn compression(codec: Codec) -> Compression {
    match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Lz4 => Compression::Lz4,
        Codec::Snappy => Compression::Snappy,
        Codec::Zstd => Compression::Zstd,
    }
}
