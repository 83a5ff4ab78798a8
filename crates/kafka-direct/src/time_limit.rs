//! A limit for the time that one call of a sink or closure takes.

use std::{future::Future, time::Duration};

use crate::{BoxError, Error};

/// The output of `work`, or [`Error::SinkTimeout`], which names `call`, if it takes longer than `limit`.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    call: &'static str,
    work: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    let Some(limit) = limit else { return work.await };
    match tokio::time::timeout(limit, work).await {
        Ok(returned) => returned,
        Err(_) => Err(Error::SinkTimeout { call, limit }.into()),
    }
}
