//! A plan in a file: the first process writes it, all others read it as it is.
//!
//! Contract: a plan file is never changed. Of processes that race to create it one succeeds, and all
//! continue with its plan. The file and its name are on disk before anything is read from Kafka.

use std::{future::Future, path::Path};

use kafka_direct::BatchPlan;

use super::receipt::Receipt;
use crate::{
    Error,
    files::{CrashPoint, durable},
};

/// The plan in the file at `path`, with its text; `None` if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<(BatchPlan, String)>, Error> {
    let Some(text) = durable::read(path)? else { return Ok(None) };
    let plan = BatchPlan::from_json(&text).map_err(|error| {
        if Receipt::from_json(&text, path).is_ok() {
            return Error::invalid(format!(
                "{} is the receipt of a job, not a plan; to continue after that job start at its receipt (--after)",
                path.display()
            ));
        }
        Error::invalid(format!("{}: {error}; name another file, or remove it", path.display()))
    })?;
    durable::sweep_temporaries_of(path);
    Ok(Some((plan, text)))
}

/// The plan in the file at `path`; if there is none, the plan that `resolve` returns is written there
/// first, unless another process was faster.
///
/// # Errors
/// [`Error::Invalid`] for a file that is no plan; [`Error::Io`]; what `resolve` returns.
pub async fn load_or_create<E, Fut>(
    path: &Path,
    resolve: impl FnOnce() -> Fut + Send,
) -> Result<BatchPlan, E>
where
    E: From<Error>,
    Fut: Future<Output = Result<BatchPlan, E>> + Send,
{
    if let Some((plan, _)) = read(path)? {
        return Ok(plan);
    }
    let plan = resolve().await?;
    Ok(create(path, &plan, &CrashPoint::never())?.0)
}

/// Writes `plan` to `path` unless the file exists; returns the plan that is in the file then, with
/// its text.
pub(crate) fn create(
    path: &Path,
    plan: &BatchPlan,
    crash: &CrashPoint,
) -> Result<(BatchPlan, String), Error> {
    let text = plan.to_json();
    if durable::create_if_absent(path, text.as_bytes(), crash)? {
        durable::sweep_temporaries_of(path);
        return Ok((plan.clone(), text));
    }
    read(path)?.ok_or_else(|| durable::failed("reading", path)(std::io::ErrorKind::NotFound.into()))
}

/// The first difference between two plans, in words for people; `None` if they read the same ranges
/// of the same cluster under the same isolation level.
pub(crate) fn difference(here: &BatchPlan, wanted: &BatchPlan) -> Option<String> {
    if here.cluster() != wanted.cluster() {
        let name = |plan: &BatchPlan| plan.cluster().unwrap_or("without an id").to_owned();
        return Some(format!("its plan is for cluster {}, yours for {}", name(here), name(wanted)));
    }
    if here.isolation() != wanted.isolation() {
        return Some(format!(
            "its plan reads under {}, yours under {}",
            here.isolation(),
            wanted.isolation()
        ));
    }
    let mut wanted_ranges = wanted.ranges().iter();
    for range in here.ranges() {
        match wanted_ranges.next() {
            Some(other) if other == range => {}
            Some(other) if other.range() == range.range() => {
                return Some(format!("the topic of {} was re-created in between", range.range()));
            }
            Some(other) => {
                return Some(format!("its plan has {}, yours {}", range.range(), other.range()));
            }
            None => return Some(format!("its plan has {}, yours does not", range.range())),
        }
    }
    wanted_ranges.next().map(|more| format!("your plan has {}, its plan does not", more.range()))
}
