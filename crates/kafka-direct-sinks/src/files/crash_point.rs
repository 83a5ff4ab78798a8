//! Points at which a test can end a run as if its process had been killed.
//!
//! Contract: outside tests no step ever fails. Every change of the file system has a step before
//! it, so a test that ends a run at each step in turn sees every state a killed process can leave.
//! After a crash nothing is cleaned up, as a dead process would not clean up either.

#[cfg(test)]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::Error;

/// The step before which a run ends. Only tests set one.
#[derive(Debug, Clone, Default)]
pub(crate) struct CrashPoint {
    #[cfg(test)]
    steps_left: Option<Arc<AtomicU64>>,
    #[cfg(test)]
    observer: Option<Observer>,
}

/// What a test does before every step.
#[cfg(test)]
#[derive(Clone)]
struct Observer(Arc<dyn Fn() + Send + Sync>);

#[cfg(test)]
impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observer")
    }
}

impl CrashPoint {
    /// A run that no test ends.
    pub(crate) fn never() -> Self {
        Self::default()
    }

    /// Announces a change of the file system.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests build another body")]
    pub(crate) const fn step(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Whether a test has ended the run.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests build another body")]
    pub(crate) const fn has_crashed(&self) -> bool {
        false
    }
}

#[cfg(test)]
impl CrashPoint {
    /// Ends the run instead of taking step number `steps`, from 0.
    pub(crate) fn before_step(steps: u64) -> Self {
        Self { steps_left: Some(Arc::new(AtomicU64::new(steps))), observer: None }
    }

    /// Calls `observer` before every step that is taken.
    pub(crate) fn observed_by(mut self, observer: impl Fn() + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer(Arc::new(observer)));
        self
    }

    pub(crate) fn step(&self) -> Result<(), Error> {
        if let Some(Observer(observer)) = &self.observer {
            observer();
        }
        let Some(left) = &self.steps_left else { return Ok(()) };
        let one_less = |left: u64| left.checked_sub(1);
        let taken = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
        taken.map(drop).map_err(|_| Error::Internal { message: "killed by a test".to_owned() })
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.steps_left.as_ref().is_some_and(|left| left.load(Ordering::Acquire) == 0)
    }
}
