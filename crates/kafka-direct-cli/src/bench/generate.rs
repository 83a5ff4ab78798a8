//! The topic that `bench --generate` creates, fills, and with `--delete-after` deletes.
//!
//! Contract: a topic that existed before is never written or deleted. Values have the requested
//! size and compress about as well as JSON. Keys and values are the same in every run.

use std::{collections::BTreeMap, time::Duration};

use chrono::Utc;
use kafka_direct::{Error, ErrorKind};
use rskafka::{
    client::{
        Client,
        error::{Error as ProduceError, ProtocolError},
    },
    record::Record,
};
use tokio::time::{Instant, sleep};

use crate::{
    cli::{ConnectionArgs, GenerateArgs},
    connect,
    exit::Failure,
    produce::{self, Batches},
    progress,
};

/// How long the controller may take to create or delete the topic.
const CONTROLLER_TIMEOUT_MS: i32 = 10_000;
/// How long the partitions of a new topic may take to have leaders.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Selects the default replication factor of the broker.
const REPLICATION_FACTOR: i16 = -1;

/// A topic that this run created.
#[derive(Debug)]
pub(super) struct Topic {
    connection: ConnectionArgs,
    client: Client,
    name: String,
    partitions: i32,
}

impl Topic {
    /// Creates the topic.
    ///
    /// # Errors
    /// `Usage` if the topic exists.
    pub(super) async fn create(
        connection: &ConnectionArgs,
        name: &str,
        partitions: i32,
    ) -> Result<Self, Failure> {
        let cluster = connect::connect(connection).await?;
        let names = [name.to_owned()];
        match cluster.topics(&names).await.map_err(Error::from) {
            Ok(_) => return Err(exists(name)),
            Err(error) if error.kind() == ErrorKind::Invalid => {}
            Err(error) => return Err(error.into()),
        }
        let client = produce::client(connection, name).await?;
        let failed = |source| failed(name, source);
        let controller = client.controller_client().map_err(failed)?;
        let created = controller
            .create_topic(name, partitions, REPLICATION_FACTOR, CONTROLLER_TIMEOUT_MS)
            .await;
        created.map_err(failed)?;
        let connection = connection.clone();
        Ok(Self { connection, client, name: name.to_owned(), partitions })
    }

    /// Waits until each partition has a leader, at most [`LEADER_TIMEOUT`].
    async fn wait_for_leaders(&self) -> Result<(), Failure> {
        let cluster = connect::connect(&self.connection).await?;
        let began = Instant::now();
        let names = [self.name.clone()];
        loop {
            let metadata = cluster.topics(&names).await.map_err(Error::from);
            let late = began.elapsed() > LEADER_TIMEOUT;
            match metadata {
                Ok(topics) => {
                    let partitions = topics.first().map_or(&[][..], |topic| &topic.partitions);
                    let led = partitions.iter().filter(|p| p.leader_host.is_some()).count();
                    if usize::try_from(self.partitions) == Ok(led) {
                        return Ok(());
                    }
                    if late {
                        return Err(Failure::Unmet {
                            message: format!(
                                "only {led} of {} partitions of the new topic `{}` have a leader after {LEADER_TIMEOUT:?}; check the brokers",
                                self.partitions, self.name
                            ),
                            kind: ErrorKind::Unavailable,
                        });
                    }
                }
                Err(error) if error.kind() != ErrorKind::Invalid || late => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Writes the records, round robin over the partitions.
    pub(super) async fn fill(&self, args: &GenerateArgs) -> Result<(), Failure> {
        let records = args.generate.map_or(0, std::num::NonZero::get);
        let codec = produce::compression(args.codec);
        self.wait_for_leaders().await?;
        let client = produce::client(&self.connection, &self.name).await?;
        let mut batches = Batches::new(client, &self.name, self.partitions, codec);
        let bar = progress::writing(records);
        let mut values = Values::default();
        for number in 0..records {
            let record = Record {
                key: Some(number.to_string().into_bytes()),
                value: Some(values.next(args.size)),
                headers: BTreeMap::new(),
                timestamp: Utc::now(),
            };
            batches.add(record, None, number).await?;
            bar.inc(1);
        }
        let written = batches.finish().await;
        bar.finish_and_clear();
        written.map(drop)
    }

    /// Deletes the topic.
    pub(super) async fn delete(self) -> Result<(), Failure> {
        let failed = |source| failed(&self.name, source);
        let controller = self.client.controller_client().map_err(failed)?;
        controller.delete_topic(&self.name, CONTROLLER_TIMEOUT_MS).await.map_err(failed)
    }
}

fn exists(name: &str) -> Failure {
    Failure::usage(format!(
        "topic `{name}` exists, but --generate creates its topic; pass another name, or leave out --generate to read this one"
    ))
}

fn failed(name: &str, source: ProduceError) -> Failure {
    let error = match &source {
        ProduceError::ServerError { protocol_error, .. } => Some(*protocol_error),
        _ => None,
    };
    if error == Some(ProtocolError::TopicAlreadyExists) {
        return exists(name);
    }
    Failure::Produce { target: name.to_owned(), source }
}

/// Generates values as repetitive as JSON: repeated words, and random numbers.
#[derive(Debug, Default)]
struct Values {
    state: u64,
}

impl Values {
    const WORDS: [&str; 16] = [
        "\"amount\":",
        "\"customer\":",
        "\"status\":",
        "\"delivered\"",
        "\"pending\"",
        "\"items\":",
        "\"name\":",
        "\"street\":",
        "\"country\":",
        "\"price\":",
        "\"currency\":",
        "\"discount\":",
        "\"created\":",
        "\"updated\":",
        "\"shipping\":",
        "\"comment\":",
    ];

    fn next(&mut self, size: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(size.saturating_add(32));
        while value.len() < size {
            let random = self.random();
            let word = usize::try_from(random >> 60).unwrap_or(0);
            value.extend_from_slice(Self::WORDS.get(word).unwrap_or(&"").as_bytes());
            value.extend_from_slice(itoa::Buffer::new().format(random & 0xff_ffff).as_bytes());
            value.push(b',');
        }
        value.truncate(size);
        value
    }

    /// Returns the next SplitMix64 number.
    const fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_requested_size_and_differ() {
        let mut values = Values::default();
        for size in [0, 1, 7, 100, 5000] {
            assert_eq!(values.next(size).len(), size);
        }
        assert_ne!(values.next(100), values.next(100));
        assert_eq!(Values::default().next(50), Values::default().next(50));
    }
}
