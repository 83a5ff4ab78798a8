//! The standard loads: what is in their topics and how it was batched.

/// What values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Letters without a pattern.
    Random { bytes: usize },
    /// A line of comma-separated fields, such as codecs like.
    Line { bytes: usize },
    /// A JSON object whose names repeat from record to record.
    Json { bytes: usize },
}

/// How a topic is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) partitions: i32,
    pub(crate) records: u64,
    pub(crate) values: Values,
    /// As `compression.type` of Kafka's producer.
    pub(crate) codec: &'static str,
    /// As `batch.size` of Kafka's producer; 0 makes batches of one record.
    pub(crate) batch_bytes: usize,
}

/// A topic to be read, and the name that it has in the tables.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) name: String,
    pub(crate) topic: String,
    /// Records that the topic must hold, if that is known.
    pub(crate) expected: Option<u64>,
    /// `None` for a topic that is there already.
    pub(crate) recipe: Option<Recipe>,
}

impl Load {
    /// `TOPIC` or `NAME=TOPIC`.
    pub(crate) fn existing(argument: &str) -> Self {
        let (name, topic) = argument.rsplit_once('=').unwrap_or((argument, argument));
        Self { name: name.to_owned(), topic: topic.to_owned(), expected: None, recipe: None }
    }

    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.topic == name || self.name == name
    }
}

const KIB: usize = 1 << 10;
const PARTITIONS: i32 = 4;

/// Each takes a slow client a second or two to read; `scale` multiplies the records.
pub(crate) fn standard(scale: f64) -> Vec<Load> {
    use Values::{Json, Line, Random};
    let of = |records, values, codec, batch_bytes| Recipe {
        partitions: PARTITIONS,
        records,
        values,
        codec,
        batch_bytes,
    };
    let (random, line, json) = (Random { bytes: 100 }, Line { bytes: 100 }, Json { bytes: 232 });
    let many = Recipe { partitions: 1000, ..of(5_000_000, random, "none", 16 * KIB) };
    let loads = [
        ("compare-100b-none", "100 B, none", of(5_000_000, random, "none", 128 * KIB)),
        ("compare-100b-lz4", "100 B, lz4", of(5_000_000, line, "lz4", 128 * KIB)),
        ("compare-100b-tiny", "100 B, batches of one record", of(500_000, random, "none", 0)),
        ("compare-json-none", "232 B JSON, none", of(2_500_000, json, "none", 128 * KIB)),
        ("compare-json-lz4", "232 B JSON, lz4", of(2_500_000, json, "lz4", 128 * KIB)),
        ("compare-json-snappy", "232 B JSON, snappy", of(2_500_000, json, "snappy", 128 * KIB)),
        ("compare-json-zstd", "232 B JSON, zstd", of(2_500_000, json, "zstd", 128 * KIB)),
        ("compare-json-gzip", "232 B JSON, gzip", of(2_500_000, json, "gzip", 128 * KIB)),
        (
            "compare-1kib-none",
            "1 KiB, none",
            of(500_000, Random { bytes: KIB }, "none", 1024 * KIB),
        ),
        ("compare-100b-1000p", "100 B, none, 1,000 partitions", many),
    ];
    let scaled = |recipe: Recipe| Recipe {
        records: ((recipe.records as f64 * scale) as u64).max(1),
        ..recipe
    };
    loads
        .map(|(topic, name, recipe)| {
            let recipe = scaled(recipe);
            Load {
                name: name.to_owned(),
                topic: topic.to_owned(),
                expected: Some(recipe.records),
                recipe: Some(recipe),
            }
        })
        .into()
}

impl Values {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Random { bytes } | Self::Line { bytes } | Self::Json { bytes } => bytes,
        }
    }

    /// Lines to draw values from, all of the same length; `None` for letters without a pattern,
    /// which the producer makes itself.
    ///
    /// There are so many that hardly one comes twice in a batch: codecs get the pattern of a line
    /// and not a copy of it.
    pub(crate) fn lines(self) -> Option<String> {
        const LINES: u64 = 50_000;
        let one = match self {
            Self::Random { .. } => return None,
            Self::Line { .. } => line,
            Self::Json { .. } => json,
        };
        let bytes = self.bytes();
        let mut numbers = Numbers(1);
        let mut text = String::with_capacity((bytes + 1) * LINES as usize);
        for _ in 0..LINES {
            text.push_str(&one(&mut numbers, bytes));
            text.push('\n');
        }
        text.pop();
        Some(text)
    }
}

/// Xorshift: the same lines on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    fn letters(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

const STATES: [&str; 4] = ["placed", "packed", "shipped", "returned"];
const CURRENCIES: [&str; 3] = ["EUR", "USD", "JPY"];

fn line(numbers: &mut Numbers, bytes: usize) -> String {
    let start = format!(
        "2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z,order-{:08},customer-{:06},{},{}.{:02},{},",
        numbers.below(28) + 1,
        numbers.below(24),
        numbers.below(60),
        numbers.below(60),
        numbers.below(1000),
        numbers.below(100_000_000),
        numbers.below(1_000_000),
        numbers.one_of(&CURRENCIES),
        numbers.below(10_000),
        numbers.below(100),
        numbers.one_of(&STATES),
    );
    let rest = numbers.letters(bytes.saturating_sub(start.len()));
    start + &rest
}

fn json(numbers: &mut Numbers, bytes: usize) -> String {
    let start = format!(
        "{{\"order_id\":{},\"customer\":\"customer-{:06}\",\"status\":\"{}\",\"currency\":\"{}\",\
         \"amount\":{}.{:02},\"created_at\":\"2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z\",\
         \"items\":{},\"warehouse\":\"w-{:03}\",\"note\":\"",
        numbers.below(100_000_000),
        numbers.below(1_000_000),
        numbers.one_of(&STATES),
        numbers.one_of(&CURRENCIES),
        numbers.below(10_000),
        numbers.below(100),
        numbers.below(28) + 1,
        numbers.below(24),
        numbers.below(60),
        numbers.below(60),
        numbers.below(1000),
        numbers.below(20),
        numbers.below(200),
    );
    let note = numbers.letters(bytes.saturating_sub(start.len() + 2));
    format!("{start}{note}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_length_its_load_names() {
        for values in [Values::Line { bytes: 100 }, Values::Json { bytes: 232 }] {
            let lines = values.lines().unwrap();
            assert!(lines.lines().all(|line| line.len() == values.bytes()), "{values:?}");
        }
    }

    #[test]
    fn a_json_value_is_json() {
        let lines = Values::Json { bytes: 232 }.lines().unwrap();
        for line in lines.lines().take(100) {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn a_topic_may_be_given_a_name() {
        assert_eq!(Load::existing("orders").name, "orders");
        let named = Load::existing("a=b=orders");
        assert_eq!((named.name.as_str(), named.topic.as_str()), ("a=b", "orders"));
    }
}
