//! The records of the demo: 100 bytes of JSON with their partition, sequence and checksum.
//!
//! A value is `{"crc32c":"1a2b3c4d","partition":3,"sequence":249999,"letters":"…"}`. The checksum
//! covers everything after its own digits. The letters fill the value up to its size. Record
//! `sequence` of a partition has the offset `sequence`.

use std::fmt;

use kafka_direct::arrow::array::{ArrayRef, RecordBatch, cast::AsArray as _, types::Int64Type};

/// Size of every value.
pub(super) const VALUE_BYTES: usize = 100;
const START: &[u8] = b"{\"crc32c\":\"";
/// Number of hexadecimal digits of the checksum.
const DIGITS: usize = 8;
const PARTITION: &[u8] = b"\",\"partition\":";
const SEQUENCE: &[u8] = b",\"sequence\":";
const LETTERS: &[u8] = b",\"letters\":\"";
const END: &[u8] = b"\"}";

/// Appends one value to `out` and returns its checksum.
pub(super) fn put(out: &mut Vec<u8>, partition: i32, sequence: u64) -> u32 {
    let start = out.len();
    let digits = start + START.len()..start + START.len() + DIGITS;
    let mut numbers = itoa::Buffer::new();
    out.extend_from_slice(START);
    out.extend_from_slice(&[b'0'; DIGITS]);
    out.extend_from_slice(PARTITION);
    out.extend_from_slice(numbers.format(partition).as_bytes());
    out.extend_from_slice(SEQUENCE);
    out.extend_from_slice(numbers.format(sequence).as_bytes());
    out.extend_from_slice(LETTERS);
    let room = (start + VALUE_BYTES - END.len()).saturating_sub(out.len());
    out.extend(letters(partition, sequence).take(room));
    out.extend_from_slice(END);
    let checksum = crc32c(out.get(digits.end..).unwrap_or_default());
    for (digit, shift) in out.get_mut(digits).into_iter().flatten().zip((0..32).step_by(4).rev()) {
        let nibble = char::from_digit((checksum >> shift) & 0xf, 16);
        *digit = nibble.and_then(|nibble| u8::try_from(nibble).ok()).unwrap_or(b'?');
    }
    checksum
}

/// Returns pseudo-random letters, the same in every run.
///
/// A splitmix64 step makes the seed of a linear congruential generator.
fn letters(partition: i32, sequence: u64) -> impl Iterator<Item = u8> {
    let seed = sequence ^ (u64::from(partition.unsigned_abs()) << 40);
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state ^= state >> 27;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + u8::try_from((state >> 33) % 26).unwrap_or(0)
    })
}

fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes)).unwrap_or(0)
}

/// Returns the partition, sequence and checksum in a value.
///
/// `None` if the value is not from the demo or its checksum does not match.
fn parse(value: &[u8]) -> Option<(i32, u64, u32)> {
    let (stated, covered) = value.strip_prefix(START)?.split_at_checked(DIGITS)?;
    let found = crc32c(covered);
    let stated = u32::from_str_radix(std::str::from_utf8(stated).ok()?, 16).ok()?;
    if value.len() != VALUE_BYTES || stated != found {
        return None;
    }
    let (partition, rest) = number(covered.strip_prefix(PARTITION)?)?;
    let (sequence, _) = number(rest.strip_prefix(SEQUENCE)?)?;
    Some((i32::try_from(partition).ok()?, sequence, found))
}

/// Splits `text` into the number at its start and the rest.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    let value = digits.iter().try_fold(0u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')))
    });
    Some((value?, rest))
}

/// The number of records and the wrapping sum of their checksums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) records: u64,
    pub(super) checksums: u64,
}

impl Sums {
    pub(super) fn add(&mut self, checksum: u32) {
        self.records += 1;
        self.checksums = self.checksums.wrapping_add(u64::from(checksum));
    }
}

/// A verification error of the records that were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A record that was changed or is not from the demo.
    Changed { partition: i32, offset: i64 },
    /// A record other than the expected next one.
    Misplaced { partition: i32, offset: i64, expected: u64, found: (i32, u64) },
    /// Every record that was read is correct, but some are missing.
    Missing { partition: i32, written: Sums, read: Sums },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { partition, offset } => {
                write!(f, "demo-{partition} offset {offset}: the record's checksum does not match")
            }
            Self::Misplaced { partition, offset, expected, found: (from, sequence) } => write!(
                f,
                "demo-{partition} offset {offset}: expected record {expected}, found record {sequence} of partition {from}"
            ),
            Self::Missing { partition, written, read } => write!(
                f,
                "demo-{partition}: {} records with checksum sum {} were written, {} with {} were read",
                written.records, written.checksums, read.records, read.checksums
            ),
        }
    }
}

/// Verifies the records of one partition: unchanged, in order, no duplicates, none missing.
#[derive(Debug)]
pub(super) struct Verifier {
    partition: i32,
    sums: Sums,
}

impl Verifier {
    pub(super) fn new(partition: i32) -> Self {
        Self { partition, sums: Sums::default() }
    }

    /// Verifies the next batch, which has the columns `value` and `offset`.
    pub(super) fn take(&mut self, batch: &RecordBatch) -> Result<(), Wrong> {
        let partition = self.partition;
        let column = |name| batch.column_by_name(name).map(ArrayRef::as_ref);
        let nothing = Wrong::Changed { partition, offset: -1 };
        let (Some(values), Some(offsets)) = (column("value"), column("offset")) else {
            return Err(nothing);
        };
        let (Some(values), Some(offsets)) =
            (values.as_binary_view_opt(), offsets.as_primitive_opt::<Int64Type>())
        else {
            return Err(nothing);
        };
        for (value, offset) in values.iter().zip(offsets.values().iter().copied()) {
            let Some((from, sequence, checksum)) = value.and_then(parse) else {
                return Err(Wrong::Changed { partition, offset });
            };
            let expected = self.sums.records;
            if from != partition || sequence != expected || u64::try_from(offset) != Ok(expected) {
                let found = (from, sequence);
                return Err(Wrong::Misplaced { partition, offset, expected, found });
            }
            self.sums.add(checksum);
        }
        Ok(())
    }

    /// Checks that all written records were read.
    pub(super) fn finish(self, written: Sums) -> Result<(), Wrong> {
        let Self { partition, sums: read } = self;
        if read == written { Ok(()) } else { Err(Wrong::Missing { partition, written, read }) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafka_direct::arrow::{
        array::{BinaryViewArray, Int64Array},
        schema::{DataType, Field, Schema},
    };

    use super::*;

    const RECORDS: u64 = 20;

    /// Offsets and values.
    type Stream = Vec<(i64, Vec<u8>)>;

    fn stream() -> (Stream, Sums) {
        let mut sums = Sums::default();
        let records = (0..RECORDS).map(|sequence| {
            let mut value = Vec::new();
            sums.add(put(&mut value, 3, sequence));
            assert_eq!(value.len(), VALUE_BYTES);
            (i64::try_from(sequence).unwrap(), value)
        });
        (records.collect(), sums)
    }

    fn verify(records: &[(i64, Vec<u8>)], written: Sums) -> Result<(), Wrong> {
        let schema = Schema::new(vec![
            Field::new("value", DataType::BinaryView, true),
            Field::new("offset", DataType::Int64, false),
        ]);
        let schema = Arc::new(schema);
        let mut verifier = Verifier::new(3);
        for part in records.chunks(7) {
            let values = BinaryViewArray::from_iter_values(part.iter().map(|(_, value)| value));
            let offsets = Int64Array::from_iter_values(part.iter().map(|(offset, _)| *offset));
            let columns: Vec<ArrayRef> = vec![Arc::new(values), Arc::new(offsets)];
            verifier.take(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap())?;
        }
        verifier.finish(written)
    }

    #[test]
    fn an_unchanged_stream_is_accepted() {
        let (records, written) = stream();
        assert_eq!(verify(&records, written), Ok(()));
    }

    #[test]
    fn every_changed_byte_is_detected() {
        for at in 0..VALUE_BYTES {
            let (mut records, written) = stream();
            records[9].1[at] ^= 1;
            assert!(verify(&records, written).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_missing_duplicate_swapped_or_foreign_record_is_detected() {
        let changes: [fn(&mut Stream); 6] = [
            |records| drop(records.pop()),
            |records| drop(records.remove(4)),
            |records| records.insert(5, records[4].clone()),
            |records| records.swap(4, 5),
            |records| records[4].0 += 1,
            |records| {
                records[4].1.clear();
                put(&mut records[4].1, 2, 4);
            },
        ];
        for change in changes {
            let (mut records, written) = stream();
            change(&mut records);
            assert!(verify(&records, written).is_err());
        }
    }

    #[test]
    fn values_are_json() {
        let mut value = Vec::new();
        put(&mut value, 7, 12_345);
        let value: serde_json::Value = serde_json::from_slice(&value).unwrap();
        assert_eq!(
            (value["partition"].as_i64(), value["sequence"].as_i64()),
            (Some(7), Some(12_345))
        );
    }
}
