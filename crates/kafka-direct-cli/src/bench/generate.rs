//! The topic that `bench --generate` creates, fills, and with `--delete-after` deletes.
//!
//! Contract: a topic that existed before is never written or deleted. Values have the requested
//! size and compress about as well as JSON. Keys and values are the same in every run.

use std::collections::BTreeMap;

use chrono::Utc;
use kafka_direct_sinks::kafka_topic::{Origin, ProducerRecord};

use crate::{
    cli::{ConnectionArgs, GenerateArgs},
    exit::Failure,
    produce, progress,
    topics::TopicAdmin,
};

/// A topic that this run created.
#[derive(Debug)]
pub(super) struct Topic {
    connection: ConnectionArgs,
    admin: TopicAdmin,
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
        let admin = TopicAdmin::connect(connection, name).await?;
        if !admin.create(name, partitions, None).await? {
            return Err(exists(name));
        }
        let connection = connection.clone();
        Ok(Self { connection, admin, name: name.to_owned(), partitions })
    }

    /// Writes the records, round robin over the partitions.
    pub(super) async fn fill(&self, args: &GenerateArgs) -> Result<(), Failure> {
        let records = args.generate.map_or(0, std::num::NonZero::get);
        let codec = produce::compression(args.codec);
        self.admin.wait_for_leaders(&self.name, self.partitions).await?;
        let config = produce::config(&self.connection)?.compression(codec);
        let producer = produce::connect(&self.connection, &self.name, config).await?;
        let mut batches = producer.batches(produce::HELD_BYTES);
        let bar = progress::writing(records);
        let mut values = Values::default();
        for number in 0..records {
            let record = ProducerRecord {
                key: Some(number.to_string().into_bytes()),
                value: Some(values.next(args.size)),
                headers: BTreeMap::new(),
                timestamp_millis: Some(Utc::now().timestamp_millis()),
            };
            batches.add(record, None, Origin::Line(number)).await?;
            bar.inc(1);
        }
        let written = batches.finish().await;
        bar.finish_and_clear();
        written.map(drop).map_err(Failure::from)
    }

    /// Deletes the topic.
    pub(super) async fn delete(self) -> Result<(), Failure> {
        self.admin.delete(&self.name).await
    }
}

fn exists(name: &str) -> Failure {
    Failure::usage(format!(
        "topic `{name}` exists, but --generate creates its topic; pass another name, or leave out --generate to read this one"
    ))
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
