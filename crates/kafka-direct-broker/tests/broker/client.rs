//! A client with one connection, based on `kafka-protocol`'s codecs.

use bytes::{Bytes, BytesMut};
use kafka_direct_broker::{Broker, Record};
use kafka_protocol::{
    messages::{
        FetchRequest, FetchResponse, RequestHeader, ResponseHeader,
        fetch_request::{FetchPartition, FetchTopic},
        fetch_response::PartitionData,
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) struct Client {
    stream: Box<dyn Stream>,
    correlation: i32,
}

impl Client {
    pub(crate) async fn tcp(address: &str) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        Self { stream: Box::new(stream), correlation: 0 }
    }

    /// A client connected to node `node` in memory.
    pub(crate) fn memory(broker: &Broker, node: i32) -> Self {
        let stream = broker.connect_in_memory(&format!("node-{node}"), 9092).unwrap();
        Self { stream: Box::new(stream), correlation: 0 }
    }

    pub(crate) async fn send<Q: Request>(&mut self, version: i16, request: &Q) {
        self.correlation += 1;
        let mut body = BytesMut::new();
        RequestHeader::default()
            .with_request_api_key(Q::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("test")))
            .encode(&mut body, Q::header_version(version))
            .unwrap();
        request.encode(&mut body, version).unwrap();
        self.send_frame(&body).await;
    }

    pub(crate) async fn send_frame(&mut self, body: &[u8]) {
        let size = i32::try_from(body.len()).unwrap().to_be_bytes();
        self.stream.write_all(&[&size, body].concat()).await.unwrap();
    }

    /// The next frame without its size prefix; `None` if the connection closes before its end.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let size = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(size).unwrap()];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    pub(crate) async fn receive<Q: Request>(&mut self, version: i16) -> Option<Q::Response> {
        let mut frame = self.frame().await?;
        let header =
            ResponseHeader::decode(&mut frame, Q::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation);
        let response = Q::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "extra bytes after the response");
        Some(response)
    }

    pub(crate) async fn call<Q: Request>(&mut self, version: i16, request: Q) -> Q::Response {
        self.send(version, &request).await;
        self.receive::<Q>(version).await.expect("the broker closed the connection")
    }

    /// Like `call`, but returns `None` if the broker closes the connection.
    pub(crate) async fn try_call<Q: Request>(
        &mut self,
        version: i16,
        request: Q,
    ) -> Option<Q::Response> {
        self.send(version, &request).await;
        self.receive::<Q>(version).await
    }
}

/// A fetch of `partition` from `offset`, at most 1 MiB.
pub(crate) fn want(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

/// A Fetch of topic `t` by name, without a session.
pub(crate) fn fetch(wants: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic::default()
        .with_topic(StrBytes::from_static_str("t").into())
        .with_partitions(wants);
    FetchRequest::default().with_topics(vec![topic])
}

pub(crate) fn partitions(response: &FetchResponse) -> Vec<&PartitionData> {
    response.responses.iter().flat_map(|topic| &topic.partitions).collect()
}

/// The base offsets of the batches in a partition's response.
pub(crate) fn bases(partition: &PartitionData) -> Vec<i64> {
    let records = partition.records.clone().unwrap_or_default();
    let mut batches = kafka_direct_core::walk(&records);
    let bases = batches.by_ref().map(|batch| batch.unwrap().0.base_offset.get()).collect();
    assert_eq!(batches.rest_bytes(), 0, "a batch is cut");
    bases
}

pub(crate) fn values(count: usize, bytes: usize) -> Vec<Record> {
    vec![Record::new(vec![7; bytes]); count]
}

/// A broker in memory with a topic `t` of `partitions` partitions.
pub(crate) async fn broker(partitions: i32) -> Broker {
    let broker = Broker::builder().in_memory().start().await.unwrap();
    broker.create_topic("t", partitions).unwrap();
    broker
}
