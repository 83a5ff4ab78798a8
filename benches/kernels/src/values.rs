//! Keys and values of records: random letters, or a JSON order.

use bytes::Bytes;

/// The form of a record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Random capital letters, like those of Kafka's ProducerPerformance, without a key.
    Letters { bytes: usize },
    /// A JSON object with words from small lists, and a key of 14 bytes.
    Json { bytes: usize },
}

impl Values {
    /// Returns key and value of record number `number`.
    #[must_use]
    pub fn record(self, number: u64) -> (Option<Bytes>, Bytes) {
        let mut numbers = Numbers::new(number);
        match self {
            Self::Letters { bytes } => (None, numbers.letters(b'A', bytes).into()),
            Self::Json { bytes } => {
                let value = json(&mut numbers, bytes);
                (Some(format!("order-{:08}", numbers.below(100_000_000)).into()), value.into())
            }
        }
    }
}

/// Random number generator (xorshift), with the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    /// Creates a generator. Consecutive seeds give unrelated numbers.
    const fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    const fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    fn letters(&mut self, first: u8, count: usize) -> String {
        (0..count).map(|_| char::from(first + self.below(26) as u8)).collect()
    }
}

fn json(numbers: &mut Numbers, bytes: usize) -> String {
    let start = format!(
        "{{\"order_id\":{},\"customer\":\"customer-{:06}\",\"status\":\"{}\",\"currency\":\"{}\",\
         \"amount\":{}.{:02},\"created_at\":\"2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z\",\
         \"items\":{},\"warehouse\":\"w-{:03}\",\"note\":\"",
        numbers.below(100_000_000),
        numbers.below(1_000_000),
        numbers.one_of(&["placed", "packed", "shipped", "returned"]),
        numbers.one_of(&["EUR", "USD", "JPY"]),
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
    let note = numbers.letters(b'a', bytes.saturating_sub(start.len() + 2));
    format!("{start}{note}\"}}")
}
