//! The kernels by time: plan, decode by codec and size, projections, many decoders, two threads.
//!
//! `just bench` runs all, `just bench decode` those with the word in their name. Inputs lie in the
//! caches of the processor, as an answer does that was read from a socket a moment ago.

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use kafka_direct_core::Codec;
use kafka_direct_driver::Selection;
use kafka_direct_kernels::{
    answers::Answer,
    batches::Recipe,
    partitions::{partitions, plan_all},
    values::Values,
};
use kafka_direct_worker::{Column, Columns, DecodeOptions};

/// About as much as one partition brings in one answer, before compression.
const ANSWER_BYTES: usize = 1 << 20;
/// A full batch of the loads of `benches/compare`, before compression.
const BATCH_BYTES: usize = 128 << 10;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn main() {
    divan::main();
}

fn codec(name: &str) -> Codec {
    match name {
        "gzip" => Codec::Gzip,
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        _ => Codec::None,
    }
}

const LETTERS_100: Values = Values::Letters { bytes: 100 };
const JSON_232: Values = Values::Json { bytes: 232 };
const LETTERS_1024: Values = Values::Letters { bytes: 1024 };

const fn bytes_of(values: Values) -> usize {
    match values {
        Values::Letters { bytes } | Values::Json { bytes } => bytes,
    }
}

/// An answer of about `bytes` in full batches.
fn answer(values: Values, codec: Codec, bytes: usize) -> Answer {
    let records_per_batch = BATCH_BYTES / bytes_of(values);
    let recipe = Recipe { values, codec, records_per_batch };
    Answer::new(recipe.write(bytes / bytes_of(values)).unwrap(), 0)
}

/// With records and bytes of records (before compression) a second.
fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, records: usize, bytes: usize) -> Bencher<'a, 'b> {
    bencher.counter(ItemsCount::new(records)).counter(BytesCount::new(bytes))
}

fn decode(bencher: Bencher<'_, '_>, answer: &Answer, columns: Columns) {
    let options = DecodeOptions::new().with_columns(columns);
    assert_eq!(answer.decode(&options).unwrap(), answer.records);
    counted(bencher, answer.records, answer.plain_bytes)
        .bench(|| divan::black_box(answer).decode(&options).unwrap());
}

/// A plan, items are partitions: time grows as they do.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn plan(bencher: Bencher<'_, '_>, count: usize) {
    let states = partitions(count);
    let selection = Selection::new();
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| states.clone())
        .bench_values(|states| plan_all(&selection, states).unwrap());
}

/// The same, each partition cut into ten.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn plan_split(bencher: Bencher<'_, '_>, count: usize) {
    let states = partitions(count);
    let selection = Selection::new().min_partitions(10 * count as u64);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| states.clone())
        .bench_values(|states| plan_all(&selection, states).unwrap());
}

/// All default columns, by codec.
mod decode {
    use super::*;

    #[divan::bench(args = CODECS)]
    fn letters_100(bencher: Bencher<'_, '_>, name: &str) {
        decode(bencher, &answer(LETTERS_100, codec(name), ANSWER_BYTES), Columns::default());
    }

    #[divan::bench(args = CODECS)]
    fn json_232(bencher: Bencher<'_, '_>, name: &str) {
        decode(bencher, &answer(JSON_232, codec(name), ANSWER_BYTES), Columns::default());
    }

    #[divan::bench(args = CODECS)]
    fn letters_1024(bencher: Bencher<'_, '_>, name: &str) {
        decode(bencher, &answer(LETTERS_1024, codec(name), ANSWER_BYTES), Columns::default());
    }

    /// Batches of one record of 100 B.
    #[divan::bench(args = CODECS)]
    fn tiny(bencher: Bencher<'_, '_>, name: &str) {
        let recipe = Recipe { values: LETTERS_100, codec: codec(name), records_per_batch: 1 };
        let answer = Answer::new(recipe.write(ANSWER_BYTES / 10 / 100).unwrap(), 0);
        decode(bencher, &answer, Columns::default());
    }
}

/// 232 B of JSON, not compressed: what is asked for decides what is done.
#[divan::bench(args = ["checksums", "count", "no columns", "offset, timestamp", "value views", "key, value views", "default"])]
fn columns(bencher: Bencher<'_, '_>, asked: &str) {
    let answer = answer(JSON_232, Codec::None, ANSWER_BYTES);
    let of = |columns: &[Column]| columns.iter().copied().collect();
    let columns = match asked {
        "checksums" => {
            return counted(bencher, answer.records, answer.plain_bytes)
                .bench(|| divan::black_box(&answer).checksums());
        }
        "count" => {
            let options = DecodeOptions::new();
            return counted(bencher, answer.records, answer.plain_bytes)
                .bench(|| divan::black_box(&answer).scan(&options).unwrap());
        }
        "no columns" => Columns::none(),
        "offset, timestamp" => of(&[Column::Offset, Column::Timestamp]),
        "value views" => of(&[Column::Value]),
        "key, value views" => of(&[Column::Key, Column::Value]),
        _ => Columns::default(),
    };
    decode(bencher, &answer, columns);
}

/// 16 MiB of 232 B JSON in as many answers, each with a decoder of its own.
#[divan::bench(args = [1, 10, 100, 1_000])]
fn answers(bencher: Bencher<'_, '_>, partitions: usize) {
    let one = answer(JSON_232, Codec::None, (16 << 20) / partitions);
    let options = DecodeOptions::new();
    // Bytes of their own, as each partition has them.
    let answers: Vec<Answer> = (0..partitions)
        .map(|_| {
            let mut own = one.clone();
            own.fetched.records = own.fetched.records.to_vec().into();
            own
        })
        .collect();
    counted(bencher, one.records * partitions, one.plain_bytes * partitions).bench(|| {
        let answers = divan::black_box(&answers).iter();
        answers.map(|answer| answer.decode(&options).unwrap()).sum::<usize>()
    });
}

/// One thread, and two at once on answers of their own: as long as decoders share nothing, both
/// take the time that one takes, and together do twice as much.
#[divan::bench(args = ["none", "lz4", "zstd"], threads = [1, 2])]
fn threads(bencher: Bencher<'_, '_>, name: &str) {
    let answer = answer(JSON_232, codec(name), ANSWER_BYTES);
    decode(bencher, &answer, Columns::default());
}
