//! The trait of all decoded responses.

use kafka_protocol::{
    messages::{
        FindCoordinatorResponse, ListOffsetsResponse, MetadataResponse, OffsetCommitResponse,
        OffsetFetchResponse, OffsetForLeaderEpochResponse,
    },
    protocol::Decodable,
};

/// A decoded response with a throttle time.
pub(crate) trait Response: Decodable {
    /// How long the next request must wait, in milliseconds.
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
    OffsetCommitResponse,
    OffsetFetchResponse,
    OffsetForLeaderEpochResponse,
);
