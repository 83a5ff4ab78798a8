//! The topic that `bench --generate` writes, and deletes again if it is told to.
//!
//! Contract: a topic that exists is never written to nor deleted; values have the size asked for and
//! compress about as well as JSON does; the records are the same in every run.

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

/// How long the controller may take.
const CONTROLLER_TIMEOUT_MS: i32 = 10_000;
/// How long brokers may take to hear of a topic.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
/// The broker's own default.
const REPLICATION_FACTOR: i16 = -1;

/// A topic that was created here.
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
    /// `Usage` if there is such a topic.
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

    /// Waits until each partition has a leader.
    async fn known(&self) -> Result<(), Failure> {
        let cluster = connect::connect(&self.connection).await?;
        let began = Instant::now();
        let names = [self.name.clone()];
        loop {
            let asked = cluster.topics(&names).await.map_err(Error::from);
            let late = began.elapsed() > KNOWN_WITHIN;
            match asked {
                Ok(topics) => {
                    let partitions = topics.first().map_or(&[][..], |topic| &topic.partitions);
                    let led = partitions.iter().filter(|p| p.leader_host.is_some()).count();
                    if usize::try_from(self.partitions) == Ok(led) {
                        return Ok(());
                    }
                    if late {
                        return Err(Failure::Unmet {
                            message: format!(
                                "{led} of {} partitions of the new topic `{}` have a leader",
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

    /// Writes the records, in turn over the partitions.
    pub(super) async fn fill(&self, args: &GenerateArgs) -> Result<(), Failure> {
        let records = args.generate.map_or(0, std::num::NonZero::get);
        let codec = produce::compression(args.codec);
        self.known().await?;
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
        "topic `{name}` exists, and --generate writes to a topic of its own only: name another, or leave out --generate to read this one"
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

/// Values as repetitive as JSON is: words, and numbers that repeat nothing.
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

    /// The next of SplitMix64.
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
    fn values_have_their_size_and_differ() {
        let mut values = Values::default();
        for size in [0, 1, 7, 100, 5000] {
            assert_eq!(values.next(size).len(), size);
        }
        assert_ne!(values.next(100), values.next(100));
        assert_eq!(Values::default().next(50), Values::default().next(50));
    }
}
