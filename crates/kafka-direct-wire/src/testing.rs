//! A scripted cluster over in-memory streams, for the tests of this crate.
//!
//! A [`Peer`] is a transport to the cluster. A script may handle a request; otherwise the peer
//! responds from a small [`World`]. Every request that arrives completely is logged.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_direct_core::TopicPartition;
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
        GroupId, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
        OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest,
        OffsetForLeaderEpochResponse, TopicName,
        api_versions_response::ApiVersion,
        find_coordinator_response::Coordinator,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
    protocol::{Decodable, Encodable, StrBytes, decode_request_header_from_buffer},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    Cluster, ClusterConfig,
    transport::{Connecting, Transport, TransportStream},
};

/// A request that arrived completely.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedRequest {
    pub(crate) at: Instant,
    pub(crate) address: String,
    /// Number of the connection, from 0, in the order in which connections were opened.
    pub(crate) connection: usize,
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) body: Bytes,
}

impl ReceivedRequest {
    pub(crate) fn decode<R: Decodable>(&self) -> R {
        R::decode(&mut self.body.clone(), self.version).unwrap()
    }
}

/// What a script does with a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Sends this response body after a size and a header.
    Body(Bytes),
    /// Sends these bytes unchanged; they include the size field.
    Raw(Vec<u8>),
    /// Sends the response of the world with this number added to the correlation id.
    Misnumbered(i32),
    /// Sends the response of the world after this time.
    Late(Duration),
    /// Sends no response.
    Never,
    /// Closes the connection.
    Close,
}

pub(crate) fn body<R: Encodable>(response: &R, version: i16) -> Reply {
    Reply::Body(encoded(response, version))
}

pub(crate) fn encoded<R: Encodable>(response: &R, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    response.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

#[derive(Debug, Clone)]
pub(crate) struct WorldPartition {
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    pub(crate) log_start: i64,
    pub(crate) last_stable: i64,
    pub(crate) high: i64,
}

/// The state of the cluster, from which the peer responds if no script does.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) brokers: BTreeMap<i32, (String, u16)>,
    /// Addresses that refuse connections.
    pub(crate) refusing: BTreeSet<String>,
    /// Addresses at which connecting never ends.
    pub(crate) silent: BTreeSet<String>,
    /// Highest supported version by API key.
    pub(crate) highest: BTreeMap<i16, i16>,
    pub(crate) topics: BTreeMap<String, (Uuid, Vec<WorldPartition>)>,
    pub(crate) committed: BTreeMap<TopicPartition, i64>,
}

type Script = Box<dyn Fn(&ReceivedRequest, &World) -> Option<Reply> + Send + Sync>;

#[derive(Default)]
struct State {
    world: Mutex<World>,
    log: Mutex<Vec<ReceivedRequest>>,
    opened: AtomicUsize,
    script: Mutex<Option<Script>>,
}

#[derive(Clone, Default)]
pub(crate) struct Peer(Arc<State>);

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peer")
    }
}

impl Peer {
    /// Creates a cluster of brokers 1 to `brokers`, at `b1:9092` and so on, with a topic `t`.
    ///
    /// The brokers lead the topic's partitions round-robin. Partition p has log start offset p,
    /// last stable offset 50 + p, high watermark 100 + p and epoch 7.
    pub(crate) fn cluster(brokers: i32, partitions: i32) -> Self {
        let peer = Self::default();
        {
            let mut world = peer.0.world.lock();
            world.brokers = (1..=brokers).map(|n| (n, (format!("b{n}"), 9092))).collect();
            let partition = |p: i32| WorldPartition {
                leader: 1 + p % brokers,
                epoch: 7,
                log_start: i64::from(p),
                last_stable: 50 + i64::from(p),
                high: 100 + i64::from(p),
            };
            world.topics.insert(
                "t".to_owned(),
                (Uuid::from_u128(9), (0..partitions).map(partition).collect()),
            );
            for api in ApiKey::iter() {
                let highest = crate::versions::ours(api).max;
                if highest >= 0 {
                    world.highest.insert(api as i16, highest);
                }
            }
        }
        peer
    }

    pub(crate) fn config(&self) -> ClusterConfig {
        ClusterConfig::new(["b1:9092"]).transport(Arc::new(self.clone()))
    }

    pub(crate) async fn connect(&self) -> Cluster {
        Cluster::connect(self.config()).await.unwrap()
    }

    pub(crate) fn script(
        &self,
        script: impl Fn(&ReceivedRequest, &World) -> Option<Reply> + Send + Sync + 'static,
    ) {
        *self.0.script.lock() = Some(Box::new(script));
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.0.world.lock());
    }

    /// Makes every broker support `api` up to version `highest` only.
    pub(crate) fn cap(&self, api: ApiKey, highest: i16) {
        self.0.world.lock().highest.insert(api as i16, highest);
    }

    /// Makes no broker support `api`.
    pub(crate) fn remove(&self, api: ApiKey) {
        self.0.world.lock().highest.remove(&(api as i16));
    }

    /// Makes `address` accept connections again.
    pub(crate) fn accept(&self, address: &str) {
        self.0.world.lock().refusing.remove(address);
    }

    /// Makes `address` refuse connections.
    pub(crate) fn refuse(&self, address: &str) {
        self.0.world.lock().refusing.insert(address.to_owned());
    }

    /// Makes connecting to `address` never end.
    pub(crate) fn silence(&self, address: &str) {
        self.0.world.lock().silent.insert(address.to_owned());
    }

    /// The requests of `api` so far.
    pub(crate) fn requests(&self, api: ApiKey) -> Vec<ReceivedRequest> {
        self.0.log.lock().iter().filter(|received| received.api == api).cloned().collect()
    }

    pub(crate) fn opened(&self) -> usize {
        self.0.opened.load(Ordering::SeqCst)
    }
}

impl Transport for Peer {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let address = format!("{host}:{port}");
            let (refusing, silent) = {
                let world = self.0.world.lock();
                (world.refusing.contains(&address), world.silent.contains(&address))
            };
            if refusing {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if silent {
                std::future::pending::<()>().await;
            }
            let (ours, theirs) = duplex(64);
            let number = self.0.opened.fetch_add(1, Ordering::SeqCst);
            let state = Arc::clone(&self.0);
            drop(tokio::spawn(async move { serve(&state, theirs, address, number).await }));
            Ok(Box::new(ours) as Box<dyn TransportStream>)
        })
    }
}

async fn serve(state: &State, mut stream: DuplexStream, address: String, connection: usize) {
    while let Ok(size) = stream.read_i32().await {
        let mut frame = vec![0; usize::try_from(size).unwrap()];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let mut frame = Bytes::from(frame);
        let api = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
        let header = decode_request_header_from_buffer(&mut frame).unwrap();
        let received = ReceivedRequest {
            at: Instant::now(),
            address: address.clone(),
            connection,
            api,
            version: header.request_api_version,
            body: frame,
        };
        state.log.lock().push(received.clone());
        let scripted = {
            let world = state.world.lock();
            state.script.lock().as_ref().and_then(|script| script(&received, &world))
        };
        let mut correlation = header.correlation_id;
        let body = match scripted {
            None => state.world.lock().response(&received),
            Some(Reply::Body(body)) => body,
            Some(Reply::Raw(bytes)) => {
                let _ = stream.write_all(&bytes).await;
                continue;
            }
            Some(Reply::Misnumbered(by)) => {
                correlation += by;
                state.world.lock().response(&received)
            }
            Some(Reply::Late(wait)) => {
                sleep(wait).await;
                state.world.lock().response(&received)
            }
            Some(Reply::Never) => continue,
            Some(Reply::Close) => return,
        };
        let mut frame = BytesMut::new();
        frame.put_i32(correlation);
        if api.response_header_version(received.version) > 0 {
            frame.put_u8(0);
        }
        frame.extend_from_slice(&body);
        let size = i32::try_from(frame.len()).unwrap();
        if stream.write_i32(size).await.is_err() || stream.write_all(&frame).await.is_err() {
            return;
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl World {
    pub(crate) fn response(&self, received: &ReceivedRequest) -> Bytes {
        match received.api {
            ApiKey::ApiVersions => self.api_versions(received),
            ApiKey::Metadata => encoded(&self.metadata(received), received.version),
            ApiKey::ListOffsets => encoded(&self.list_offsets(received), received.version),
            ApiKey::FindCoordinator => encoded(&self.coordinator(received), received.version),
            ApiKey::OffsetFetch => encoded(&self.offset_fetch(received), received.version),
            ApiKey::OffsetForLeaderEpoch => encoded(&self.epoch_end(received), received.version),
            other => panic!("the peer received an unexpected {other:?} request"),
        }
    }

    fn api_versions(&self, received: &ReceivedRequest) -> Bytes {
        let apis = self.highest.iter().map(|(api, highest)| {
            ApiVersion::default().with_api_key(*api).with_min_version(0).with_max_version(*highest)
        });
        let response = ApiVersionsResponse::default().with_api_keys(apis.collect());
        if received.version > self.highest[&(ApiKey::ApiVersions as i16)] {
            let refusal = ApiVersionsResponse::default().with_error_code(35);
            return encoded(&refusal, 0);
        }
        encoded(&response, received.version)
    }

    pub(crate) fn metadata(&self, received: &ReceivedRequest) -> MetadataResponse {
        let request: MetadataRequest = received.decode();
        let names: Vec<String> = request.topics.map_or_else(
            || self.topics.keys().cloned().collect(),
            |topics| topics.iter().map(|t| t.name.as_ref().unwrap().to_string()).collect(),
        );
        let brokers = self.brokers.iter().map(|(node, (host, port))| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(*node))
                .with_host(text(host))
                .with_port(i32::from(*port))
        });
        let topics = names.iter().map(|name| {
            let topic = MetadataResponseTopic::default().with_name(Some(TopicName(text(name))));
            let Some((id, partitions)) = self.topics.get(name) else {
                return topic.with_error_code(3);
            };
            let partitions = partitions.iter().zip(0..).map(|(p, index)| {
                MetadataResponsePartition::default()
                    .with_partition_index(index)
                    .with_error_code(if p.leader < 0 { 5 } else { 0 })
                    .with_leader_id(BrokerId(p.leader))
                    .with_leader_epoch(if received.version >= 7 { p.epoch } else { -1 })
                    .with_replica_nodes(vec![BrokerId(1)])
                    .with_isr_nodes(vec![BrokerId(1)])
            });
            topic
                .with_topic_id(if received.version >= 10 { *id } else { Uuid::nil() })
                .with_is_internal(name.starts_with("__"))
                .with_partitions(partitions.collect())
        });
        MetadataResponse::default()
            .with_cluster_id(Some(text("the-cluster")))
            .with_brokers(brokers.collect())
            .with_topics(topics.collect())
    }

    fn partition(&self, topic: &str, index: i32) -> Option<&WorldPartition> {
        self.topics.get(topic)?.1.get(usize::try_from(index).ok()?)
    }

    /// Returns errors for partitions that this broker does not lead, and for old leader epochs.
    pub(crate) fn list_offsets(&self, received: &ReceivedRequest) -> ListOffsetsResponse {
        let request: ListOffsetsRequest = received.decode();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                let response = ListOffsetsPartitionResponse::default()
                    .with_partition_index(p.partition_index)
                    .with_offset(-1);
                let Some(world) = self.partition(&topic.name, p.partition_index) else {
                    return response.with_error_code(3);
                };
                let (host, port) = &self.brokers[&world.leader.max(1)];
                if world.leader < 0 || received.address != format!("{host}:{port}") {
                    return response.with_error_code(6);
                }
                if p.current_leader_epoch >= 0 && p.current_leader_epoch < world.epoch {
                    return response.with_error_code(74);
                }
                response.with_offset(match (p.timestamp, request.isolation_level) {
                    (-2, _) => world.log_start,
                    (-1, 1) => world.last_stable,
                    (-1, _) => world.high,
                    (time, _) if time < world.high => time.max(world.log_start),
                    _ => -1,
                })
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    /// Returns the broker with the highest id as the coordinator.
    fn coordinator(&self, received: &ReceivedRequest) -> FindCoordinatorResponse {
        let request: FindCoordinatorRequest = received.decode();
        let (node, (host, port)) = self.brokers.last_key_value().unwrap();
        let (node, host, port) = (BrokerId(*node), text(host), i32::from(*port));
        let response = FindCoordinatorResponse::default();
        if received.version < 4 {
            return response.with_node_id(node).with_host(host).with_port(port);
        }
        let found = request.coordinator_keys.iter().map(|key| {
            Coordinator::default()
                .with_key(key.clone())
                .with_node_id(node)
                .with_host(host.clone())
                .with_port(port)
        });
        response.with_coordinators(found.collect())
    }

    fn offset_fetch(&self, received: &ReceivedRequest) -> OffsetFetchResponse {
        let request: OffsetFetchRequest = received.decode();
        let offset = |topic: &TopicName, index: i32| {
            let tp = TopicPartition::new(topic.as_str(), index);
            self.committed.get(&tp).copied().unwrap_or(-1)
        };
        if received.version < 8 {
            let topics = request.topics.unwrap().into_iter().map(|topic| {
                let partitions = topic.partition_indexes.iter().map(|p| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(*p)
                        .with_committed_offset(offset(&topic.name, *p))
                });
                OffsetFetchResponseTopic::default()
                    .with_partitions(partitions.collect())
                    .with_name(topic.name.clone())
            });
            return OffsetFetchResponse::default().with_topics(topics.collect());
        }
        let groups = request.groups.into_iter().map(|group| {
            let topics = group.topics.unwrap().into_iter().map(|topic| {
                let partitions = topic.partition_indexes.iter().map(|p| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(*p)
                        .with_committed_offset(offset(&topic.name, *p))
                });
                OffsetFetchResponseTopics::default()
                    .with_partitions(partitions.collect())
                    .with_name(topic.name.clone())
            });
            OffsetFetchResponseGroup::default()
                .with_group_id(GroupId(group.group_id.0))
                .with_topics(topics.collect())
        });
        OffsetFetchResponse::default().with_groups(groups.collect())
    }

    /// Returns ten times the epoch as the end offset of every epoch up to the partition's own.
    fn epoch_end(&self, received: &ReceivedRequest) -> OffsetForLeaderEpochResponse {
        let request: OffsetForLeaderEpochRequest = received.decode();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                let known = self.partition(&topic.topic, p.partition).unwrap().epoch;
                let response = EpochEndOffset::default().with_partition(p.partition);
                if p.leader_epoch > known {
                    return response;
                }
                response
                    .with_leader_epoch(p.leader_epoch)
                    .with_end_offset(10 * i64::from(p.leader_epoch))
            });
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions.collect())
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }
}
