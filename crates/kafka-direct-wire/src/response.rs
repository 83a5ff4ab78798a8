//! What all decoded responses have in common.

use kafka_protocol::{
    messages::{
        FindCoordinatorResponse, ListOffsetsResponse, MetadataResponse, OffsetFetchResponse,
        OffsetForLeaderEpochResponse,
    },
    protocol::Decodable,
};

/// A response that says how long to wait before the next request.
pub(crate) trait Response: Decodable {
    fn throttle_time_ms(&self) -> i32;
}

macro_rules! responses {
    ($($response:ty),* $(,)?) => {
        $(impl Response for $response {
            fn throttle_time_ms(&self) -> i32 {
                self.throttle_time_ms
            }
        })*
    };
}

responses!(
    FindCoordinatorResponse,
    ListOffsetsResponse,
    MetadataResponse,
    OffsetFetchResponse,
    OffsetForLeaderEpochResponse,
);
