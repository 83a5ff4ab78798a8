//! Every type of a public signature has a path in `kafka_direct`. Each binding below names one.

use std::{collections::BTreeMap, time::Duration};

use kafka_direct::{
    arrow::{array::RecordBatch, schema::SchemaRef},
    decode, error, fetch,
};
use kafka_direct_broker::{Broker, Record};

/// A cluster with one record in `t-0`.
async fn cluster() -> (Broker, kafka_direct::Cluster) {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker.append("t", 0, [Record::new("v")]).unwrap();
    let config: kafka_direct::ClusterConfig =
        kafka_direct::ClusterConfig::new([broker.bootstrap()]);
    let connected: Result<kafka_direct::Cluster, error::WireError> =
        kafka_direct::Cluster::connect(config).await;
    (broker, connected.unwrap())
}

#[tokio::test]
async fn the_types_of_a_cluster_have_a_path() {
    let (_broker, cluster) = cluster().await;
    let topics: Result<Vec<kafka_direct::TopicMetadata>, error::WireError> =
        cluster.all_topics().await;
    let partition: &kafka_direct::PartitionMetadata = &topics.as_ref().unwrap()[0].partitions[0];
    assert_eq!(partition.index, 0);
    let partitions = [kafka_direct::TopicPartition::new("t", 0)];
    let bounds: BTreeMap<kafka_direct::TopicPartition, kafka_direct::LogBounds> =
        cluster.log_bounds(&partitions).await.unwrap();
    let watermarks: kafka_direct::Watermarks = bounds[&partitions[0]].watermarks;
    assert_eq!(watermarks.high, kafka_direct::Offset::new(1));
    let metrics: kafka_direct::FetchMetrics = cluster.fetch_metrics();
    let latency: &kafka_direct::Latency = &metrics.latency;
    let _: Option<Duration> = latency.percentile(50);
    let _: fn(kafka_direct::TcpTransport) -> Box<dyn kafka_direct::Transport> = |tcp| Box::new(tcp);
    let _: for<'a> fn(&'a kafka_direct::TcpTransport, &'a str) -> kafka_direct::Connecting<'a> =
        |tcp, host| kafka_direct::Transport::connect(tcp, host, 9092);
    let _: Option<&dyn kafka_direct::TransportStream> = None;
}

#[tokio::test]
async fn the_types_below_arrow_have_a_path() {
    let (_broker, cluster) = cluster().await;
    let range: Result<kafka_direct::OffsetRange, error::CoreError> =
        kafka_direct::OffsetRange::new(kafka_direct::TopicPartition::new("t", 0), 0, 1);
    let planned: kafka_direct::PlannedRange = kafka_direct::PlannedRange::new(
        range.unwrap(),
        kafka_direct::IsolationLevel::ReadCommitted,
    );
    let options: fetch::FetchOptions = fetch::FetchOptions::new();
    let mut reader: fetch::RangeFetch = cluster.fetch(planned.clone(), options);
    let pool: &fetch::BufferPool = cluster.buffer_pool();
    let decode: kafka_direct::DecodeOptions = kafka_direct::DecodeOptions::new();
    let mut decoder: fetch::RangeDecoder =
        fetch::RangeDecoder::with_pool(&planned, decode, pool.clone());
    while let Some(fetched) = reader.next().await.unwrap() {
        let fetched: fetch::Fetched = fetched;
        let _: (&fetch::Bytes, &Vec<fetch::AbortedTransaction>) =
            (&fetched.records, &fetched.aborted);
        let pushed: Result<(), error::WorkerError> = decoder.push(fetched);
        pushed.unwrap();
    }
    assert!(decoder.next_batch().unwrap().is_none());
    let batch: Option<RecordBatch> = decoder.flush().unwrap();
    let schema: SchemaRef = kafka_direct::schema(kafka_direct::Columns::default());
    assert_eq!(batch.unwrap().schema(), schema);
    let counts: &kafka_direct::Counts = decoder.counts();
    assert_eq!(counts.records, 1);
    let resets: &[kafka_direct::Reset] = reader.resets();
    assert!(resets.is_empty());
}

/// A program that handles one cause has to name the type of each part of the error.
fn cause(error: kafka_direct::Error) -> String {
    match error {
        kafka_direct::Error::Wire(error::WireError::Unavailable { failures, .. }) => {
            let last: Option<&kafka_direct::Attempt> = failures.last();
            last.map_or_else(String::new, ToString::to_string)
        }
        kafka_direct::Error::Wire(error::WireError::OffsetLost { cause, .. }) => {
            let cause: kafka_direct::ResetCause = cause;
            format!("{cause:?}")
        }
        kafka_direct::Error::Driver(error::DriverError::MissingResponse { lookup }) => {
            let lookup: error::Lookup = lookup;
            lookup.to_string()
        }
        kafka_direct::Error::Driver(error::DriverError::Uncovered { side, .. }) => {
            let side: error::Side = side;
            side.to_string()
        }
        kafka_direct::Error::Worker(error::WorkerError::Header { source, .. }) => {
            let source: error::HeaderError = source;
            source.to_string()
        }
        other => {
            let kind: kafka_direct::ErrorKind = other.kind();
            format!("{kind:?}")
        }
    }
}

#[tokio::test]
async fn the_types_of_a_batch_have_a_path() {
    let (_broker, cluster) = cluster().await;
    let starts: kafka_direct::ByPartition<kafka_direct::StartOffset> =
        kafka_direct::Starts::per_partition([]);
    let builder: kafka_direct::KafkaRddBuilder =
        kafka_direct::KafkaRdd::builder(&cluster).topic("t").start(starts);
    let built: Result<kafka_direct::KafkaRdd, kafka_direct::Error> = builder.clone().build().await;
    assert_eq!(cause(built.unwrap_err()), "start");
    let rdd = builder.start(kafka_direct::StartOffset::Earliest).build().await.unwrap();
    let plan: &kafka_direct::BatchPlan = rdd.plan();
    let looked_at: &[kafka_direct::PlannedPartition] = plan.partitions();
    let _: Option<kafka_direct::TopicId> = looked_at[0].topic_id;
    let mut records: kafka_direct::Records<decode::RawBytes, decode::RawBytes> = rdd.records();
    let record: decode::Record<Option<Vec<u8>>, Option<Vec<u8>>> =
        records.try_next().await.unwrap().unwrap();
    let headers: Vec<decode::Header> = record.headers;
    assert!(headers.is_empty());
    let mut batches: kafka_direct::Batches = rdd.read_partition(0).unwrap();
    assert!(batches.try_next().await.unwrap().is_some());
    let _: kafka_direct::ReadTimes = batches.times();
    let summary: kafka_direct::RangeSummary = batches.summary();
    let end: kafka_direct::BatchEnd = kafka_direct::BatchEnd::new(plan, [&summary]);
    let position: &kafka_direct::EndPosition = &end.positions[0];
    assert_eq!(position.offset, kafka_direct::Offset::new(1));
}
