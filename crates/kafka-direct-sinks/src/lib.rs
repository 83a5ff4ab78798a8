//! Writes offset ranges of Kafka topics to files: output formats, batch jobs that can be killed and run
//! again, and folders that streams write into exactly once. With the feature `kafka` also to topics, at
//! least once.
//!
//! **Promises:** a file appears under its name only when it is complete and durable; a job that is
//! killed at any moment and run again leaves one complete file per planned range, each record once;
//! a job that is done reads nothing and asks no broker; a reader of a stream's folder finds the records
//! of committed batches, each once, at any moment.
//!
//! **Out of scope:** terminals, flags, schedules.
//!
//! ```no_run
//! use kafka_direct::{Cluster, ClusterConfig, KafkaRdd};
//! use kafka_direct_sinks::{BatchJob, Format};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::connect(ClusterConfig::new(["localhost:9092"])).await?;
//! let selection = KafkaRdd::builder(&cluster).topic("orders");
//! let done = BatchJob::new("orders-2025-01-01", Format::JsonLines).run(selection).await?;
//! println!("{done}");
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! - `error.rs`: `Error`
//! - `atomic_file.rs`: `AtomicFile`, a file that appears when it is complete
//! - `format/mod.rs`: `Format`, and `Encoder`: Arrow batches to bytes
//! - `format/jsonl.rs`, `format/csv.rs`, `format/raw.rs`, `format/parquet.rs`: one format each
//! - `format/arrow.rs`: Arrow IPC as a file and as a stream
//! - `format/arrow_types.rs`: `ArrowTypes`, views or plain types
//! - `format/plain.rs`: batches with plain types
//! - `format/rows.rs`: `Rows`, typed access to the columns of a batch
//! - `format/cells.rs`: `Cells`, keys or values as they were read or decoded
//! - `format/json_object.rs`: structs as JSON objects
//! - `format/json_text.rs`: JSON strings and base64
//! - `format/json_values.rs`: values that are JSON, embedded in JSON lines
//! - `format/buffers.rs`: `Buffers`, output buffers that are used again
//! - `job/mod.rs`: `BatchJob`, what a job promises and how it is set up
//! - `job/run.rs`: a job from its first question to its receipt
//! - `job/sink.rs`: `FolderSink`, the job folder as a sink of the engine
//! - `job/plan_file.rs`: a plan in a file, written once
//! - `job/folder.rs`: which job owns a folder, and which of its ranges are finished
//! - `job/settings.rs`: what a re-run must agree with
//! - `job/range_file.rs`: the file of one range while it is written
//! - `job/receipt.rs`: receipts, and the check that a range's file is complete
//! - `job/verify.rs`: `verify`, which checks a finished folder against its receipt
//! - `job/tests.rs`: a job ended at each of its steps
//! - `stream_folder/mod.rs`: `StreamFolder`, a stream's files in a local folder
//! - `stream_folder/sink.rs`: the folder as a sink of the engine
//! - `stream_folder/writer.rs`: the files of a group of ranges
//! - `stream_folder/partition_by.rs`: `PartitionBy`, folders by topic, date and hour
//! - `stream_folder/store.rs`: the commit protocol on disk
//! - `stream_folder/manifest.rs`: the manifest of a batch
//! - `stream_folder/claim.rs`: whether a stream may write into a folder
//! - `stream_folder/layout.rs`: paths and temporary names
//! - `stream_folder/crash_tests.rs`, `stream_folder/tests.rs`: crashes and drivers that meet; the rest
//! - `stream_folder/test_driver.rs`: `Driver`, which the tests run
//! - `kafka_topic/mod.rs`: topics as outputs, with the feature `kafka`
//! - `kafka_topic/sink.rs`: `KafkaTopicSink`, a topic as a sink of the engine
//! - `kafka_topic/dead_letters.rs`: `DeadLetterTopic`, a topic for records that could not be processed
//! - `kafka_topic/producer.rs`: `Producer`, which writes batches to one topic until they are acknowledged
//! - `kafka_topic/batches.rs`: `ProducerBatches`, records collected into batches per partition
//! - `kafka_topic/record.rs`: `ProducerRecord`, one record to write
//! - `kafka_topic/headers.rs`: headers as rskafka can write them
//! - `kafka_topic/partitioner.rs`: the partition of a key, as Kafka's Java producer chooses it
//! - `kafka_topic/client_error.rs`: what an error of rskafka means
//! - `null_sink.rs`: `NullSink`, which counts rows and discards them
//! - `files/mod.rs`: what jobs and streams share
//! - `files/durable.rs`: files that survive a power cut
//! - `files/temporary_file.rs`: `TemporaryFile`, a file under a temporary name
//! - `files/encoded_file.rs`: `EncodedFile`, batches encoded into a file off the runtime's threads
//! - `files/content.rs`: `FileReceipt`, the size and checksum of a file
//! - `files/file_name.rs`: names of the files of ranges
//! - `files/crash_point.rs`: `CrashPoint`, at which a test ends a run

mod atomic_file;
mod error;
mod files;
pub mod format;
pub mod job;
#[cfg(feature = "kafka")]
pub mod kafka_topic;
mod null_sink;
mod stream_folder;

pub use self::{
    atomic_file::AtomicFile,
    error::Error,
    format::{ArrowTypes, Format},
    job::{BatchJob, JobOutcome},
    null_sink::{NullSink, NullWriter},
    stream_folder::{
        PartitionBy, StagedFile, StreamFolder, StreamFolderBuilder, StreamFolderWriter,
    },
};
