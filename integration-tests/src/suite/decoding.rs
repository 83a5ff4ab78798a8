//! Values that a stream decodes, and dead letters.

use std::sync::Arc;

use futures::future::BoxFuture;
use kafka_direct::{
    BatchContext, BoxError, Columns, DirectStream, RangeSummary, RangeWriter, Sink, TaskReceipt,
    TopicPartition, Trigger, WriteTask,
    arrow::array::{Array as _, RecordBatch, cast::AsArray as _, types::Int64Type},
};
use kafka_direct_values::{
    BatchDecoder, DeadLetter, DeadLetters, DecodedSink, Decoding, OnPoison, ValueFormat,
};
use parking_lot::Mutex;
use rskafka::client::partition::Compression;

use crate::cluster::{TestCluster, Writer, Written, connect, unique};

/// The dead letters so far, and how many there were at the first commit.
#[derive(Debug, Default)]
struct Letters {
    sent: Mutex<Vec<DeadLetter>>,
    at_commit: Mutex<Option<usize>>,
}

impl DeadLetters for Letters {
    fn send(&self, letters: Vec<DeadLetter>) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            self.sent.lock().extend(letters);
            Ok(())
        })
    }
}

/// Keeps the field `id` of committed values.
#[derive(Debug)]
struct Ids {
    committed: Arc<Mutex<Vec<i64>>>,
    letters: Arc<Letters>,
}

#[derive(Debug, Default)]
struct IdsWriter(Vec<i64>);

impl Sink for Ids {
    type Receipt = Vec<i64>;
    type Writer = IdsWriter;

    async fn writer(&self, _: &WriteTask) -> Result<IdsWriter, BoxError> {
        Ok(IdsWriter::default())
    }

    async fn commit(
        &self,
        _: &BatchContext,
        receipts: &[TaskReceipt<Vec<i64>>],
    ) -> Result<(), BoxError> {
        self.letters.at_commit.lock().get_or_insert(self.letters.sent.lock().len());
        self.committed.lock().extend(receipts.iter().flat_map(|receipt| receipt.receipt.clone()));
        Ok(())
    }
}

impl RangeWriter for IdsWriter {
    type Receipt = Vec<i64>;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        let values = batch.column_by_name("value").unwrap().as_struct();
        let ids = values.column_by_name("id").unwrap().as_primitive::<Int64Type>();
        self.0.extend((0..ids.len()).filter(|row| values.is_valid(*row)).map(|row| ids.value(row)));
        Ok(())
    }

    async fn finish(self, _: &[RangeSummary]) -> Result<Vec<i64>, BoxError> {
        Ok(self.0)
    }
}

/// Values become typed; what does not is a dead letter, with its bytes, before the batch is committed.
pub async fn a_stream_decodes_json_and_sends_poison_away_before_its_commit(
    cluster: &impl TestCluster,
) {
    let topic = unique("typed");
    let writer = Writer::new(cluster).await;
    writer.create(&topic, 1).await;
    let records: Vec<Written> = (0..100_i64)
        .map(|id| Written {
            key: Some(b"k".to_vec()),
            value: match id % 10 {
                0 => None,
                3 => Some(format!("{{\"id\": \"{id}\"}}").into_bytes()),
                _ => Some(format!("{{\"id\": {id}}}").into_bytes()),
            },
            timestamp: 1_700_000_000_000 + id,
        })
        .collect();
    writer.write(&topic, 0, &[&records], Compression::Lz4).await;
    let (letters, committed) = (Arc::new(Letters::default()), Arc::default());
    let format = ValueFormat::TypedJson(Arc::new("{\"id\": \"Int64!\"}".parse().unwrap()));
    let on_poison = OnPoison::DeadLetter(Arc::clone(&letters) as Arc<dyn DeadLetters>);
    let decoder = BatchDecoder::new(ValueFormat::Binary, format);
    let decoding = Decoding::new(Columns::default(), decoder, on_poison);
    let connected = connect(cluster).await;
    let stream = DirectStream::builder(&connected)
        .topic(&topic)
        .trigger(Trigger::AvailableNow)
        .decode(kafka_direct::DecodeOptions::new().columns(decoding.read_columns()))
        .build()
        .await
        .unwrap();
    let sink = Ids { committed: Arc::clone(&committed), letters: Arc::clone(&letters) };
    let progress = stream.run(Arc::new(DecodedSink::new(sink, decoding))).await.unwrap();
    let is_good = |id: &i64| id % 10 != 0 && id % 10 != 3;
    assert_eq!(*committed.lock(), (0..100).filter(is_good).collect::<Vec<_>>());
    assert_eq!(*letters.at_commit.lock(), Some(10));
    let last = progress.last.unwrap();
    assert_eq!((last.records, last.poison), (100, 10));
    let sent = letters.sent.lock();
    assert_eq!(sent[4].topic_partition, TopicPartition::new(topic.as_str(), 0));
    assert_eq!((sent[4].offset, sent[4].timestamp), (43, Some(1_700_000_000_043)));
    assert_eq!(sent[4].value.as_deref(), Some(&b"{\"id\": \"43\"}"[..]));
}
