//! The standard loads: the records and batches of their topics, and the targets of the reader.

use crate::{targets::Bound, values::Values};

/// The records of a topic, and how they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) partitions: i32,
    /// Number of partitions that get records, spread evenly over all partitions.
    pub(crate) filled: i32,
    /// Number of records that a reader under `read_committed` sees.
    pub(crate) records: u64,
    pub(crate) values: Values,
    /// `compression.type` of Kafka's producer.
    pub(crate) codec: &'static str,
    /// `batch.size` of Kafka's producer, in bytes; 0 makes batches of one record.
    pub(crate) batch_bytes: usize,
    pub(crate) writer: Writer,
}

/// The program that writes a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Kafka's own ProducerPerformance, over all partitions.
    Performance,
    /// `clients/java/Fill.java`, which writes to given partitions and in transactions.
    Fill,
    /// `Fill.java` in transactions, of which every `every`-th is aborted.
    FillAborting { every: u32 },
}

#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    /// `None` for a topic that exists already.
    pub(crate) recipe: Option<Recipe>,
}

/// The clients and topics that are compared on a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every client on one topic.
    Clients,
    /// Ours on two topics with the same visible records: one plain, one with aborted transactions.
    Aborted,
    /// Ours and floor on topics with the same data in an increasing number of partitions.
    Partitions,
}

/// A named set of topics with the same records under `read_committed`.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) topics: Vec<Topic>,
    /// Number of records that each topic must have, if known.
    pub(crate) expected: Option<u64>,
    /// Whether ConsumerPerformance and Spark read it too, if they are selected.
    pub(crate) engines: bool,
    /// Whether records have no key, so that they have no bytes besides their values.
    pub(crate) keyless: bool,
    /// Target for the CPU time per record of ours, divided by that of the baseline.
    ///
    /// The baseline is floor, or for `Kind::Aborted` ours on the plain topic.
    pub(crate) over_bar: Option<Bound>,
    /// Target for the CPU time per record of the cheapest other client, divided by that of ours.
    pub(crate) under_others: Option<Bound>,
}

impl Load {
    /// Returns the load of an existing topic: `TOPIC` or `NAME=TOPIC`.
    pub(crate) fn existing(argument: &str) -> Self {
        let (name, topic) = argument.rsplit_once('=').unwrap_or((argument, argument));
        Self {
            name: name.to_owned(),
            kind: Kind::Clients,
            topics: vec![Topic { name: topic.to_owned(), recipe: None }],
            expected: None,
            engines: true,
            keyless: false,
            over_bar: None,
            under_others: None,
        }
    }

    fn standard(name: &str, kind: Kind, topics: Vec<(String, Recipe)>, scale: f64) -> Self {
        let scaled = |recipe: Recipe| Recipe {
            records: ((recipe.records as f64 * scale) as u64).max(1),
            ..recipe
        };
        let topics: Vec<Topic> = topics
            .into_iter()
            .map(|(name, recipe)| Topic { name, recipe: Some(scaled(recipe)) })
            .collect();
        Self {
            name: name.to_owned(),
            kind,
            expected: topics.first().and_then(|topic| topic.recipe).map(|recipe| recipe.records),
            topics,
            engines: false,
            keyless: true,
            over_bar: None,
            under_others: None,
        }
    }

    fn with_engines(self) -> Self {
        Self { engines: true, ..self }
    }

    fn at_most(self, over_bar: f64) -> Self {
        Self { over_bar: Some(Bound::AtMost(over_bar)), ..self }
    }

    fn at_least(self, under_others: f64) -> Self {
        Self { under_others: Some(Bound::AtLeast(under_others)), ..self }
    }

    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.topics.iter().any(|topic| topic.name == name)
    }
}

const KIB: usize = 1 << 10;
const PARTITIONS: i32 = 4;

/// Returns the standard loads; `scale` multiplies their numbers of records.
///
/// Floor needs a quarter of a second of CPU for a load, and a slow client a few seconds. Loads have
/// twice as many records where first access to memory would be a large part of a read. Loads with a
/// thousand partitions are last, because the broker takes some time to delete them.
pub(crate) fn standard(scale: f64) -> Vec<Load> {
    use Values::{Json, Line, Random};
    let of = |records, values, codec, batch_bytes| Recipe {
        partitions: PARTITIONS,
        filled: PARTITIONS,
        records,
        values,
        codec,
        batch_bytes,
        writer: Writer::Performance,
    };
    let load = |topic: &str, name, recipe| {
        Load::standard(name, Kind::Clients, vec![(topic.to_owned(), recipe)], scale)
    };
    let (random, line, json) = (Random { bytes: 100 }, Line { bytes: 100 }, Json { bytes: 232 });
    let kib = Random { bytes: KIB };
    let usual = 128 * KIB;
    let many = |filled, records, batch_bytes| Recipe {
        partitions: 1000,
        filled,
        writer: Writer::Fill,
        ..of(records, random, "none", batch_bytes)
    };
    let few_of_many = many(10, 4_000_000, usual);
    let plain = Recipe { writer: Writer::Fill, ..of(3_000_000, random, "none", usual) };
    let aborting = Recipe { writer: Writer::FillAborting { every: 10 }, ..plain };
    let twins = [("plain", plain), ("aborted", aborting)]
        .map(|(what, recipe)| (format!("compare-100b-{what}"), recipe));
    let more_and_more = [1, 4, 16, 64].map(|count| {
        let recipe = of(2_500_000, random, "none", usual);
        let recipe = Recipe { partitions: count, filled: count, ..recipe };
        (format!("compare-100b-{count}p"), recipe)
    });
    vec![
        load("compare-100b-none", "100 B, none", of(4_500_000, random, "none", usual))
            .at_most(1.25)
            .at_least(5.0)
            .with_engines(),
        load("compare-100b-lz4", "100 B, lz4", of(2_500_000, line, "lz4", usual)),
        load("compare-100b-tiny", "100 B, batches of one record", of(500_000, random, "none", 0))
            .at_most(1.8)
            .at_least(3.0),
        load("compare-json-none", "232 B JSON, none", of(2_000_000, json, "none", usual))
            .at_most(1.25)
            .at_least(3.2)
            .with_engines(),
        load("compare-json-lz4", "232 B JSON, lz4", of(3_000_000, json, "lz4", usual))
            .at_most(1.25)
            .at_least(3.2)
            .with_engines(),
        load("compare-json-snappy", "232 B JSON, snappy", of(2_400_000, json, "snappy", usual))
            .at_most(1.25)
            .at_least(3.2),
        load("compare-json-zstd", "232 B JSON, zstd", of(2_000_000, json, "zstd", usual))
            .at_most(1.2)
            .at_least(4.0)
            .with_engines(),
        load("compare-json-gzip", "232 B JSON, gzip", of(500_000, json, "gzip", usual))
            .at_most(1.2)
            .at_least(2.0),
        load("compare-1kib-none", "1 KiB, none", of(600_000, kib, "none", 1024 * KIB))
            .at_most(1.25)
            .at_least(1.8),
        Load::standard("read_committed, 10 % aborted", Kind::Aborted, twins.into(), scale)
            .at_most(1.1),
        Load::standard("1 to 64 partitions", Kind::Partitions, more_and_more.into(), scale),
        load(
            "compare-100b-10of1000p",
            "100 B, none, 1,000 partitions of which 10 have data",
            few_of_many,
        )
        .at_least(4.5),
        load(
            "compare-100b-1000p",
            "100 B, none, 1,000 partitions",
            many(1000, 4_000_000, 16 * KIB),
        )
        .at_most(1.4)
        .at_least(4.5),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_topic_may_be_given_a_name() {
        assert_eq!(Load::existing("orders").name, "orders");
        let named = Load::existing("a=b=orders");
        assert_eq!((named.name.as_str(), named.topics[0].name.as_str()), ("a=b", "orders"));
    }

    #[test]
    fn no_two_standard_loads_share_a_topic_and_all_topics_of_one_hold_equally_many_records() {
        let loads = standard(0.01);
        let topics = loads.iter().flat_map(|load| &load.topics);
        let names: BTreeSet<&str> = topics.clone().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names.len(), topics.count());
        for load in &loads {
            let all = |topic: &Topic| topic.recipe.map(|recipe| recipe.records) == load.expected;
            assert!(load.topics.iter().all(all), "{}", load.name);
        }
    }
}
