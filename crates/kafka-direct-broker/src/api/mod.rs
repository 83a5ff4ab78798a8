//! From a request's bytes to a response's, one file per API.
//!
//! A request is walked by the guard, decoded by `kafka-protocol`, served, and its response encoded by
//! `kafka-protocol`; only Fetch splices its records in, so that batches are never copied.

mod api_versions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod fetch;
mod fetch_response;
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
    /// Responses this error code everywhere and does nothing.
    Refuse(i16),
    /// Responses nothing, without an error, and does nothing.
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

/// Why a connection is closed instead of a response.
#[derive(Debug)]
pub(crate) struct NoResponse(pub(crate) String);

type Response = Result<Option<Vec<Bytes>>, NoResponse>;

impl Call<'_> {
    /// The response to `body`: its parts, or `None` if the client wants none.
    pub(crate) async fn response(&self, api: ApiKey, body: Bytes) -> Response {
        guard::check(api, self.version, &body)
            .map_err(|refused| NoResponse(format!("a hostile request: {refused}")))?;
        match api {
            ApiKey::Produce => produce::response(self, self.decode(body)?),
            ApiKey::Fetch => fetch::response(self, self.decode(body)?).await,
            ApiKey::ListOffsets => self.serve(body, list_offsets::response),
            ApiKey::Metadata => self.serve(body, metadata::response),
            ApiKey::OffsetCommit => self.serve(body, offset_commit::response),
            ApiKey::OffsetFetch => self.serve(body, offset_fetch::response),
            ApiKey::FindCoordinator => self.serve(body, find_coordinator::response),
            ApiKey::ApiVersions => self.serve(body, api_versions::response),
            ApiKey::CreateTopics => self.serve(body, create_topics::response),
            ApiKey::DeleteTopics => self.serve(body, delete_topics::response),
            ApiKey::DeleteRecords => self.serve(body, delete_records::response),
            ApiKey::OffsetForLeaderEpoch => self.serve(body, offset_for_leader_epoch::response),
        }
    }

    fn serve<Q: Decodable, A: Encodable>(
        &self,
        body: Bytes,
        response: impl FnOnce(&Self, Q) -> A,
    ) -> Response {
        let request = self.decode(body)?;
        self.encode(&response(self, request))
    }

    fn decode<Q: Decodable>(&self, mut body: Bytes) -> Result<Q, NoResponse> {
        Q::decode(&mut body, self.version).map_err(|error| NoResponse(error.to_string()))
    }

    fn encode<A: Encodable>(&self, response: &A) -> Response {
        let mut out = BytesMut::new();
        response
            .encode(&mut out, self.version)
            .map_err(|error| NoResponse(format!("a response that cannot be encoded: {error}")))?;
        Ok(Some(vec![out.freeze()]))
    }

    /// The error code to respond everywhere, if the request is refused as a whole.
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

/// The response to an ApiVersions request of an unknown version: v0 with error 35 (KIP-511).
pub(crate) fn unknown_api_versions(shared: &Shared) -> Response {
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
