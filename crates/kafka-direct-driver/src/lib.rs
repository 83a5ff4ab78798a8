//! The planner of kafka-direct: turns watermarks, a selection and limits into a batch plan.
//!
//! The steps of a caller:
//!
//! 1. [`lookups_needed`] returns the lookups that only the cluster can do: offsets by timestamp and
//!    committed offsets.
//! 2. The caller sends them to the cluster and puts their results into [`Lookups`].
//! 3. [`plan`] builds the [`BatchPlan`](kafka_direct_core::BatchPlan).
//!
//! For ranges that are known already, [`plan_ranges`] does it in one step. For the micro-batches of a
//! stream, [`next_batch`] plans one after the other.
//!
//! **Promises:**
//!
//! - A plan is a pure function of its inputs and does not depend on their order (INV-1).
//! - Every planned range is inside the log of its partition at the time of the watermarks.
//! - Nothing is clamped without a recorded reset.
//! - Pieces of one range have no gap and no overlap (INV-2).
//! - No arithmetic overflows, whatever the numbers.
//!
//! **Out of scope:** sockets, async runtimes, files, Arrow, and the contents of records. Planning has
//! no clock: only parsing `@-1h` as a start or an end reads the time.
//!
//! # Map
//!
//! - `offsets.rs`: `StartOffset`, `EndOffset`: where a partition starts and stops, as the caller
//!   gives it
//! - `selection.rs`: `Selection`: starts, ends, isolation, policy and limits, also by partition
//! - `numbers.rs`: checks the numbers that a caller gives for one partition
//! - `partition_state.rs`: `PartitionState`, the metadata of a partition before a plan
//! - `lookups.rs`: `lookups_needed`, the lookups that only the cluster can do; `Lookups`, their
//!   results
//! - `resolve.rs`: resolves one partition's start and end to offsets inside its log, or a data loss
//! - `split.rs`: `split` cuts large ranges into pieces, as Spark does
//! - `plan.rs`: `plan` and `plan_ranges` run the steps in order
//! - `stream/mod.rs`: the micro-batches of a stream; `stream/next_batch.rs`: `next_batch` plans one;
//!   `stream/follow.rs`: which partitions it reads, and from where
//! - `stream/positions.rs`: `Positions`, where a stream continues in each partition;
//!   `stream/continued.rs` compares them with the log; `stream/starts.rs`: where it starts in others
//! - `stream/limits.rs`: `StreamLimits`; `stream/pacing.rs`: `Pacing`, their state;
//!   `stream/share.rs`: shares a limit by lag; `stream/tokens.rs`: token buckets for rates;
//!   `stream/trigger_gate.rs`: delays small batches
//! - `stream/pid.rs`: `PidEstimator` estimates the rate that a stream can process
//! - `stream/groups.rs`: `group_ranges`, which ranges share a writer
//! - `stream/target_ends.rs`: `TargetEnds`, where a stream of the available data stops
//! - `table.rs`: `PlanTable` prints a plan as text
//! - `text/mod.rs`: parses starts and ends; `text/offset_spec.rs`: `OffsetSpec`, their grammar;
//!   `text/time.rs`, `text/duration.rs`: times and durations
//! - `error.rs`: `DriverError`

#![deny(clippy::arithmetic_side_effects)]

mod error;
mod lookups;
mod numbers;
mod offsets;
mod partition_state;
mod plan;
mod resolve;
mod selection;
mod split;
mod stream;
mod table;
mod text;

pub use error::{DriverError, Side};
pub use lookups::{Lookup, Lookups, lookups_needed};
pub use offsets::{EndOffset, NoMatch, StartOffset};
pub use partition_state::PartitionState;
pub use plan::{plan, plan_ranges};
pub use selection::{ByPartition, Ends, Selection, Starts};
pub use split::{MAX_PLANNED_RANGES, split};
pub use stream::{
    Backpressure, CompletedBatch, LearntRate, NextBatch, Observed, Pacing, PidEstimator,
    PidSettings, Position, Positions, ResolvedStarts, StreamLimits, StreamSettings, TargetEnds,
    WaitReason, group_ranges, needs_start, next_batch, resolve_starts,
};
pub use table::PlanTable;
pub use text::{OffsetSpec, parse_duration};
