//! `produce`: writes lines of stdin as records to an existing topic.
//!
//! Contract: a metadata request that cannot create the topic comes first, because requests of the
//! producing client could create it. Lines of one partition are written in their order. A record
//! counts as written only after the broker confirmed it.

mod batches;
mod line;
mod partitioner;
mod stdin;

use std::{sync::Once, time::Duration};

use kafka_direct::{Error, ErrorKind};
use rskafka::{
    BackoffConfig,
    client::{
        Client, ClientBuilder,
        error::{Error as ProduceError, ProtocolError},
        partition::Compression,
    },
};

pub(crate) use self::batches::Batches;
use self::line::LineForm;
use tokio::time::Instant;

use crate::{
    cli::{Codec, ConnectionArgs, ProduceArgs},
    connect,
    exit::Failure,
    output,
};

/// How long buffered records wait for another line before they are sent.
const LINGER: Duration = Duration::from_millis(50);
/// Default of `--retry-timeout` for the producing client.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Reports only once that headers are put in order.
static HEADER_ORDER: Once = Once::new();

/// Runs `produce`.
pub(crate) async fn run(args: ProduceArgs) -> Result<(), Failure> {
    let form = LineForm::new(&args)?;
    let connection = connect::merged(&args.connection)?;
    let partitions = partitions(&connection, &args.topic).await?;
    check(&args, partitions)?;
    let client = client(&connection, &args.topic).await?;
    let mut batches = Batches::new(client, &args.topic, partitions, compression(args.compression));
    let written = async {
        write_lines(&form, &args, &mut batches).await?;
        batches.finish().await
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
        Failure::Produce { target, source } => Failure::HalfProduced { target, source },
        other => other,
    }
}

/// Reads stdin to its end and adds its lines to the batches.
async fn write_lines(
    form: &LineForm,
    args: &ProduceArgs,
    batches: &mut Batches,
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

/// Creates the producing client; `connection` is already merged with the config file.
pub(crate) async fn client(connection: &ConnectionArgs, topic: &str) -> Result<Client, Failure> {
    let backoff = BackoffConfig {
        max_backoff: Duration::from_secs(1),
        deadline: Some(connection.retry_timeout.unwrap_or(RETRY_TIMEOUT)),
        ..BackoffConfig::default()
    };
    let client_id = connection.client_id.clone();
    ClientBuilder::new(connect::brokers_of(connection)?)
        .client_id(client_id.unwrap_or_else(|| "kafka-direct".to_owned()))
        .backoff_config(backoff)
        .build()
        .await
        .map_err(|source| Failure::Produce { target: topic.to_owned(), source })
}

async fn take(
    block: Vec<Vec<u8>>,
    number: &mut u64,
    form: &LineForm,
    args: &ProduceArgs,
    batches: &mut Batches,
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
            batches.add(line.record, args.partition.or(line.partition), *number).await?;
        }
    }
    Ok(())
}

/// Returns the number of partitions of the topic; does not create the topic.
async fn partitions(connection: &ConnectionArgs, topic: &str) -> Result<i32, Failure> {
    let cluster = connect::connect(connection).await?;
    let topics = cluster.topics(&[topic.to_owned()]).await.map_err(Error::from)?;
    let count = topics.first().map_or(0, |topic| topic.partitions.len());
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
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
        Codec::None => Compression::NoCompression,
        Codec::Gzip => Compression::Gzip,
        Codec::Lz4 => Compression::Lz4,
        Codec::Snappy => Compression::Snappy,
        Codec::Zstd => Compression::Zstd,
    }
}

/// Returns the kind, and with it the exit code, of an error of the producing client.
pub(crate) const fn kind(error: &ProduceError) -> ErrorKind {
    match error {
        ProduceError::ServerError { protocol_error, .. } => match protocol_error {
            ProtocolError::TopicAuthorizationFailed | ProtocolError::ClusterAuthorizationFailed => {
                ErrorKind::Unauthorized
            }
            ProtocolError::MessageTooLarge
            | ProtocolError::RecordListTooLarge
            | ProtocolError::InvalidRecord
            | ProtocolError::InvalidTimestamp
            | ProtocolError::UnknownTopicOrPartition
            | ProtocolError::InvalidTopicException
            | ProtocolError::PolicyViolation => ErrorKind::Invalid,
            ProtocolError::CorruptMessage => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        },
        ProduceError::InvalidResponse(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    }
}
