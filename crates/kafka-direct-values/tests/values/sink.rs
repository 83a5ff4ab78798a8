//! `DecodedSink`: what reaches the other sink under each policy, and what is reported.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::BoxFuture;
use kafka_direct::{
    BatchContext, BatchPlan, BoxError, Column, Columns, Error, IsolationLevel, OffsetRange,
    PlannedRange, RangeSummary, RangeWriter, Sink, TaskReceipt, TopicPartition, WriteTask,
    arrow::{
        array::{
            Array as _, BinaryViewArray, ListArray, RecordBatch, StringViewArray, StructArray,
        },
        buffer::OffsetBuffer,
        schema::DataType,
    },
    checkpoint::{BatchId, Generation, StreamId},
};
use kafka_direct_values::{
    BatchDecoder, DeadLetter, DeadLetters, DecodedSink, Decoding, OnPoison, ValueFormat,
};
use parking_lot::Mutex;

use crate::{columns, names, offsets, values};

/// Keeps what is written; one receipt per range with its rows.
#[derive(Debug, Default)]
struct Kept {
    batches: Arc<Mutex<Vec<RecordBatch>>>,
    aborted: Mutex<usize>,
}

#[derive(Debug)]
struct KeptWriter(Arc<Mutex<Vec<RecordBatch>>>, usize);

impl Sink for Kept {
    type Receipt = usize;
    type Writer = KeptWriter;

    async fn writer(&self, _: &WriteTask) -> Result<KeptWriter, BoxError> {
        Ok(KeptWriter(Arc::clone(&self.batches), 0))
    }

    async fn commit(
        &self,
        _: &BatchContext,
        receipts: &[TaskReceipt<usize>],
    ) -> Result<(), BoxError> {
        assert_eq!(receipts.len(), 1);
        Ok(())
    }

    async fn abort(&self, _: &WriteTask) -> Result<(), BoxError> {
        *self.aborted.lock() += 1;
        Ok(())
    }
}

impl RangeWriter for KeptWriter {
    type Receipt = usize;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        self.1 += batch.num_rows();
        self.0.lock().push(batch);
        Ok(())
    }

    async fn finish(self, _: &[RangeSummary]) -> Result<usize, BoxError> {
        Ok(self.1)
    }
}

/// Keeps letters, or fails.
#[derive(Debug, Default)]
struct FakeLetters {
    kept: Mutex<Vec<DeadLetter>>,
    fails: AtomicBool,
}

impl DeadLetters for FakeLetters {
    fn send(&self, letters: Vec<DeadLetter>) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            if self.fails.load(Ordering::Acquire) {
                return Err("the topic is gone".into());
            }
            self.kept.lock().extend(letters);
            Ok(())
        })
    }
}

fn task() -> WriteTask {
    let isolation = IsolationLevel::ReadCommitted;
    let range = OffsetRange::new(TopicPartition::new("orders", 3), 100, 200).unwrap();
    let ranges = vec![PlannedRange::new(range, isolation)];
    let plan = Arc::new(BatchPlan::new(None, isolation, ranges, vec![], vec![]).unwrap());
    let batch =
        kafka_direct::StreamBatch::new(StreamId::random(), BatchId::new(7), Generation::new(1));
    WriteTask::new(BatchContext::of_stream(plan, batch), 0, 1).unwrap()
}

fn decoding(columns: Columns, on_poison: OnPoison) -> Decoding {
    let decoder = BatchDecoder::new(ValueFormat::Binary, ValueFormat::Json);
    Decoding::new(columns, decoder, on_poison)
}

const VALUES: [Option<&str>; 6] = [Some("1"), Some("{"), None, Some("\"\""), Some("x"), Some("[]")];

/// The written batches, the poison that was reported before the end, and the receipt.
async fn written(
    on_poison: OnPoison,
    columns: Columns,
) -> Result<(Vec<RecordBatch>, u64), BoxError> {
    let kept = Kept::default();
    let batches = Arc::clone(&kept.batches);
    let sink = DecodedSink::new(kept, decoding(columns, on_poison));
    let task = task();
    let mut writer = sink.writer(&task).await?;
    writer.write(values(&VALUES)).await?;
    // A batch of which nothing is left is not handed on.
    writer.write(values(&[Some("}")])).await?;
    let poison = writer.poison();
    let summaries = vec![RangeSummary::new(&task.ranges[0])];
    let receipt = writer.finish(&summaries).await?;
    sink.commit(&task.batch, &[TaskReceipt::new(summaries, receipt)]).await?;
    let batches = std::mem::take(&mut *batches.lock());
    assert_eq!(receipt, batches.iter().map(RecordBatch::num_rows).sum::<usize>());
    Ok((batches, poison))
}

#[tokio::test]
async fn fail_names_the_first_record_and_hands_nothing_on() {
    let error = written(OnPoison::Fail, columns()).await.unwrap_err();
    let error = error.downcast::<Error>().unwrap();
    assert_eq!(error.to_string(), "orders-3 offset 101: the value is not JSON");
    let source = std::error::Error::source(&*error).unwrap().to_string();
    assert!(source.starts_with("EOF while parsing an object"), "{source}");
}

#[tokio::test]
async fn skip_leaves_poison_out_and_counts_it() {
    let (batches, poison) = written(OnPoison::Skip, columns()).await.unwrap();
    assert_eq!(poison, 3);
    assert_eq!(batches.iter().map(offsets).collect::<Vec<_>>(), [[100, 102, 103, 105]]);
}

#[tokio::test]
async fn null_keeps_every_row_and_always_has_the_column_of_reasons() {
    let (batches, poison) = written(OnPoison::Null, columns()).await.unwrap();
    assert_eq!((poison, batches.len()), (3, 2));
    for batch in &batches {
        assert_eq!(names(&batch.schema()), names(&decoding(columns(), OnPoison::Null).schema()));
    }
    let columns = Columns::none().with(Column::Value);
    let schema = decoding(columns, OnPoison::Null).schema();
    assert_eq!(names(&schema), ["value", "_error"]);
    let (batches, _) = written(OnPoison::Null, columns).await.unwrap();
    assert!(batches.iter().all(|batch| batch.schema() == schema));
}

#[tokio::test]
async fn dead_letters_are_the_records_as_they_were_read() {
    let letters = Arc::new(FakeLetters::default());
    let policy = OnPoison::DeadLetter(Arc::clone(&letters) as Arc<dyn DeadLetters>);
    let (batches, poison) = written(policy, columns()).await.unwrap();
    assert_eq!(batches.iter().map(offsets).collect::<Vec<_>>(), [[100, 102, 103, 105]]);
    let kept = letters.kept.lock();
    assert_eq!((poison, kept.len()), (3, 3));
    assert_eq!(kept[1].topic_partition, TopicPartition::new("orders", 3));
    assert_eq!((kept[1].offset, kept[1].timestamp), (104, Some(4)));
    assert_eq!((kept[1].key.as_deref(), kept[1].value.as_deref()), (None, Some(&b"x"[..])));
    assert!(
        kept[1].error.starts_with("the value is not JSON: expected value"),
        "{}",
        kept[1].error
    );
    assert_eq!(
        decoding(Columns::none(), OnPoison::DeadLetter(Arc::new(FakeLetters::default())))
            .read_columns(),
        Columns::all()
    );
}

/// `values` with headers: as many in each row as its number, of which the odd ones are null.
fn with_headers(batch: &RecordBatch) -> RecordBatch {
    let rows = batch.num_rows();
    let numbers = (0..rows).flat_map(|row| 0..row);
    let keys: StringViewArray = numbers.clone().map(|number| Some(format!("h{number}"))).collect();
    let contents: BinaryViewArray =
        numbers.map(|number| (number % 2 == 0).then_some(&b"v"[..])).collect();
    let schema = kafka_direct::schema(columns().with(Column::Headers));
    let DataType::List(item) = schema.field_with_name("headers").unwrap().data_type() else {
        panic!("no list")
    };
    let DataType::Struct(fields) = item.data_type() else { panic!("no struct") };
    let items =
        StructArray::try_new(fields.clone(), vec![Arc::new(keys), Arc::new(contents)], None);
    let offsets = OffsetBuffer::<i32>::from_lengths(0..rows);
    let lists = ListArray::try_new(Arc::clone(item), offsets, Arc::new(items.unwrap()), None);
    let mut arrays = batch.columns().to_vec();
    arrays.push(Arc::new(lists.unwrap()));
    RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap()
}

#[tokio::test]
async fn headers_go_with_a_dead_letter_and_with_the_rows_that_stay() {
    let letters = Arc::new(FakeLetters::default());
    let policy = OnPoison::DeadLetter(Arc::clone(&letters) as Arc<dyn DeadLetters>);
    let kept = Kept::default();
    let batches = Arc::clone(&kept.batches);
    let decoding = decoding(columns().with(Column::Headers), policy);
    let mut writer = DecodedSink::new(kept, decoding).writer(&task()).await.unwrap();
    let all = with_headers(&values(&VALUES));
    writer.write(all.clone()).await.unwrap();
    let expected = [("h0".to_owned(), Some(b"v".to_vec()))];
    assert_eq!(letters.kept.lock()[0].headers, expected);
    assert_eq!(letters.kept.lock()[1].headers[1], ("h1".to_owned(), None));
    let left = batches.lock()[0].clone();
    for (new, row) in [0, 2, 3, 5].into_iter().enumerate() {
        for name in ["topic", "headers", "timestamp", "offset"] {
            let (all, left) = (all.column_by_name(name), left.column_by_name(name));
            assert_eq!(left.unwrap().slice(new, 1).to_data(), all.unwrap().slice(row, 1).to_data());
        }
    }
}

#[tokio::test]
async fn an_attempt_whose_letters_are_not_durable_does_not_finish() {
    let letters = FakeLetters { fails: AtomicBool::new(true), ..FakeLetters::default() };
    let error = written(OnPoison::DeadLetter(Arc::new(letters)), columns()).await.unwrap_err();
    assert_eq!(error.to_string(), "the topic is gone");
}

#[tokio::test]
async fn without_a_format_batches_pass_unchanged() {
    let kept = Kept::default();
    let batches = Arc::clone(&kept.batches);
    let sink =
        DecodedSink::new(kept, Decoding::new(columns(), BatchDecoder::default(), OnPoison::Null));
    let task = task();
    let mut writer = sink.writer(&task).await.unwrap();
    writer.write(values(&VALUES)).await.unwrap();
    assert_eq!((writer.poison(), batches.lock()[0].clone()), (0, values(&VALUES)));
    sink.abort(&task).await.unwrap();
}
