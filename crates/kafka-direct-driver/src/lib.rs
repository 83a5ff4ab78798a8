//! Pure planning for kafka-direct: watermarks, a selection and limits become a batch plan.
//!
//! The way through: [`lookups_needed`] says which questions only the cluster can answer (offsets by
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
