//! Decoded keys and values in every format: texts, JSON, structs, and the column of reasons.

#![allow(clippy::unwrap_used, reason = "functions shared by tests may fail them")]

use std::sync::Arc;

use kafka_direct::arrow::{
    array::{
        Array as _, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray,
        RecordBatch, StringViewArray, StructArray, TimestampMillisecondArray, types::Int64Type,
    },
    buffer::NullBuffer,
    schema::{DataType, Field, Schema},
};
use kafka_direct_sinks::{
    ArrowTypes, Error, Format,
    format::{ERROR_COLUMN, Encoder},
};

/// Three rows: a struct with every kind of field, one with nulls, and a null.
fn objects() -> StructArray {
    let texts: StringViewArray =
        [Some("a \"text\" of some length"), None, None].into_iter().collect();
    let lists = [Some(vec![Some(1), None]), Some(vec![]), None];
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    let times = TimestampMillisecondArray::from(vec![Some(1_500), None, None]).with_timezone("UTC");
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
    let inner =
        StructArray::from(vec![(Arc::new(Field::new("flag", DataType::Boolean, true)), flags)]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(texts)),
        ("list", Arc::new(lists)),
        ("at", Arc::new(times)),
        ("day", Arc::new(Date32Array::from(vec![Some(1), None, None]))),
        ("number", Arc::new(Float64Array::from(vec![Some(0.5), None, None]))),
        ("of", Arc::new(inner)),
    ];
    let fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let fields = fields.collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    StructArray::try_new(fields, arrays, Some(NullBuffer::from(vec![true, true, false]))).unwrap()
}

/// Offsets, these values, and a reason for the last row.
fn batch(field: Field, values: ArrayRef) -> RecordBatch {
    let reasons: StringViewArray = [None, None, Some("no JSON, \"really\"")].into_iter().collect();
    let schema = Schema::new(vec![
        field,
        Field::new("offset", DataType::Int64, false),
        Field::new(ERROR_COLUMN, DataType::Utf8View, true),
    ]);
    let offsets = Arc::new(Int64Array::from(vec![7, 8, 9]));
    RecordBatch::try_new(Arc::new(schema), vec![values, offsets, Arc::new(reasons)]).unwrap()
}

fn typed() -> RecordBatch {
    let objects = objects();
    batch(Field::new("value", objects.data_type().clone(), true), Arc::new(objects))
}

fn texts(is_json: bool) -> RecordBatch {
    let texts: StringViewArray = [Some("{\"a\": 1}"), Some(""), None].into_iter().collect();
    let field = Field::new("value", DataType::Utf8View, true);
    let name = [("ARROW:extension:name".to_owned(), "arrow.json".to_owned())];
    let field = if is_json { field.with_metadata(name.into()) } else { field };
    batch(field, Arc::new(texts))
}

fn encoded(format: Format, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder::of_schema(format, batch.schema_ref(), ArrowTypes::Plain)?;
    let mut out = Vec::new();
    encoder.start(&mut out)?;
    let mut row = Some(0);
    while let Some(from) = row {
        row = encoder.encode(batch, from, &mut out)?;
    }
    encoder.finish(&mut out)?;
    Ok(out)
}

fn text(format: Format, batch: &RecordBatch) -> String {
    String::from_utf8(encoded(format, batch).unwrap()).unwrap()
}

#[test]
fn a_struct_is_an_object_in_json_lines() {
    let expected = r#"{"offset":7,"value":{"text":"a \"text\" of some length","list":[1,null],"at":"1970-01-01T00:00:01.500Z","day":"1970-01-02","number":0.5,"of":{"flag":true}},"_error":null}
{"offset":8,"value":{"text":null,"list":[],"at":null,"day":null,"number":null,"of":{"flag":false}},"_error":null}
{"offset":9,"value":null,"_error":"no JSON, \"really\""}
"#;
    assert_eq!(text(Format::JsonLines, &typed()), expected);
}

#[test]
fn texts_that_are_json_are_embedded_in_json_lines_and_others_are_not() {
    let line =
        |is_json| text(Format::JsonLines, &texts(is_json)).lines().next().unwrap().to_owned();
    assert_eq!(line(true), r#"{"offset":7,"value":{"a": 1},"_error":null}"#);
    assert_eq!(line(false), r#"{"offset":7,"value":"{\"a\": 1}","_error":null}"#);
}

#[test]
fn csv_and_raw_carry_texts_and_refuse_structs() {
    let csv =
        "offset,value,_error\n7,\"{\"\"a\"\": 1}\",\n8,\"\",\n9,,\"no JSON, \"\"really\"\"\"\n";
    assert_eq!(text(Format::Csv, &texts(true)), csv);
    assert_eq!(text(Format::Raw, &texts(false)), "{\"a\": 1}\n\n\n");
    for format in [Format::Csv, Format::Raw] {
        let error = encoded(format, &typed()).unwrap_err();
        assert!(
            error.to_string().contains("cannot carry the fields of the column `value`"),
            "{error}"
        );
    }
}

/// What `typed` becomes with plain types: the same values.
#[cfg(feature = "arrow-ipc")]
#[test]
fn an_arrow_file_has_the_struct_with_plain_types() {
    use kafka_direct::arrow::array::cast::AsArray as _;
    let bytes = encoded(Format::Arrow, &typed()).unwrap();
    let mut reader =
        arrow_ipc::reader::FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
    let read = reader.next().unwrap().unwrap();
    let value = read.column(0).as_struct();
    assert_eq!(value.column(0).as_string::<i32>().value(0), "a \"text\" of some length");
    assert_eq!((value.column(1), value.column(5)), (objects().column(1), objects().column(5)));
    assert!(value.is_null(2) && read.column(2).as_string::<i32>().is_valid(2));
    assert!(!encoded(Format::Arrow, &texts(true)).unwrap().is_empty());
}

#[cfg(feature = "parquet")]
#[test]
fn a_parquet_file_has_the_struct_and_reads_as_the_same_rows() {
    use kafka_direct::arrow::array::cast::AsArray as _;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    // A file is what the reader takes without the crate `bytes`.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("typed.parquet");
    std::fs::write(&path, encoded(Format::Parquet, &typed()).unwrap()).unwrap();
    let file = std::fs::File::open(path).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let read = reader.next().unwrap().unwrap();
    let value = read.column(0).as_struct();
    assert_eq!(value.column(0).as_string::<i32>().value(0), "a \"text\" of some length");
    assert_eq!(value.column(2), objects().column(2));
    // Inside a null struct a struct is null, too: Parquet keeps no more.
    let nested = value.column(5).as_struct();
    assert_eq!(nested.column(0), objects().column(5).as_struct().column(0));
    assert_eq!((0..3).map(|row| nested.is_null(row)).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!((0..3).map(|row| value.is_null(row)).collect::<Vec<_>>(), [false, false, true]);
}
