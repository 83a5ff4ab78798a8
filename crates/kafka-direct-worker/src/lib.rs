//! One planned range's fetched bytes to Arrow record batches.
//!
//! **Promises:** decoding is a pure function of the bytes and the options; every visible record of
//! the range comes out exactly once, in order, however the bytes were cut (INV-3); under
//! read_committed no aborted record comes out (INV-7); nothing panics on any input, and memory is
//! bounded by [`DecodeOptions`] whatever a length field or a compressed batch claims (INV-8); keys
//! and values are views over the fetched (or the decompressed) bytes, never copies.
//!
//! **Does not know:** sockets, files, clocks, async runtimes, plans of more than one range, or what
//! keys and values mean.
//!
//! ```
//! use kafka_direct_core::{Fetched, IsolationLevel, OffsetRange, PlannedRange, TopicPartition};
//! use kafka_direct_worker::{DecodeOptions, RangeDecoder, WorkerError};
//!
//! fn rows(planned: &PlannedRange, responses: Vec<Fetched>) -> Result<usize, WorkerError> {
//!     let mut decoder = RangeDecoder::new(planned, DecodeOptions::new());
//!     let mut rows = 0;
//!     for fetched in responses {
//!         decoder.push(fetched)?;
//!         while let Some(batch) = decoder.next_batch()? {
//!             rows += batch.num_rows();
//!         }
//!     }
//!     Ok(rows + decoder.flush()?.map_or(0, |batch| batch.num_rows()))
//! }
//! # let range = OffsetRange::new(TopicPartition::new("t", 0), 0, 9).unwrap();
//! # let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted);
//! # assert_eq!(rows(&planned, vec![]).unwrap(), 0);
//! ```
//!
//! # Map
//!
//! - `options.rs`, `columns.rs`: what is asked for: `DecodeOptions`, `Columns`
//! - `schema.rs`: the Arrow schema of a set of columns
//! - `decoder.rs`: `RangeDecoder`: takes `Fetched`, gives Arrow batches
//! - `scan.rs`: `scan` counts the visible records and decodes no more than that needs
//! - `input.rs`: walks one `Fetched` batch by batch; checks checksums; drops control batches, aborted
//!   batches and batches outside the range
//! - `abort.rs`: which transactional batches were aborted
//! - `record.rs`: parses the records of a batch into rows, whatever their shape
//! - `quick.rs`: the hot loop, for records of the usual shape and the usual columns
//! - `cursor.rs`: what the records of a batch have in common, and how far they are parsed
//! - `varint.rs`: zigzag varints, and fields that have one as their length
//! - `rows/mod.rs`: the Arrow batch that is being filled
//! - `rows/views.rs`: 16-byte Arrow views over keys and values that are not copied
//! - `rows/sources.rs`: the buffers that the views point into
//! - `rows/chunk.rs`: records that are parsed and are not rows yet
//! - `rows/headers.rs`, `rows/times.rs`: the columns of headers and of timestamps
//! - `rows/constants.rs`: columns that are the same in every row
//! - `rows/nulls.rs`: the bitmap of null rows
//! - `arena.rs`: the buffer that compressed batches are decompressed into
//! - `codec/mod.rs`: bounded decompression; `codec/gzip.rs`, `codec/lz4.rs`, `codec/snappy.rs` and
//!   `codec/zstd.rs` do one format each
//! - `counts.rs`: `Counts`, what was decoded so far
//! - `error.rs`: `WorkerError`

mod abort;
mod arena;
mod codec;
mod columns;
mod counts;
mod cursor;
mod decoder;
mod error;
mod input;
mod options;
mod quick;
mod record;
mod rows;
mod scan;
mod schema;
mod varint;

pub use columns::{Column, Columns};
pub use counts::Counts;
pub use decoder::RangeDecoder;
pub use error::WorkerError;
pub use options::DecodeOptions;
pub use scan::scan;
pub use schema::schema;
