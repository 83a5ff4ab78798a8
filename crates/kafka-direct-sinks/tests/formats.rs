//! Every format carries every record: nulls, empty values, text that needs quotes, headers.
//!
//! Files are read back with the reader of the format's own library.

#![allow(clippy::unwrap_used, reason = "functions shared by tests may fail them")]

use std::path::{Path, PathBuf};

use kafka_direct::{Cluster, ClusterConfig, Column, Columns, KafkaRdd, KafkaRddBuilder};
use kafka_direct_broker::{Broker, Record};
use kafka_direct_sinks::{BatchJob, Error, Format};

/// Key and value of each record; what is hard about it is in its value.
const RECORDS: [(Option<&str>, Option<&str>); 6] = [
    (Some("plain"), Some("text")),
    (None, Some("a,b\n\"c\"\r")),
    (Some(""), None),
    (None, Some("")),
    (Some("ключ"), Some("\u{1f980}")),
    (Some("k\"k"), Some("{\"a\": [1, 2]}")),
];

async fn filled() -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    for (number, (key, value)) in (0..).zip(RECORDS) {
        let record = match (key, value) {
            (Some(key), None) => Record::tombstone(key),
            (Some(key), Some(value)) => Record::new(value).with_key(key),
            (None, value) => Record::new(value.unwrap_or_default()),
        };
        let record = record.with_timestamp(number).with_header("h,1", Some("v\"1".into()));
        broker.append("t", 0, [record]).unwrap();
    }
    broker
}

async fn selection(broker: &Broker) -> KafkaRddBuilder {
    let cluster = Cluster::connect(ClusterConfig::new([broker.bootstrap()])).await.unwrap();
    KafkaRdd::builder(&cluster).topic("t")
}

/// The one file that a job in `format` writes.
async fn written(root: &Path, format: Format, columns: Columns) -> PathBuf {
    let broker = filled().await;
    let folder = root.join(format.extension());
    let job = BatchJob::new(&folder, format).columns(columns);
    let done = job.run(selection(&broker).await).await.unwrap();
    assert_eq!(done.receipt.totals.records, 6);
    folder.join(&done.receipt.ranges[0].file.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn json_values_are_embedded_and_others_stay_strings() {
    let root = tempfile::tempdir().unwrap();
    let columns = Columns::none().with(Column::Value);
    let path = written(root.path(), Format::JsonValues, columns).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(path.extension().unwrap(), "jsonl");
    let expected = [
        "{\"value\":\"text\"}",
        "{\"value\":\"a,b\\n\\\"c\\\"\\r\"}",
        "{\"value\":null}",
        "{\"value\":\"\"}",
        "{\"value\":\"\u{1f980}\"}",
        "{\"value\":{\"a\": [1, 2]}}",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_not_continued_with_values_written_in_another_way() {
    let root = tempfile::tempdir().unwrap();
    let broker = filled().await;
    for (name, first, second, named) in [
        ("one", Format::JsonLines, Format::JsonValues, "--json-values was not given and is now"),
        ("two", Format::JsonValues, Format::JsonLines, "--json-values was `yes` and is now not"),
    ] {
        let folder = root.path().join(name);
        let job = |format| BatchJob::new(&folder, format);
        job(first).run(selection(&broker).await).await.unwrap();
        let error = job(second).run(selection(&broker).await).await.unwrap_err();
        assert!(
            matches!(error, Error::Invalid { .. }) && error.to_string().contains(named),
            "{error}"
        );
        assert_eq!(job(first).run(selection(&broker).await).await.unwrap().ranges_read, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_read_back_by_a_csv_reader_and_tells_null_from_empty() {
    let root = tempfile::tempdir().unwrap();
    let path = written(root.path(), Format::Csv, Columns::all()).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("topic,partition,offset,timestamp,timestamp_type,key,value,headers\n"),
        "{text}"
    );
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), RECORDS.len());
    for (number, (row, (key, value))) in rows.iter().zip(RECORDS).enumerate() {
        let number = number.to_string();
        let fields = ["t", "0", &number, &number, "0"];
        assert!(row.iter().take(5).eq(fields), "{row:?}");
        assert_eq!((&row[5], &row[6]), (key.unwrap_or(""), value.unwrap_or("")));
        let headers: serde_json::Value = serde_json::from_str(&row[7]).unwrap();
        assert_eq!(headers, serde_json::json!([{"key": "h,1", "value": "v\"1"}]));
    }
    let line = |start: &str| text.lines().any(|line| line.starts_with(start));
    assert!(line("t,0,2,2,0,\"\",,"), "a tombstone has no value: {text}");
    assert!(line("t,0,3,3,0,,\"\","), "an empty value is quoted: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_keeps_the_comma_after_a_null_in_the_first_column() {
    let root = tempfile::tempdir().unwrap();
    let columns = Columns::none().with(Column::Key).with(Column::Value);
    let path = written(root.path(), Format::Csv, columns).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let expected = "key,value\nplain,text\n,\"a,b\n\"\"c\"\"\r\"\n\"\",\n,\"\"\nключ,\u{1f980}\n\
                    \"k\"\"k\",\"{\"\"a\"\": [1, 2]}\"\n";
    assert_eq!(text, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_refuses_a_column_whose_nulls_would_be_empty_lines() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    for columns in [Columns::none(), Columns::none().with(Column::Value)] {
        let job = BatchJob::new(root.path().join("out"), Format::Csv).columns(columns);
        let error = job.run(selection(&broker).await).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert!(!root.path().join("out").exists(), "it is refused before anything is made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_refuses_bytes_that_are_no_text_and_names_the_record() {
    let broker = filled().await;
    broker.append("t", 0, [Record::new(vec![0xff, 0xfe])]).unwrap();
    let root = tempfile::tempdir().unwrap();
    let job = BatchJob::new(root.path(), Format::Csv);
    let error = job.run(selection(&broker).await.attempts(1)).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert!(error.to_string().contains("t-0 offset 6: the value is not UTF-8"), "{error}");
    let mut names = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.any(|name| name.to_string_lossy().contains(".csv")));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_carry_every_record() {
    let root = tempfile::tempdir().unwrap();
    let path = written(root.path(), Format::JsonLines, Columns::all()).await;
    let text = std::fs::read_to_string(path).unwrap();
    for (line, (key, value)) in text.lines().zip(RECORDS) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((row["key"].as_str(), row["value"].as_str()), (key, value));
        assert_eq!(row["headers"][0]["value"], "v\"1");
    }
    assert_eq!(text.lines().count(), RECORDS.len());
}

#[cfg(feature = "parquet")]
#[tokio::test(flavor = "multi_thread")]
async fn parquet_is_read_back_by_its_own_reader_as_plain_types() {
    use kafka_direct::arrow::{
        array::cast::AsArray,
        schema::{DataType, TimeUnit},
    };
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let root = tempfile::tempdir().unwrap();
    let path = written(root.path(), Format::Parquet, Columns::all()).await;
    let file = std::fs::File::open(path).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let field = |name| builder.schema().field_with_name(name).unwrap().data_type().clone();
    assert_eq!(field("value"), DataType::Binary);
    assert_eq!(field("topic"), DataType::Utf8);
    assert_eq!(field("timestamp"), DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    let values = |name: &str| -> Vec<Option<Vec<u8>>> {
        let columns = batches.iter().map(|batch| batch.column_by_name(name).unwrap());
        columns
            .flat_map(|column| {
                column.as_binary::<i32>().iter().map(|v| v.map(<[u8]>::to_vec)).collect::<Vec<_>>()
            })
            .collect()
    };
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    assert_eq!(values("key"), RECORDS.map(|(key, _)| bytes(key)));
    assert_eq!(values("value"), RECORDS.map(|(_, value)| bytes(value)));
}

#[cfg(feature = "parquet")]
#[tokio::test(flavor = "multi_thread")]
async fn parquet_refuses_to_write_rows_without_columns() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let job = BatchJob::new(root.path(), Format::Parquet).columns(Columns::none());
    let error = job.run(selection(&broker).await).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
}

#[cfg(feature = "parquet")]
#[tokio::test(flavor = "multi_thread")]
async fn parquet_row_groups_end_before_they_are_large() {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    // Bytes that do not compress: what is encoded is as large as what was written.
    let mut state = 1u64;
    for _ in 0..40 {
        let value: Vec<u8> = (0..1 << 20)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        broker.append("t", 0, [Record::new(value)]).unwrap();
    }
    let root = tempfile::tempdir().unwrap();
    let job = BatchJob::new(root.path(), Format::Parquet);
    let done = job.run(selection(&broker).await).await.unwrap();
    let path = root.path().join(&done.receipt.ranges[0].file.name);
    let file = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let groups: Vec<i64> =
        file.metadata().row_groups().iter().map(|group| group.compressed_size()).collect();
    assert!(groups.len() > 1, "{groups:?}");
    assert!(groups.iter().all(|bytes| *bytes < 24 << 20), "{groups:?}");
}
