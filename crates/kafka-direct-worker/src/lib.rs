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
//! fn rows(planned: &PlannedRange, answers: Vec<Fetched>) -> Result<usize, WorkerError> {
//!     let mut decoder = RangeDecoder::new(planned, DecodeOptions::new());
//!     let mut rows = 0;
//!     for fetched in answers {
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
