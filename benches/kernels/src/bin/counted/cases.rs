//! The cases, each of which does a fixed piece of work once.

use kafka_direct_core::Codec;
use kafka_direct_driver::{PartitionState, Selection};
use kafka_direct_kernels::{
    batches::Recipe,
    partitions::{partitions, plan_all},
    responses::Response,
    values::Values,
};
use kafka_direct_worker::{Column, Columns, DecodeOptions};

use crate::BoxError;

/// One kernel and its input, whose instructions and allocations per item are counted.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Number of records, or of partitions of a plan.
    pub(crate) items: usize,
    work: Work,
}

enum Work {
    Decode(Vec<Response>, DecodeOptions),
    Count(Response),
    Plan(Vec<PartitionState>),
}

impl Case {
    /// Does the work once.
    pub(crate) fn run(&self) -> Result<(), BoxError> {
        let done = match &self.work {
            Work::Decode(responses, options) => {
                let rows = responses.iter().map(|response| response.decode(options));
                rows.sum::<Result<usize, _>>()?
            }
            Work::Count(response) => response.scan(&DecodeOptions::new())?,
            Work::Plan(states) => plan_all(&Selection::new(), states.clone())?,
        };
        if done != self.items {
            return Err(format!("{}: {done} items instead of {}", self.name, self.items).into());
        }
        Ok(())
    }

    /// Does once the part of the work that is not counted.
    ///
    /// This is the checksums, whose code depends on the processor, and the copy of the partitions,
    /// which a plan consumes.
    pub(crate) fn run_uncounted(&self) {
        std::hint::black_box(match &self.work {
            Work::Decode(responses, _) => {
                responses.iter().fold(0, |all, one| all ^ one.checksums())
            }
            Work::Count(response) => response.checksums(),
            Work::Plan(states) => states.clone().len() as u32,
        });
    }
}

/// Builds a response of 2,000 records in batches of 500 (JSON: 116 KiB each before compression).
fn response(values: Values, codec: Codec) -> Result<Response, BoxError> {
    let recipe = Recipe { values, codec, records_per_batch: 500 };
    Ok(Response::new(recipe.write(2_000)?, 0))
}

fn decode(name: &'static str, responses: Vec<Response>, columns: Columns) -> Case {
    let items = responses.iter().map(|response| response.records).sum();
    let options = DecodeOptions::new().columns(columns);
    Case { name, items, work: Work::Decode(responses, options) }
}

pub(crate) fn all() -> Result<Vec<Case>, BoxError> {
    let (letters, long) = (Values::Letters { bytes: 100 }, Values::Letters { bytes: 1024 });
    let json = Values::Json { bytes: 232 };
    let every = Columns::default();
    let mut cases = Vec::new();
    for (name, values, codec) in [
        ("decode 100 B, none", letters, Codec::None),
        ("decode 1 KiB, none", long, Codec::None),
        ("decode 232 B JSON, none", json, Codec::None),
        ("decode 232 B JSON, gzip", json, Codec::Gzip),
        ("decode 232 B JSON, snappy", json, Codec::Snappy),
        ("decode 232 B JSON, lz4", json, Codec::Lz4),
        ("decode 232 B JSON, zstd", json, Codec::Zstd),
    ] {
        cases.push(decode(name, vec![response(values, codec)?], every));
    }
    let tiny = Recipe { values: letters, codec: Codec::None, records_per_batch: 1 };
    cases.push(decode(
        "decode batches of one record",
        vec![Response::new(tiny.write(2_000)?, 0)],
        every,
    ));
    let few = Recipe { values: json, codec: Codec::None, records_per_batch: 10 };
    let hundred = (0..100).map(|partition| Ok(Response::new(few.write(20)?, partition)));
    let hundred = hundred.collect::<Result<Vec<_>, BoxError>>()?;
    cases.push(decode("decode 100 responses of 20 records", hundred, every));
    let without_values: Columns = [Column::Offset, Column::Timestamp].into_iter().collect();
    let plain = response(json, Codec::None)?;
    cases.push(decode("offset and timestamp of 232 B JSON", vec![plain.clone()], without_values));
    let items = plain.records;
    cases.push(Case { name: "count 232 B JSON", items, work: Work::Count(plain) });
    for (name, items) in [("plan 1000 partitions", 1_000), ("plan 10000 partitions", 10_000)] {
        cases.push(Case { name, items, work: Work::Plan(partitions(items)) });
    }
    Ok(cases)
}
