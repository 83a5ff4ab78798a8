//! Decodes the fetched bytes of one planned range into Arrow record batches.
//!
//! **Promises:**
//!
//! - Decoding is a pure function of the bytes and the options.
//! - Every visible record of the range is delivered exactly once, in order, however the bytes were
//!   divided into responses (INV-3).
//! - Under read_committed no aborted record is delivered (INV-7).
//! - Nothing panics on any input. [`DecodeOptions`] bounds the memory, whatever a length field or a
//!   compressed batch claims (INV-8).
//! - Keys and values are views over the fetched or the decompressed bytes, never copies.
//!
//! **Out of scope:** sockets, files, clocks, async runtimes, plans of more than one range, or what
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
//! - `options.rs`, `columns.rs`: `DecodeOptions` and `Columns`, the caller's options
//! - `schema.rs`: the Arrow schema of a set of columns
//! - `decoder.rs`: `RangeDecoder`, which decodes `Fetched` into Arrow batches
//! - `scan.rs`: `scan`, which counts the visible records and decodes only what the count needs
//! - `input.rs`: walks one `Fetched` batch by batch, checks checksums, and drops control batches,
//!   aborted batches and batches outside the range
//! - `abort.rs`: which transactional batches were aborted
//! - `record.rs`: parses the records of a batch into rows, for every shape and set of columns
//! - `quick.rs`: the hot loop, for records of the usual shape and the usual columns
//! - `cursor.rs`: what the records of a batch have in common, and how far they are parsed
//! - `varint.rs`: zigzag varints, and fields that have a varint as their length
//! - `rows/mod.rs`: the Arrow batch that is being filled
//! - `rows/views.rs`: 16-byte Arrow views over keys and values, which are not copied
//! - `rows/sources.rs`: the buffers that the views point into
//! - `rows/chunk.rs`: parsed records that are not rows yet
//! - `rows/headers.rs`, `rows/times.rs`: the columns of headers and of timestamps
//! - `rows/constants.rs`: columns that have the same value in every row
//! - `rows/nulls.rs`: the bitmap of null rows
//! - `arena.rs`: the buffer that holds decompressed batches
//! - `codec/mod.rs`: bounded decompression; `codec/gzip.rs`, `codec/lz4.rs`, `codec/snappy.rs` and
//!   `codec/zstd.rs` decode one format each
//! - `counts.rs`: `Counts`, the totals of a decoder, and `Codecs`
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
pub use counts::{Codecs, Counts};
pub use decoder::RangeDecoder;
pub use error::WorkerError;
pub use options::DecodeOptions;
pub use scan::scan;
pub use schema::schema;
