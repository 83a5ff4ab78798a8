//! The start of a driver on a checkpoint: the stream's identity, and the claim of a generation.
//!
//! Contract: the generation is claimed before the files are read, so that what an older driver
//! writes after they were read is found later, and adopted.

use std::sync::Arc;

use kafka_direct_core::ErrorKind;

use super::{
    entry::{CHECKPOINT_VERSION, GenerationMarker, StreamMeta},
    files::{Files, GENERATIONS, META, OFFSETS},
    ids::{Generation, StreamId, WriterNonce},
    log::StreamLog,
    state::CheckpointState,
    store::CheckpointStore,
};
use crate::Error;

impl StreamLog {
    /// Opens the checkpoint in `store`, or creates it, and claims its next generation: any other driver
    /// on it is fenced from then on. `cluster` is the id of the cluster that the stream reads.
    ///
    /// The returned state is what the claimed generation continues from.
    ///
    /// # Errors
    /// As [`CheckpointState::read`]; [`ErrorKind::Invalid`] for a checkpoint of another cluster.
    pub async fn open(
        store: Arc<dyn CheckpointStore>,
        cluster: Option<&str>,
        time_millis: i64,
    ) -> Result<(Self, CheckpointState), Error> {
        let files = Files::new(store);
        let meta = open_meta(&files, cluster, StreamId::random()).await?;
        Self::claim(files, meta, Generation::new(0), time_millis).await
    }

    /// Claims the next generation, which is above `above`, and reads what it continues from.
    pub(super) async fn claim(
        files: Files,
        meta: StreamMeta,
        above: Generation,
        time_millis: i64,
    ) -> Result<(Self, CheckpointState), Error> {
        let nonce = WriterNonce::random();
        let generation = claim(&files, &meta, nonce, above, time_millis).await?;
        // After the claim: what an older driver writes from now on is adopted.
        let state = CheckpointState::of(&files, meta.clone()).await?;
        let last = state.last.as_ref();
        let log = Self {
            files,
            meta,
            generation,
            nonce,
            last: last.map(|batch| batch.batch()),
            positions: last.map(|batch| batch.continues_at()).unwrap_or_default(),
            pending_starts: state
                .pending
                .as_ref()
                .or_else(|| last.map(|batch| &batch.offsets))
                .map(|entry| entry.pending.clone())
                .unwrap_or_default(),
            pending: state.pending.clone(),
            batches: state.batches.clone(),
        };
        if let Some(pending) = &log.pending {
            log.check_continues(&pending.batch.file_in(OFFSETS), pending)?;
        }
        Ok((log, state))
    }
}

/// Reads `stream.json`, or creates it for a stream with this id.
pub(super) async fn open_meta(
    files: &Files,
    cluster: Option<&str>,
    stream_id: StreamId,
) -> Result<StreamMeta, Error> {
    let meta = match files.read(META, None).await? {
        Some(meta) => meta,
        None => {
            let own = StreamMeta {
                version: CHECKPOINT_VERSION,
                stream_id,
                cluster: cluster.map(str::to_owned),
            };
            files.create(META, &own, None).await?.unwrap_or(own)
        }
    };
    match (meta.cluster.as_deref(), cluster) {
        (Some(then), Some(now)) if then != now => {
            let reason = format!(
                "the checkpoint is of cluster {then}, this is cluster {now}; connect to the first, or use another folder"
            );
            Err(files.error(META, ErrorKind::Invalid, reason))
        }
        _ => Ok(meta),
    }
}

/// Claims the first generation above `above` that is free, and all free ones below it, so that no other
/// driver can claim one of these.
async fn claim(
    files: &Files,
    meta: &StreamMeta,
    nonce: WriterNonce,
    above: Generation,
    time_millis: i64,
) -> Result<Generation, Error> {
    let newest = files.numbers(GENERATIONS).await?.last().copied().unwrap_or(0);
    let mut generation = Generation::new(newest).next();
    loop {
        let marker = GenerationMarker {
            version: CHECKPOINT_VERSION,
            stream_id: meta.stream_id,
            generation,
            nonce,
            time_millis,
        };
        let name = generation.file_in(GENERATIONS);
        match files.create(&name, &marker, Some(meta.stream_id)).await? {
            None if generation > above => return Ok(generation),
            None | Some(_) => generation = generation.next(),
        }
    }
}
