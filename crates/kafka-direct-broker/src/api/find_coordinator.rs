//! FindCoordinator: returns the running node that stores a group's offsets. There is no transaction
//! coordinator.

use kafka_protocol::{
    ResponseError,
    messages::{
        FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
    },
};

use super::{Call, Mode, text};
use crate::shared::Node;

const GROUP: i8 = 0;

pub(super) fn response(
    call: &Call<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let response = FindCoordinatorResponse::default().with_throttle_time_ms(call.throttle_ms);
    if call.mode == Mode::Empty {
        return response;
    }
    if call.version >= 4 {
        let coordinators = request.coordinator_keys.into_iter().map(|key| {
            let found = find(call, &key, request.key_type);
            let code = found.as_ref().err().copied().unwrap_or(0);
            let response = Coordinator::default().with_key(key).with_error_code(code);
            match found {
                Err(_) => response.with_node_id((-1).into()).with_port(-1),
                Ok(node) => response
                    .with_node_id(node.id.into())
                    .with_host(text(&node.host))
                    .with_port(i32::from(node.port)),
            }
        });
        return response.with_coordinators(coordinators.collect());
    }
    match find(call, &request.key, request.key_type) {
        Err(code) => response.with_error_code(code).with_node_id((-1).into()).with_port(-1),
        Ok(node) => response
            .with_node_id(node.id.into())
            .with_host(text(&node.host))
            .with_port(i32::from(node.port)),
    }
}

fn find<'a>(call: &Call<'a>, group: &str, key_type: i8) -> Result<&'a Node, i16> {
    if let Some(code) = call.refused() {
        return Err(code);
    }
    if key_type != GROUP {
        return Err(ResponseError::InvalidRequest.code());
    }
    let coordinator = call.shared.cluster.lock().coordinator(group);
    coordinator
        .and_then(|node| call.shared.node(node))
        .ok_or_else(|| ResponseError::CoordinatorNotAvailable.code())
}
