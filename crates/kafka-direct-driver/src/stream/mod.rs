//! Plans the micro-batches of a stream, one after the other.
//!
//! The steps of a caller, for each batch:
//!
//! 1. It gets the state of the subscribed partitions from the cluster.
//! 2. [`needs_start`] returns the partitions that follow the stream's own start. The caller resolves
//!    their starts with [`resolve_starts`].
//! 3. [`next_batch`] plans the batch, from [`Positions`] and under the limits of [`Pacing`].
//! 4. The caller stores the plan and [`NextBatch::positions`], and reads the ranges. It corrects the
//!    positions of ranges that ended early with [`Positions::set_achieved_end`].
//! 5. [`Pacing::batch_completed`] adjusts the rate.

mod continued;
mod follow;
mod groups;
mod limits;
mod next_batch;
mod pacing;
mod pid;
mod positions;
mod share;
mod starts;
mod target_ends;
mod tokens;
mod trigger_gate;

pub use groups::group_ranges;
pub use limits::{Backpressure, StreamLimits};
pub use next_batch::{NextBatch, Observed, StreamSettings, WaitReason, next_batch};
pub use pacing::Pacing;
pub use pid::{CompletedBatch, LearntRate, PidEstimator, PidSettings};
pub use positions::{Position, Positions};
pub use starts::{ResolvedStarts, needs_start, resolve_starts};
pub use target_ends::TargetEnds;
