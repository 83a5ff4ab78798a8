//! From a request's bytes to an answer's, one file per API.
//!
//! A request is walked by the guard, decoded by `kafka-protocol`, served, and its answer encoded by
//! `kafka-protocol`; only Fetch splices its records in, so that batches are never copied.

mod api_versions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod fetch;
mod fetch_answer;
mod find_coordinator;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;

use bytes::{Bytes, BytesMut};
use kafka_direct_core::TopicId;
use kafka_protocol::{
    ResponseError,
    protocol::{Decodable, Encodable, StrBytes},
};

use crate::{ApiKey, guard, shared::Shared};

/// Whether a request is served or only looks as if it were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Serve,
    /// Answers this error code everywhere and does nothing.
    Refuse(i16),
    /// Answers nothing, without an error, and does nothing.
    Empty,
}

/// A request's circumstances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    /// The node it came to.
    pub(crate) node: i32,
    pub(crate) version: i16,
    pub(crate) mode: Mode,
    pub(crate) throttle_ms: i32,
}

/// Why a connection is closed instead of an answer.
#[derive(Debug)]
pub(crate) struct Unanswerable(pub(crate) String);

type Answer = Result<Option<Vec<Bytes>>, Unanswerable>;

impl Call<'_> {
    /// The answer to `body`: its parts, or `None` if the client wants none.
    pub(crate) async fn answer(&self, api: ApiKey, body: Bytes) -> Answer {
        guard::check(api, self.version, &body)
            .map_err(|refused| Unanswerable(format!("a hostile request: {refused}")))?;
        match api {
            ApiKey::Produce => produce::answer(self, self.decode(body)?),
            ApiKey::Fetch => fetch::answer(self, self.decode(body)?).await,
            ApiKey::ListOffsets => self.serve(body, list_offsets::answer),
            ApiKey::Metadata => self.serve(body, metadata::answer),
            ApiKey::OffsetCommit => self.serve(body, offset_commit::answer),
            ApiKey::OffsetFetch => self.serve(body, offset_fetch::answer),
            ApiKey::FindCoordinator => self.serve(body, find_coordinator::answer),
            ApiKey::ApiVersions => self.serve(body, api_versions::answer),
            ApiKey::CreateTopics => self.serve(body, create_topics::answer),
            ApiKey::DeleteTopics => self.serve(body, delete_topics::answer),
            ApiKey::DeleteRecords => self.serve(body, delete_records::answer),
            ApiKey::OffsetForLeaderEpoch => self.serve(body, offset_for_leader_epoch::answer),
        }
    }

    fn serve<Q: Decodable, A: Encodable>(
        &self,
        body: Bytes,
        answer: impl FnOnce(&Self, Q) -> A,
    ) -> Answer {
        let request = self.decode(body)?;
        self.encode(&answer(self, request))
    }

    fn decode<Q: Decodable>(&self, mut body: Bytes) -> Result<Q, Unanswerable> {
        Q::decode(&mut body, self.version).map_err(|error| Unanswerable(error.to_string()))
    }

    fn encode<A: Encodable>(&self, answer: &A) -> Answer {
        let mut out = BytesMut::new();
        answer
            .encode(&mut out, self.version)
            .map_err(|error| Unanswerable(format!("an answer that cannot be encoded: {error}")))?;
        Ok(Some(vec![out.freeze()]))
    }

    /// The error code to answer everywhere, if the request is refused as a whole.
    const fn refused(&self) -> Option<i16> {
        match self.mode {
            Mode::Refuse(code) => Some(code),
            Mode::Serve | Mode::Empty => None,
        }
    }

    /// The code for the outcome of `work`, which is not done if the request is refused.
    fn outcome(&self, work: impl FnOnce() -> Result<(), ResponseError>) -> i16 {
        self.refused().unwrap_or_else(|| work().err().map_or(0, |error| error.code()))
    }
}

/// The answer to an ApiVersions request of an unknown version: v0 with error 35 (KIP-511).
pub(crate) fn unknown_api_versions(shared: &Shared) -> Answer {
    let call = Call { shared, node: 0, version: 0, mode: Mode::Serve, throttle_ms: 0 };
    call.encode(&api_versions::unsupported(&call))
}

fn text(from: &str) -> StrBytes {
    StrBytes::from_string(from.to_owned())
}

fn uuid(id: TopicId) -> uuid::Uuid {
    uuid::Uuid::from_bytes(id.to_bytes())
}

fn topic_id(id: uuid::Uuid) -> Option<TopicId> {
    TopicId::from_bytes(id.into_bytes())
}
