//! Where a test may end a run as if its process had been killed.
//!
//! Contract: outside tests no step ever fails. Every change of the file system has a step before
//! it, so a test that dies at each step in turn has seen every state a killed process can leave.
//! After a kill nothing is cleaned up: a dead process would not have either.

#[cfg(test)]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::exit::Failure;

/// The moment at which a run dies: never, but in tests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kill {
    #[cfg(test)]
    steps_left: Option<Arc<AtomicU64>>,
}

impl Kill {
    /// What production passes in.
    pub(crate) fn never() -> Self {
        Self::default()
    }

    /// Announces a change of the file system.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests build another body")]
    pub(crate) const fn step(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Whether the run is over.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests build another body")]
    pub(crate) const fn is_over(&self) -> bool {
        false
    }
}

#[cfg(test)]
impl Kill {
    /// Dies instead of taking step number `steps`, from 0.
    pub(crate) fn before_step(steps: u64) -> Self {
        Self { steps_left: Some(Arc::new(AtomicU64::new(steps))) }
    }

    pub(crate) fn step(&self) -> Result<(), Failure> {
        let Some(left) = &self.steps_left else { return Ok(()) };
        let one_less = |left: u64| left.checked_sub(1);
        let taken = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
        taken.map(drop).map_err(|_| Failure::unmet("killed by a test"))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.steps_left.as_ref().is_some_and(|left| left.load(Ordering::Acquire) == 0)
    }
}
