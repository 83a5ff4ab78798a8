//! DeleteTopics: deletes topics and their committed offsets, by name before v6 and by name or id
//! since v6.

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
    },
};

use super::{Call, Mode, text, topic_id, uuid};

pub(super) fn response(call: &Call<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let response = DeleteTopicsResponse::default().with_throttle_time_ms(call.throttle_ms);
    if call.mode == Mode::Empty {
        return response;
    }
    let by_name = |name| DeleteTopicState::default().with_name(Some(name));
    let named = request.topic_names.into_iter().map(by_name);
    let states: Vec<_> = request.topics.into_iter().chain(named).collect();
    let mut cluster = call.shared.cluster.lock();
    let results = states.into_iter().map(|state| {
        let id = topic_id(state.topic_id);
        let name = match (&state.name, id.and_then(|id| cluster.name_of(id))) {
            (Some(name), _) => Some(name.to_string()),
            (None, found) => found.map(ToString::to_string),
        };
        let mut deleted = None;
        let code = call.outcome(|| {
            let name = name.as_deref().ok_or(ResponseError::UnknownTopicId)?;
            deleted = Some(cluster.delete(name).ok_or(ResponseError::UnknownTopicOrPartition)?);
            Ok(())
        });
        // Before v6 the name of a response cannot be null.
        let name = name
            .map(|name| text(&name).into())
            .or_else(|| (call.version < 6).then(kafka_protocol::messages::TopicName::default));
        DeletableTopicResult::default()
            .with_name(name)
            .with_topic_id(deleted.map_or(state.topic_id, |topic| uuid(topic.id)))
            .with_error_code(code)
    });
    let results = results.collect();
    drop(cluster);
    call.shared.wake();
    response.with_responses(results)
}
