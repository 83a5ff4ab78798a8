//! Pure planning for kafka-direct: watermarks, a selection and limits become a batch plan.
//!
//! The way through: [`lookups_needed`] says which questions only the cluster can respond (offsets by
//! timestamp, committed offsets); the caller asks them and fills [`Lookups`]; [`plan`] turns
//! everything into a [`BatchPlan`](kafka_direct_core::BatchPlan). Ranges that are known already go
//! through [`plan_ranges`].
//!
//! **Promises:** a plan is a pure function of its inputs and does not depend on their order
//! (INV-1); every planned range lies inside what its partition held when the watermarks were taken;
//! nothing is clamped without a recorded reset; pieces of one range have no gap and no overlap
//! (INV-2); no arithmetic overflows, whatever the numbers.
//!
//! **Does not know:** sockets, async runtimes, files, clocks, Arrow, or what a record looks like.
//!
//! # Map
//!
//! - `offsets.rs`: `StartOffset`, `EndOffset`: where to start and where to stop, as a caller says it
//! - `selection.rs`: `Selection`: starts, ends, isolation, policy and limits, also by partition
//! - `numbers.rs`: checks the numbers a caller gave for one partition
//! - `partition_state.rs`: `PartitionState`, what the cluster says about a partition before a plan
//! - `lookups.rs`: `lookups_needed`, the questions only the cluster can respond; `Lookups`, the answers
//! - `resolve.rs`: one partition's start and end become offsets inside its log, or a data loss
//! - `split.rs`: `split` cuts large ranges into pieces, as Spark does
//! - `plan.rs`: `plan` and `plan_ranges` put the steps together
//! - `table.rs`: `PlanTable`, a plan as text for people
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
mod table;

pub use error::{DriverError, Side};
pub use lookups::{Lookup, Lookups, lookups_needed};
pub use offsets::{EndOffset, NoMatch, StartOffset};
pub use partition_state::PartitionState;
pub use plan::{plan, plan_ranges};
pub use selection::{ByPartition, Ends, Selection, Starts};
pub use split::{MAX_PLANNED_RANGES, split};
pub use table::PlanTable;
