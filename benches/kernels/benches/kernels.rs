//! Times of the kernels: plan, decode by codec and size, projections, many decoders, two threads.
//!
//! `just bench` runs all, and `just bench decode` runs those with the word in their name. Inputs
//! are in the processor's caches, like a response that was just read from a socket.

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use kafka_direct_core::Codec;
use kafka_direct_driver::Selection;
use kafka_direct_kernels::{
    batches::Recipe,
    partitions::{partitions, plan_all},
    responses::Response,
    values::Values,
};
use kafka_direct_worker::{Column, Columns, DecodeOptions};

/// Typical bytes of one partition in one response, before compression.
const RESPONSE_BYTES: usize = 1 << 20;
/// Bytes of a full batch of the loads of `benches/compare`, before compression.
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

/// Builds a response of about `bytes` in full batches.
fn response(values: Values, codec: Codec, bytes: usize) -> Response {
    let records_per_batch = BATCH_BYTES / bytes_of(values);
    let recipe = Recipe { values, codec, records_per_batch };
    Response::new(recipe.write(bytes / bytes_of(values)).unwrap(), 0)
}

/// Makes the bench report records, and bytes of records before compression, per second.
fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, records: usize, bytes: usize) -> Bencher<'a, 'b> {
    bencher.counter(ItemsCount::new(records)).counter(BytesCount::new(bytes))
}

fn decode(bencher: Bencher<'_, '_>, response: &Response, columns: Columns) {
    let options = DecodeOptions::new().columns(columns);
    assert_eq!(response.decode(&options).unwrap(), response.records);
    counted(bencher, response.records, response.plain_bytes)
        .bench(|| divan::black_box(response).decode(&options).unwrap());
}

/// Plans `count` partitions, which are the items; the time is proportional to them.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn plan(bencher: Bencher<'_, '_>, count: usize) {
    let states = partitions(count);
    let selection = Selection::new();
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| states.clone())
        .bench_values(|states| plan_all(&selection, states).unwrap());
}

/// Plans `count` partitions, each split into ten ranges.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn plan_split(bencher: Bencher<'_, '_>, count: usize) {
    let states = partitions(count);
    let selection = Selection::new().min_partitions(10 * count as u64);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| states.clone())
        .bench_values(|states| plan_all(&selection, states).unwrap());
}

/// Decodes all default columns, by codec.
mod decode {
    use super::*;

    #[divan::bench(args = CODECS)]
    fn letters_100(bencher: Bencher<'_, '_>, name: &str) {
        decode(bencher, &response(LETTERS_100, codec(name), RESPONSE_BYTES), Columns::default());
    }

    #[divan::bench(args = CODECS)]
    fn json_232(bencher: Bencher<'_, '_>, name: &str) {
        decode(bencher, &response(JSON_232, codec(name), RESPONSE_BYTES), Columns::default());
    }

    #[divan::bench(args = CODECS)]
    fn letters_1024(bencher: Bencher<'_, '_>, name: &str) {
        decode(bencher, &response(LETTERS_1024, codec(name), RESPONSE_BYTES), Columns::default());
    }

    /// Decodes batches of one record of 100 B.
    #[divan::bench(args = CODECS)]
    fn tiny(bencher: Bencher<'_, '_>, name: &str) {
        let recipe = Recipe { values: LETTERS_100, codec: codec(name), records_per_batch: 1 };
        let response = Response::new(recipe.write(RESPONSE_BYTES / 10 / 100).unwrap(), 0);
        decode(bencher, &response, Columns::default());
    }
}

/// Reads uncompressed JSON of 232 B with different columns, which determine the work.
#[divan::bench(args = ["checksums", "count", "no columns", "offset, timestamp", "value views", "key, value views", "default"])]
fn columns(bencher: Bencher<'_, '_>, name: &str) {
    let response = response(JSON_232, Codec::None, RESPONSE_BYTES);
    let of = |columns: &[Column]| columns.iter().copied().collect();
    let columns = match name {
        "checksums" => {
            return counted(bencher, response.records, response.plain_bytes)
                .bench(|| divan::black_box(&response).checksums());
        }
        "count" => {
            let options = DecodeOptions::new();
            return counted(bencher, response.records, response.plain_bytes)
                .bench(|| divan::black_box(&response).scan(&options).unwrap());
        }
        "no columns" => Columns::none(),
        "offset, timestamp" => of(&[Column::Offset, Column::Timestamp]),
        "value views" => of(&[Column::Value]),
        "key, value views" => of(&[Column::Key, Column::Value]),
        _ => Columns::default(),
    };
    decode(bencher, &response, columns);
}

/// Decodes 16 MiB of 232 B JSON, divided into `partitions` responses with one decoder each.
#[divan::bench(args = [1, 10, 100, 1_000])]
fn responses(bencher: Bencher<'_, '_>, partitions: usize) {
    let one = response(JSON_232, Codec::None, (16 << 20) / partitions);
    let options = DecodeOptions::new();
    // Every response has its own bytes, as every partition has.
    let responses: Vec<Response> = (0..partitions)
        .map(|_| {
            let mut own = one.clone();
            own.fetched.records = own.fetched.records.to_vec().into();
            own
        })
        .collect();
    counted(bencher, one.records * partitions, one.plain_bytes * partitions).bench(|| {
        let responses = divan::black_box(&responses).iter();
        responses.map(|response| response.decode(&options).unwrap()).sum::<usize>()
    });
}

/// Decodes on one thread, and on two at once with separate responses.
///
/// While decoders share nothing, two threads take the time of one and decode twice as much.
#[divan::bench(args = ["none", "lz4", "zstd"], threads = [1, 2])]
fn threads(bencher: Bencher<'_, '_>, name: &str) {
    let response = response(JSON_232, codec(name), RESPONSE_BYTES);
    decode(bencher, &response, Columns::default());
}
