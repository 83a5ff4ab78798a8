//! ApiVersions: returns the served versions, after caps.
//!
//! A request of an unknown version gets a v0 response with error 35, so that the client can fall
//! back (KIP-511).

use kafka_protocol::{
    ResponseError,
    messages::{ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion},
};

use super::{Call, Mode};
use crate::ApiKey;

pub(super) fn response(call: &Call<'_>, _request: ApiVersionsRequest) -> ApiVersionsResponse {
    let response = ApiVersionsResponse::default().with_throttle_time_ms(call.throttle_ms);
    match call.mode {
        Mode::Refuse(code) => response.with_error_code(code),
        Mode::Empty => response,
        Mode::Serve => response
            .with_api_keys(ApiKey::ALL.into_iter().filter_map(|api| entry(call, api)).collect()),
    }
}

pub(super) fn unsupported(call: &Call<'_>) -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(entry(call, ApiKey::ApiVersions).into_iter().collect())
}

fn entry(call: &Call<'_>, api: ApiKey) -> Option<ApiVersion> {
    let versions = call.shared.versions.advertised(api)?;
    let entry = ApiVersion::default().with_api_key(api.number());
    Some(entry.with_min_version(*versions.start()).with_max_version(*versions.end()))
}
