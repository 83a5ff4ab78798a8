//! The values of the records in the standard loads.

/// The kind and the size of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Letters without a pattern.
    Random { bytes: usize },
    /// A line of comma-separated fields, which codecs compress well.
    Line { bytes: usize },
    /// A JSON object with the same names in every record.
    Json { bytes: usize },
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
    /// There are so many lines that a line is hardly ever twice in a batch. Codecs compress the
    /// pattern of a line, and not copies of it.
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

/// A random number generator (Xorshift), with the same numbers on every machine.
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
    fn every_line_has_the_length_of_its_load() {
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
}
