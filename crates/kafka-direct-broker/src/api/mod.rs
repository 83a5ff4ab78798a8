//! Turns a request's bytes into a response's bytes; one file per API.
//!
//! The guard checks a request, and `kafka-protocol` decodes it. After it is served,
//! `kafka-protocol` encodes the response. Only Fetch inserts its records into the encoded response,
//! so that batches are not copied.

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

/// Whether a request is served or gets a synthetic response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Serve,
    /// Does nothing and sets this error code in every error field of the response.
    Refuse(i16),
    /// Does nothing and sends an empty response without an error.
    Empty,
}

/// The context of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    /// The node that received it.
    pub(crate) node: i32,
    pub(crate) version: i16,
    pub(crate) mode: Mode,
    pub(crate) throttle_ms: i32,
}

/// Closes the connection without a response, for this reason.
#[derive(Debug)]
pub(crate) struct NoResponse(pub(crate) String);

type Response = Result<Option<Vec<Bytes>>, NoResponse>;

impl Call<'_> {
    /// Serves the request `body` and returns the parts of the response, or `None` if the client
    /// wants no response.
    pub(crate) async fn response(&self, api: ApiKey, body: Bytes) -> Response {
        guard::check(api, self.version, &body).map_err(|refused| {
            NoResponse(format!("invalid {api:?} v{} request: {refused}", self.version))
        })?;
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
            .map_err(|error| NoResponse(format!("cannot encode the response: {error}")))?;
        Ok(Some(vec![out.freeze()]))
    }

    /// The error code for every error field, if the whole request is refused.
    const fn refused(&self) -> Option<i16> {
        match self.mode {
            Mode::Refuse(code) => Some(code),
            Mode::Serve | Mode::Empty => None,
        }
    }

    /// Runs `work` unless the request is refused, and returns the error code; 0 for success.
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
