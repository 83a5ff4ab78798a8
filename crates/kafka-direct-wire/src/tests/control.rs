//! Tests of topics, log bounds, group offsets and epochs: how many requests, to which broker, and
//! which faults are retried.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use kafka_direct_core::{ErrorKind, IsolationLevel, Offset, TopicPartition};
use kafka_protocol::messages::{
    ApiKey, FindCoordinatorResponse, ListOffsetsRequest, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetCommitResponse,
    offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
};
use tokio::time::Instant;

use crate::{
    WireError,
    queries::ListOffset,
    testing::{Peer, ReceivedRequest, Reply, World, body},
    topology::Refresh,
};

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn tps(partitions: i32) -> Vec<TopicPartition> {
    (0..partitions).map(tp).collect()
}

/// A script that handles the first `times` requests of `api` by `reply`.
fn at_first(
    api: ApiKey,
    times: usize,
    reply: impl Fn(&ReceivedRequest, &World) -> Reply + Send + Sync + 'static,
) -> impl Fn(&ReceivedRequest, &World) -> Option<Reply> + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move |received, world| {
        let scripted = received.api == api && seen.fetch_add(1, Ordering::SeqCst) < times;
        scripted.then(|| reply(received, world))
    }
}

/// The world's metadata with the error `code` for every topic.
fn topics_response(received: &ReceivedRequest, world: &World, code: i16) -> Reply {
    let mut response: MetadataResponse = world.metadata(received);
    for topic in &mut response.topics {
        topic.error_code = code;
        topic.partitions.clear();
    }
    body(&response, received.version)
}

/// The world's offsets with the error `code` for every partition.
fn partitions_response(received: &ReceivedRequest, world: &World, code: i16) -> Reply {
    let mut response = world.list_offsets(received);
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.error_code = code;
        partition.offset = -1;
    }
    body(&response, received.version)
}

#[tokio::test(start_paused = true)]
async fn watermarks_take_three_requests_per_leader() {
    let peer = Peer::cluster(3, 10);
    let cluster = peer.connect().await;
    let marks = cluster.watermarks(&tps(10)).await.unwrap();
    assert_eq!(marks.len(), 10);
    for (tp, marks) in &marks {
        let p = i64::from(tp.partition());
        assert_eq!(marks.log_start, Offset::new(p));
        assert_eq!(marks.last_stable, Offset::new(50 + p));
        assert_eq!(marks.high, Offset::new(100 + p));
    }
    let received = peer.requests(ApiKey::ListOffsets);
    assert_eq!(received.len(), 9);
    for received in &received {
        let request: ListOffsetsRequest = received.decode();
        assert_eq!(request.replica_id.0, -1);
        for partition in &request.topics[0].partitions {
            assert_eq!(partition.current_leader_epoch, 7);
        }
    }
    assert_eq!(peer.opened(), 3, "the three requests to a leader use one connection");
}

#[tokio::test(start_paused = true)]
async fn no_metadata_request_ever_allows_creation() {
    let peer = Peer::cluster(2, 2);
    let cluster = peer.connect().await;
    cluster.watermarks(&tps(2)).await.unwrap();
    cluster.all_topics().await.unwrap();
    cluster.topics(&["nope".to_owned()]).await.unwrap_err();
    let received = peer.requests(ApiKey::Metadata);
    assert!(received.len() >= 4);
    for received in received {
        let request: MetadataRequest = received.decode();
        assert!(!request.allow_auto_topic_creation);
    }
}

#[tokio::test(start_paused = true)]
async fn every_supported_metadata_version_is_decoded() {
    for highest in 4..=13 {
        let peer = Peer::cluster(2, 3);
        peer.cap(ApiKey::Metadata, highest);
        let topics = peer.connect().await.topics(&["t".to_owned()]).await.unwrap();
        assert_eq!(topics[0].partitions.len(), 3);
        assert_eq!(topics[0].id.is_some(), highest >= 10);
        assert_eq!(topics[0].partitions[1].leader_epoch.is_some(), highest >= 7);
        assert_eq!(topics[0].partitions[1].leader_host.as_deref(), Some("b2:9092"));
    }
}

#[tokio::test(start_paused = true)]
async fn every_supported_list_offsets_version_is_decoded() {
    for highest in 2..=10 {
        let peer = Peer::cluster(2, 2);
        peer.cap(ApiKey::ListOffsets, highest);
        let marks = peer.connect().await.watermarks(&tps(2)).await.unwrap();
        assert_eq!(marks[&tp(1)].last_stable, Offset::new(51), "version {highest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_moved_leader_is_found_and_only_its_partitions_are_requested_again() {
    let peer = Peer::cluster(2, 4);
    let cluster = peer.connect().await;
    cluster.watermarks(&tps(4)).await.unwrap();
    peer.change(|world| {
        let partition = &mut world.topics.get_mut("t").unwrap().1[0];
        (partition.leader, partition.epoch) = (2, 8);
    });
    let before = peer.requests(ApiKey::ListOffsets).len();
    let offset = cluster.list_offset(&tp(2), ListOffset::LatestUncommitted).await.unwrap();
    assert_eq!(offset, Offset::new(102));
    let times = tps(4).into_iter().map(|tp| (tp, 60)).collect();
    let found = cluster.offsets_for_times(&times, IsolationLevel::ReadUncommitted).await.unwrap();
    assert_eq!(found.len(), 4);
    let received = peer.requests(ApiKey::ListOffsets)[before + 1..].to_vec();
    assert_eq!(received.len(), 3, "two leaders, then the new one for the moved partition");
    let last: ListOffsetsRequest = received[2].decode();
    assert_eq!(last.topics[0].partitions.len(), 1);
    assert_eq!(last.topics[0].partitions[0].current_leader_epoch, 8);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_high_watermark_lags_is_queried_again() {
    let peer = Peer::cluster(1, 2);
    peer.script(at_first(ApiKey::ListOffsets, 3, |a, w| partitions_response(a, w, 78)));
    let began = Instant::now();
    let marks = peer.connect().await.watermarks(&tps(2)).await.unwrap();
    assert_eq!(marks[&tp(0)].high, Offset::new(100));
    assert_eq!(began.elapsed(), Duration::from_millis(700));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_never_gets_a_leader_ends_as_unavailable_and_is_named() {
    let peer = Peer::cluster(1, 2);
    peer.change(|world| world.topics.get_mut("t").unwrap().1[1].leader = -1);
    let cluster = peer.connect().await;
    assert_eq!(cluster.topics(&["t".to_owned()]).await.unwrap()[0].partitions[1].leader, None);
    let error = cluster.leader_of(&tp(1), Refresh::IfUnknown).await.unwrap_err();
    assert!(error.is_retriable());
    let began = Instant::now();
    let error = cluster.watermarks(&tps(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
    assert!(began.elapsed() > Duration::from_secs(50));
    assert!(error.to_string().contains("t-1"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_leader_ends_as_unavailable_and_its_address_is_named() {
    let peer = Peer::cluster(2, 2);
    let cluster = peer.connect().await;
    peer.refuse("b2:9092");
    let error = cluster.watermarks(&tps(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("b2:9092") && text.contains("refused"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_never_responds_ends_as_unavailable_after_at_most_one_retry() {
    let peer = Peer::cluster(1, 1);
    let cluster = peer.connect().await;
    peer.script(|received, _| (received.api == ApiKey::ListOffsets).then_some(Reply::Never));
    let began = Instant::now();
    let error = cluster.watermarks(&tps(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("ListOffsets: no response in 30s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(61), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_unauthorized_at_once() {
    for code in [29, 30, 31] {
        let peer = Peer::cluster(1, 1);
        peer.script(at_first(ApiKey::ListOffsets, 1, move |a, w| partitions_response(a, w, code)));
        let cluster = peer.connect().await;
        let began = Instant::now();
        let error = cluster.watermarks(&tps(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().starts_with("t-0: b1:9092 responded to ListOffsets"), "{error}");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_requested_from_another_broker_once_and_then_named() {
    let peer = Peer::cluster(2, 1);
    let cluster = peer.connect().await;
    let error = cluster.topics(&["t".to_owned(), "nope".to_owned()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("topic `nope`"), "{error}");
    let asked = peer.requests(ApiKey::Metadata).into_iter().skip(1);
    let asked: Vec<(String, bool)> = asked
        .map(|received| {
            let request: MetadataRequest = received.decode();
            (received.address, request.topics.is_some())
        })
        .collect();
    // The last request is for the names of all topics: one of them may be meant.
    let expected = [("b1:9092", true), ("b2:9092", true), ("b2:9092", false)];
    assert_eq!(asked, expected.map(|(address, named)| (address.to_owned(), named)));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_only_one_broker_knows_is_found() {
    let peer = Peer::cluster(2, 1);
    let cluster = peer.connect().await;
    peer.script(|received, world| {
        let lagging = received.api == ApiKey::Metadata && received.address == "b1:9092";
        lagging.then(|| topics_response(received, world, 3))
    });
    assert_eq!(cluster.topics(&["t".to_owned()]).await.unwrap().len(), 1);
    assert_eq!(cluster.watermarks(&tps(1)).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_error_about_a_missing_partition_has_the_number_of_partitions() {
    let cluster = Peer::cluster(1, 2).connect().await;
    let error = cluster.watermarks(&[tp(2)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "t-2: the topic has 2 partitions");
}

#[tokio::test(start_paused = true)]
async fn invalid_topic_names_are_refused_without_a_request() {
    let peer = Peer::cluster(1, 1);
    let cluster = peer.connect().await;
    for name in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
        let error = cluster.topics(&[name.to_owned()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
        let error = cluster.watermarks(&[TopicPartition::new(name, 0)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
    }
    assert_eq!(peer.requests(ApiKey::Metadata).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_need_the_same_topic_share_one_request() {
    let peer = Peer::cluster(1, 50);
    let cluster = peer.connect().await;
    peer.script(|received, _| {
        (received.api == ApiKey::Metadata).then_some(Reply::Late(Duration::from_millis(10)))
    });
    let partitions = tps(50);
    let waiting = partitions.iter().map(|tp| cluster.leader_of(tp, Refresh::IfUnknown));
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert_eq!(peer.requests(ApiKey::Metadata).len(), 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    let stale = Refresh::NewerThan(Instant::now() - Duration::from_millis(1));
    let waiting = partitions.iter().map(|tp| cluster.leader_of(tp, stale));
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert_eq!(peer.requests(ApiKey::Metadata).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_wait_for_a_refresh_share_its_failure() {
    let peer = Peer::cluster(1, 50);
    let cluster = peer.connect().await;
    peer.script(|_, _| Some(Reply::Close));
    peer.silence("b1:9092");
    let began = Instant::now();
    let partitions = tps(50);
    let waiting = partitions.iter().map(|tp| cluster.leader_of(tp, Refresh::IfUnknown));
    for result in join_all(waiting).await {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn an_older_leader_epoch_from_a_lagging_broker_is_ignored() {
    let peer = Peer::cluster(2, 1);
    let cluster = peer.connect().await;
    let known = cluster.leader_of(&tp(0), Refresh::IfUnknown).await.unwrap();
    assert_eq!((known.node, known.epoch), (1, Some(7)));
    peer.change(|world| {
        let partition = &mut world.topics.get_mut("t").unwrap().1[0];
        (partition.leader, partition.epoch) = (2, 6);
    });
    tokio::time::advance(Duration::from_secs(1)).await;
    let again = cluster.leader_of(&tp(0), Refresh::NewerThan(Instant::now())).await.unwrap();
    assert_eq!(again, known);
    peer.change(|world| world.topics.get_mut("t").unwrap().0 = uuid::Uuid::from_u128(10));
    let moment = Instant::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    let recreated = cluster.leader_of(&tp(0), Refresh::NewerThan(moment)).await.unwrap();
    assert_eq!((recreated.node, recreated.epoch), (2, Some(6)), "a new topic id means a new topic");
}

#[tokio::test(start_paused = true)]
async fn all_topics_marks_internal_ones() {
    let peer = Peer::cluster(1, 1);
    peer.change(|world| {
        let topic = world.topics["t"].clone();
        world.topics.insert("__consumer_offsets".to_owned(), topic);
    });
    let topics = peer.connect().await.all_topics().await.unwrap();
    let names: Vec<_> = topics.iter().map(|topic| (&*topic.name, topic.is_internal)).collect();
    assert_eq!(names, [("__consumer_offsets", true), ("t", false)]);
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_after_the_last_record_has_no_offset() {
    let cluster = Peer::cluster(2, 2).connect().await;
    let times = BTreeMap::from([(tp(0), 60), (tp(1), 5000)]);
    let found = cluster.offsets_for_times(&times, IsolationLevel::ReadCommitted).await.unwrap();
    assert_eq!(found, BTreeMap::from([(tp(0), Some(Offset::new(60))), (tp(1), None)]));
    let before_1970 = BTreeMap::from([(tp(0), -1)]);
    let error =
        cluster.offsets_for_times(&before_1970, IsolationLevel::ReadCommitted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_partition_or_an_offset_is_corrupt() {
    for is_missing in [true, false] {
        let peer = Peer::cluster(1, 2);
        peer.script(at_first(ApiKey::ListOffsets, 1, move |received, world| {
            let mut response = world.list_offsets(received);
            if is_missing {
                response.topics[0].partitions.pop();
            } else {
                response.topics[0].partitions[0].offset = -1;
            }
            body(&response, received.version)
        }));
        let error = peer.connect().await.watermarks(&tps(2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(if is_missing { "t-1" } else { "t-0" }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_are_read_in_every_version_of_both_requests() {
    for (find, fetch) in [(1, 2), (2, 5), (3, 6), (4, 7), (5, 8), (6, 9)] {
        let peer = Peer::cluster(3, 2);
        peer.change(|world| {
            world.highest.insert(ApiKey::FindCoordinator as i16, find);
            world.highest.insert(ApiKey::OffsetFetch as i16, fetch);
            world.committed.insert(tp(0), 17);
        });
        let cluster = peer.connect().await;
        let found = cluster.committed_offsets("g", &[tp(0), tp(1), tp(0)]).await.unwrap();
        assert_eq!(found, BTreeMap::from([(tp(0), Some(Offset::new(17))), (tp(1), None)]));
        let received = peer.requests(ApiKey::OffsetFetch);
        assert_eq!((received[0].version, &*received[0].address), (fetch, "b3:9092"));
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_are_committed_without_membership_in_every_version_and_unknown_partitions_named() {
    for highest in 2..=9 {
        let peer = Peer::cluster(3, 2);
        peer.change(|world| {
            world.highest.insert(ApiKey::OffsetCommit as i16, highest);
        });
        // The coordinator moves once.
        let tries = AtomicUsize::new(0);
        peer.script(move |received, _| {
            if received.api != ApiKey::OffsetCommit {
                return None;
            }
            let moved = tries.fetch_add(1, Ordering::SeqCst) == 0;
            let request: OffsetCommitRequest = received.decode();
            assert_eq!(request.generation_id_or_member_epoch, -1);
            assert!(request.member_id.is_empty() && request.group_id.as_str() == "g");
            let topics = request.topics.into_iter().map(|topic| {
                let partitions = topic.partitions.into_iter().map(|p| {
                    let index = p.partition_index;
                    assert_eq!(p.committed_offset, i64::from(17 + index));
                    let code = if moved { 16 } else { i16::try_from(3 * index).unwrap() };
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(index)
                        .with_error_code(code)
                });
                OffsetCommitResponseTopic::default()
                    .with_partitions(partitions.collect())
                    .with_name(topic.name)
            });
            let response = OffsetCommitResponse::default().with_topics(topics.collect());
            Some(body(&response, received.version))
        });
        let cluster = peer.connect().await;
        let offsets = BTreeMap::from([(tp(0), Offset::new(17)), (tp(1), Offset::new(18))]);
        assert_eq!(cluster.commit_offsets("g", &offsets).await.unwrap(), [tp(1)]);
        let received = peer.requests(ApiKey::OffsetCommit);
        assert_eq!((received.len(), received[0].version), (2, highest));
        assert_eq!(&*received[0].address, "b3:9092");
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_loads_is_retried() {
    for code in [14, 15, 16] {
        let peer = Peer::cluster(1, 1);
        peer.cap(ApiKey::FindCoordinator, 3);
        peer.script(at_first(ApiKey::FindCoordinator, 2, move |received, _| {
            body(&FindCoordinatorResponse::default().with_error_code(code), received.version)
        }));
        let began = Instant::now();
        let found = peer.connect().await.committed_offsets("g", &tps(1)).await.unwrap();
        assert_eq!(found, BTreeMap::from([(tp(0), None)]));
        assert_eq!(began.elapsed(), Duration::from_millis(300));
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_group_name_is_invalid() {
    let cluster = Peer::cluster(1, 1).connect().await;
    let error = cluster.committed_offsets("", &tps(1)).await.unwrap_err();
    assert!(matches!(error, WireError::Config { setting: "group", .. }));
    let error = cluster.commit_offsets("", &BTreeMap::new()).await.unwrap_err();
    assert!(matches!(error, WireError::Config { setting: "group", .. }));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_epoch_is_returned_and_an_unknown_epoch_is_none() {
    for highest in 2..=4 {
        let peer = Peer::cluster(2, 2);
        peer.cap(ApiKey::OffsetForLeaderEpoch, highest);
        let cluster = peer.connect().await;
        let known = cluster.end_offset_for_epoch(&tp(1), 5).await.unwrap();
        assert_eq!(known, Some((5, Offset::new(50))));
        assert_eq!(cluster.end_offset_for_epoch(&tp(1), 99).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_of_another_cluster_is_refused() {
    let peer = Peer::cluster(1, 1);
    let cluster = peer.connect().await;
    peer.script(|received, world| {
        (received.api == ApiKey::Metadata).then(|| {
            let id = kafka_protocol::protocol::StrBytes::from_static_str("another");
            body(&world.metadata(received).with_cluster_id(Some(id)), received.version)
        })
    });
    let error = cluster.topics(&["t".to_owned()]).await.unwrap_err();
    assert!(error.to_string().contains("`another`"), "{error}");
    assert_eq!(cluster.id().as_deref(), Some("the-cluster"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_timeout_of_zero_means_no_retries() {
    let peer = Peer::cluster(1, 1);
    peer.script(at_first(ApiKey::ListOffsets, usize::MAX, |a, w| partitions_response(a, w, 78)));
    let config = peer.config().retry_timeout(Duration::ZERO);
    let cluster = crate::Cluster::connect(config).await.unwrap();
    cluster.watermarks(&tps(1)).await.unwrap_err();
    assert_eq!(peer.requests(ApiKey::ListOffsets).len(), 1);
}

#[test]
fn futures_of_the_public_operations_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let config = crate::ClusterConfig::new(["h:1"]);
    is_send(&crate::Cluster::connect(config));
    let check = |cluster: Arc<crate::Cluster>| {
        is_send(&cluster.watermarks(&[]));
        is_send(&cluster.topics(&[]));
        is_send(&cluster.all_topics());
        is_send(&cluster.committed_offsets("g", &[]));
        is_send(&cluster.offsets_for_times(&BTreeMap::new(), IsolationLevel::ReadCommitted));
    };
    let _ = check;
}
