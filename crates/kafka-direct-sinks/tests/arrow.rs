//! Arrow IPC files and streams hold every record, with views and with plain types.
//!
//! They are read back with Arrow's own reader.

#![cfg(feature = "arrow-ipc")]
#![allow(clippy::unwrap_used, reason = "functions shared by tests may fail them")]

use std::{collections::BTreeSet, fs, io::Cursor, sync::Arc};

use arrow_ipc::reader::{FileReader, StreamReader};
use kafka_direct::{
    Cluster, ClusterConfig, Column, Columns, KafkaRdd, KafkaRddBuilder,
    arrow::{
        array::{
            Array as _, ArrayRef, BinaryViewArray, DictionaryArray, Int8Array, Int32Array,
            Int64Array, ListArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray,
            StructArray, TimestampMillisecondArray,
            cast::AsArray as _,
            types::{Int32Type, Int64Type, TimestampMillisecondType},
        },
        buffer::OffsetBuffer,
        schema::{DataType, SchemaRef},
    },
};
use kafka_direct_broker::{Broker, Record};
use kafka_direct_sinks::{ArrowTypes, BatchJob, Error, Format, format::Encoder};
use proptest::prelude::*;

const FORMATS: [Format; 2] = [Format::Arrow, Format::ArrowStream];
const TYPES: [ArrowTypes; 2] = [ArrowTypes::Plain, ArrowTypes::View];

type Bytes = Option<Vec<u8>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    topic: String,
    offset: i64,
    timestamp: Option<i64>,
    key: Bytes,
    value: Bytes,
    headers: Vec<(String, Bytes)>,
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..40))
}

fn row() -> impl Strategy<Value = Row> {
    let headers = prop::collection::vec((".{0,20}", bytes()), 0..4);
    let time = prop::option::of(any::<i64>());
    ("[a-c]", any::<i64>(), time, bytes(), bytes(), headers).prop_map(
        |(topic, offset, timestamp, key, value, headers)| Row {
            topic,
            offset,
            timestamp,
            key,
            value,
            headers,
        },
    )
}

/// A batch as the engine builds it. Its dictionary has the topics of its rows alone.
fn batch(rows: &[Row], columns: Columns) -> RecordBatch {
    let schema = kafka_direct::schema(columns);
    let arrays = columns.iter().map(|column| array(rows, column, &schema)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema, arrays, &options).unwrap()
}

fn array(rows: &[Row], column: Column, schema: &SchemaRef) -> ArrayRef {
    match column {
        Column::Topic => {
            let names: BTreeSet<&str> = rows.iter().map(|row| row.topic.as_str()).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let index = |row: &Row| names.binary_search(&row.topic.as_str()).unwrap();
            let indices: Int32Array =
                rows.iter().map(|row| Some(i32::try_from(index(row)).unwrap())).collect();
            Arc::new(DictionaryArray::new(indices, Arc::new(StringArray::from(names))))
        }
        Column::Partition => Arc::new(Int32Array::from(vec![7; rows.len()])),
        Column::Offset => Arc::new(rows.iter().map(|row| Some(row.offset)).collect::<Int64Array>()),
        Column::Timestamp => {
            let times: TimestampMillisecondArray = rows.iter().map(|row| row.timestamp).collect();
            Arc::new(times.with_timezone("UTC"))
        }
        Column::TimestampType => Arc::new(Int8Array::from(vec![0; rows.len()])),
        Column::Key => {
            Arc::new(rows.iter().map(|row| row.key.as_deref()).collect::<BinaryViewArray>())
        }
        Column::Value => {
            Arc::new(rows.iter().map(|row| row.value.as_deref()).collect::<BinaryViewArray>())
        }
        Column::Headers => {
            let DataType::List(item) = schema.field_with_name("headers").unwrap().data_type()
            else {
                unreachable!("headers are a list");
            };
            let DataType::Struct(fields) = item.data_type() else {
                unreachable!("a header is a struct");
            };
            let all = || rows.iter().flat_map(|row| &row.headers);
            let keys: StringViewArray = all().map(|(key, _)| Some(key)).collect();
            let values: BinaryViewArray = all().map(|(_, value)| value.as_deref()).collect();
            let items =
                StructArray::new(fields.clone(), vec![Arc::new(keys), Arc::new(values)], None);
            let lengths = OffsetBuffer::from_lengths(rows.iter().map(|row| row.headers.len()));
            Arc::new(ListArray::new(Arc::clone(item), lengths, Arc::new(items), None))
        }
        other => unreachable!("{other} is a new column"),
    }
}

/// Bytes or text of every row, whatever their type.
fn values(array: &ArrayRef) -> Vec<Bytes> {
    let text = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    match array.data_type() {
        DataType::BinaryView => {
            array.as_binary_view().iter().map(|v| v.map(<[u8]>::to_vec)).collect()
        }
        DataType::Binary => {
            array.as_binary::<i32>().iter().map(|v| v.map(<[u8]>::to_vec)).collect()
        }
        DataType::Utf8View => array.as_string_view().iter().map(text).collect(),
        DataType::Utf8 => array.as_string::<i32>().iter().map(text).collect(),
        DataType::Dictionary(..) => {
            let array = array.as_dictionary::<Int32Type>();
            array.downcast_dict::<StringArray>().unwrap().into_iter().map(text).collect()
        }
        other => unreachable!("{other} is not written"),
    }
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let text = |bytes: Bytes| String::from_utf8(bytes.unwrap()).unwrap();
    let (topics, keys) = (values(column("topic")), values(column("key")));
    let record_values = values(column("value"));
    let offsets = column("offset").as_primitive::<Int64Type>();
    let times = column("timestamp").as_primitive::<TimestampMillisecondType>();
    let headers = column("headers").as_list::<i32>();
    let headers_of = |row: usize| {
        let items = headers.value(row);
        let items = items.as_struct();
        let keys = values(items.column(0)).into_iter().map(text);
        keys.zip(values(items.column(1))).collect()
    };
    (0..batch.num_rows())
        .map(|row| Row {
            topic: text(topics[row].clone()),
            offset: offsets.value(row),
            timestamp: times.is_valid(row).then(|| times.value(row)),
            key: keys[row].clone(),
            value: record_values[row].clone(),
            headers: headers_of(row),
        })
        .collect()
}

/// Encodes batches into one output.
fn encoded(
    format: Format,
    columns: Columns,
    types: ArrowTypes,
    batches: &[RecordBatch],
) -> Vec<u8> {
    let mut encoder = Encoder::new(format, columns, types).unwrap();
    let mut output = Vec::new();
    encoder.start(&mut output).unwrap();
    for batch in batches {
        let mut row = Some(0);
        while let Some(from) = row {
            let mut block = Vec::new();
            row = encoder.encode(batch, from, &mut block).unwrap();
            output.append(&mut block);
        }
    }
    encoder.finish(&mut output).unwrap();
    output
}

/// The schema and the batches of a file or stream.
fn decoded(format: Format, output: Vec<u8>) -> (SchemaRef, Vec<RecordBatch>) {
    let output = Cursor::new(output);
    if format == Format::Arrow {
        let reader = FileReader::try_new(output, None).unwrap();
        return (reader.schema(), reader.map(Result::unwrap).collect());
    }
    let reader = StreamReader::try_new(output, None).unwrap();
    (reader.schema(), reader.map(Result::unwrap).collect())
}

fn type_of(schema: &SchemaRef, column: &str) -> DataType {
    schema.field_with_name(column).unwrap().data_type().clone()
}

fn has_views(data_type: &DataType) -> bool {
    match data_type {
        DataType::BinaryView | DataType::Utf8View => true,
        DataType::List(item) => has_views(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_views(field.data_type())),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Batches of any size, also slices of larger ones, and of topics that change between batches.
    #[test]
    fn every_record_is_read_back(
        parts in prop::collection::vec((prop::collection::vec(row(), 0..12), 0_usize..12), 0..5)
    ) {
        let sliced = |(rows, from): &(Vec<Row>, usize)| {
            let from = (*from).min(rows.len());
            batch(rows, Columns::all()).slice(from, rows.len() - from)
        };
        let batches: Vec<RecordBatch> = parts.iter().map(sliced).collect();
        let expected: Vec<Row> =
            parts.iter().flat_map(|(rows, from)| rows.iter().skip(*from).cloned()).collect();
        for format in FORMATS {
            for types in TYPES {
                let output = encoded(format, Columns::all(), types, &batches);
                let (_, found) = decoded(format, output);
                let found: Vec<Row> = found.iter().flat_map(rows_of).collect();
                prop_assert!(found == expected, "{format:?} {types}: {found:?} {expected:?}");
            }
        }
    }
}

#[test]
fn plain_outputs_have_no_views_and_only_streams_of_views_have_a_dictionary() {
    for format in FORMATS {
        for types in TYPES {
            let output = encoded(format, Columns::all(), types, &[]);
            let (schema, batches) = decoded(format, output);
            assert!(batches.is_empty());
            let engine = kafka_direct::schema(Columns::all());
            if (format, types) == (Format::ArrowStream, ArrowTypes::View) {
                assert_eq!(schema, engine);
                continue;
            }
            assert_eq!(type_of(&schema, "topic"), DataType::Utf8);
            let views = schema.fields().iter().any(|field| has_views(field.data_type()));
            assert_eq!(views, types == ArrowTypes::View, "{format:?}: {schema:?}");
            for column in ["partition", "offset", "timestamp", "timestamp_type"] {
                assert_eq!(type_of(&schema, column), type_of(&engine, column));
            }
            for (field, built) in schema.fields().iter().zip(engine.fields()) {
                assert_eq!(field.name(), built.name());
                assert_eq!(field.is_nullable(), built.is_nullable());
            }
        }
    }
}

#[test]
fn any_set_of_columns_keeps_the_number_of_rows() {
    let row = Row {
        topic: "a".to_owned(),
        offset: 0,
        timestamp: None,
        key: None,
        value: Some(b"v".to_vec()),
        headers: Vec::new(),
    };
    let rows = vec![row; 3];
    for columns in [Columns::none(), Columns::none().with(Column::Topic)] {
        for format in FORMATS {
            for types in TYPES {
                let output = encoded(format, columns, types, &[batch(&rows, columns)]);
                let (_, found) = decoded(format, output);
                assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
            }
        }
    }
}

/// A batch is handed on in pieces, so that an output of large records needs little memory.
#[test]
fn a_large_batch_becomes_several() {
    let large = |offset| Row {
        topic: "a".to_owned(),
        offset,
        timestamp: None,
        key: None,
        value: Some(vec![0; 5 << 20]),
        headers: Vec::new(),
    };
    let rows: Vec<Row> = (0..8).map(large).collect();
    for format in FORMATS {
        let output =
            encoded(format, Columns::all(), ArrowTypes::Plain, &[batch(&rows, Columns::all())]);
        let (_, found) = decoded(format, output);
        let counts: Vec<usize> = found.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(counts, [3, 3, 2], "16 MiB have room for three");
        let offsets = found.iter().flat_map(|batch| {
            batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>().values().to_vec()
        });
        assert!(offsets.eq(0..8));
    }
}

async fn selection(broker: &Broker) -> KafkaRddBuilder {
    let cluster = Cluster::connect(ClusterConfig::new([broker.bootstrap()])).await.unwrap();
    KafkaRdd::builder(&cluster).topic("t")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_writes_files_of_plain_types_and_an_empty_range_is_a_file_without_rows() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 2).unwrap();
    broker.append("t", 0, [Record::new("0"), Record::new("1")]).unwrap();
    for format in FORMATS {
        let root = tempfile::tempdir().unwrap();
        let job = BatchJob::new(root.path(), format);
        let receipt = job.run(selection(&broker).await).await.unwrap().receipt;
        let text = fs::read_to_string(root.path().join("receipt.json")).unwrap();
        assert!(text.contains("\"arrow_types\": \"plain\""), "{text}");
        for (range, rows) in receipt.ranges.iter().zip([2, 0]) {
            assert!(range.file.name.ends_with(&format!(".{}", format.extension())));
            let (schema, batches) =
                decoded(format, fs::read(root.path().join(&range.file.name)).unwrap());
            assert_eq!(type_of(&schema, "value"), DataType::Binary);
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_other_types_is_another_job() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker.append("t", 0, [Record::new("0")]).unwrap();
    let root = tempfile::tempdir().unwrap();
    let job = |types| BatchJob::new(root.path(), Format::Arrow).arrow_types(types);
    job(ArrowTypes::View).run(selection(&broker).await).await.unwrap();
    let error = job(ArrowTypes::Plain).run(selection(&broker).await).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    let difference = "--arrow-types was `view` and is now `plain`";
    assert!(error.to_string().contains(difference), "{error}");
    let again = job(ArrowTypes::View).run(selection(&broker).await).await.unwrap();
    assert_eq!(again.ranges_read, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_without_arrow_types_ignores_them() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let root = tempfile::tempdir().unwrap();
    let job = |types| BatchJob::new(root.path(), Format::JsonLines).arrow_types(types);
    job(ArrowTypes::View).run(selection(&broker).await).await.unwrap();
    job(ArrowTypes::Plain).run(selection(&broker).await).await.unwrap();
    let text = fs::read_to_string(root.path().join("receipt.json")).unwrap();
    assert!(!text.contains("arrow_types"), "{text}");
}

#[test]
fn what_was_not_selected_is_not_in_the_bytes_that_are_written() {
    const SECRET: &[u8] = b"a value that nobody has selected";
    let row = |n: u8| Row {
        topic: "t".to_owned(),
        offset: i64::from(n),
        timestamp: None,
        key: Some(vec![b'k'; 30]),
        value: Some(if n == 0 { vec![b'v'; 30] } else { SECRET.to_vec() }),
        headers: vec![("a header that is long enough".to_owned(), Some(vec![b'h'; 30]))],
    };
    let columns = Columns::none().with(Column::Value).with(Column::Headers);
    let rows: Vec<Row> = (0..50).map(row).collect();
    // The views of the first row point into the buffers of all rows.
    let first = batch(&rows, columns).slice(0, 1);
    for format in FORMATS {
        for types in TYPES {
            let mut encoder = Encoder::new(format, columns, types).unwrap();
            let mut out = Vec::new();
            encoder.start(&mut out).unwrap();
            assert_eq!(encoder.encode(&first, 0, &mut out).unwrap(), None);
            encoder.finish(&mut out).unwrap();
            let found = out.windows(SECRET.len()).any(|window| window == SECRET);
            assert!(!found, "{format:?} {types:?}");
            assert!(out.windows(30).any(|window| window == [b'v'; 30]));
        }
    }
}
