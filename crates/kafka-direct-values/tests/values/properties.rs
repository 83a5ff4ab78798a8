//! What is true for any records.

use std::sync::Arc;

use kafka_direct::Column;
use kafka_direct::arrow::array::{Array, cast::AsArray};
use kafka_direct_values::{BatchDecoder, DecodedBatch, ERROR_COLUMN, ValueFormat};
use proptest::prelude::*;

use crate::{batch, names, offsets};

const SCHEMA: &str =
    r#"{"id": "Int64!", "name": "Utf8", "tags": ["Utf8!"], "of": {"x": "Float64!"}}"#;

/// The same schema as a type of serde, with which the decoder must agree.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Document {
    id: i64,
    name: Option<String>,
    tags: Option<Vec<String>>,
    of: Option<Of>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Of {
    x: f64,
}

fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| serde_json::to_string(&n).unwrap()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    scalar.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[{}]", all.join(","))),
            inner.clone().prop_map(|x| format!("{{\"x\":{x}}}")),
            prop::collection::vec("[a-c]{0,3}", 0..4)
                .prop_map(|texts| serde_json::to_string(&texts).unwrap()),
        ]
    })
}

/// Documents that mostly have the fields of the schema, some cut short, and other bytes.
fn record() -> impl Strategy<Value = Option<Vec<u8>>> {
    let name = prop_oneof![
        4 => Just("id"), 2 => Just("name"), 2 => Just("tags"), 2 => Just("of"), 1 => Just("other")
    ];
    let good = any::<i64>().prop_map(|id| {
        format!("{{\"id\":{id},\"name\":\"n\",\"tags\":[\"t\"],\"of\":{{\"x\":{id}}}}}")
            .into_bytes()
    });
    let object = prop::collection::vec((name, value()), 0..5).prop_map(|fields| {
        let fields = fields.into_iter().map(|(name, value)| format!("\"{name}\": {value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(", ")).into_bytes()
    });
    let object = object.boxed();
    let cut = object
        .clone()
        .prop_flat_map(|bytes| (0..=bytes.len()).prop_map(move |end| bytes[..end].to_vec()));
    prop_oneof![
        1 => Just(None),
        3 => good.prop_map(Some),
        5 => object.prop_map(Some),
        2 => cut.prop_map(Some),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Some),
    ]
}

fn expected(bytes: &[u8]) -> Option<Document> {
    // A tuple or an array would do for serde, and is no object.
    let is_object = serde_json::from_slice::<serde_json::Value>(bytes).ok()?.is_object();
    serde_json::from_slice(bytes).ok().filter(|_| is_object)
}

fn decode(format: ValueFormat, records: &[Option<Vec<u8>>]) -> DecodedBatch {
    let records: Vec<_> = records.iter().map(|value| (None, value.as_deref())).collect();
    BatchDecoder::new(ValueFormat::Binary, format).decode(&batch(&records)).unwrap()
}

fn typed() -> ValueFormat {
    ValueFormat::TypedJson(Arc::new(SCHEMA.parse().unwrap()))
}

proptest! {
    #[test]
    fn a_record_decodes_as_serde_decodes_it_or_is_poison(records in prop::collection::vec(record(), 0..20)) {
        let decoded = decode(typed(), &records);
        let value = decoded.batch.column_by_name("value").unwrap().as_struct();
        let poison: Vec<usize> = decoded.poison.iter().map(|poison| poison.row).collect();
        prop_assert_eq!(value.len(), records.len());
        for (row, record) in records.iter().enumerate() {
            let expected = record.as_deref().map(expected);
            prop_assert_eq!(poison.contains(&row), matches!(expected, Some(None)), "{:?}", record);
            let found = value.is_valid(row).then(|| {
                let (tags, of) = (value.column(2).as_list::<i32>(), value.column(3).as_struct());
                let name = value.column(1).as_string_view();
                Document {
                    id: value.column(0).as_primitive::<kafka_direct::arrow::array::types::Int64Type>().value(row),
                    name: name.is_valid(row).then(|| name.value(row).to_owned()),
                    tags: tags.is_valid(row).then(|| {
                        tags.value(row).as_string_view().iter().map(|tag| tag.unwrap().to_owned()).collect()
                    }),
                    of: of.is_valid(row).then(|| Of {
                        x: of.column(0).as_primitive::<kafka_direct::arrow::array::types::Float64Type>().value(row),
                    }),
                }
            });
            prop_assert_eq!(found, expected.flatten());
        }
    }

    #[test]
    fn rows_are_those_of_the_input_without_poison_and_in_order(records in prop::collection::vec(record(), 0..20)) {
        for format in [ValueFormat::Binary, ValueFormat::Utf8, ValueFormat::Json, typed()] {
            let decoded = decode(format, &records);
            let poison: Vec<i64> =
                decoded.poison_rows().map(|row| 100 + i64::try_from(row).unwrap()).collect();
            let all = offsets(&decoded.batch);
            let kept: Vec<i64> = all.iter().copied().filter(|offset| !poison.contains(offset)).collect();
            let marked = decoded.clone().with_errors().unwrap();
            prop_assert_eq!(offsets(&marked), all);
            let errors = marked.column_by_name(ERROR_COLUMN).unwrap();
            prop_assert_eq!(errors.len() - errors.null_count(), poison.len());
            prop_assert_eq!(offsets(&decoded.without_poison().unwrap()), kept);
        }
    }

    #[test]
    fn texts_keep_every_byte(records in prop::collection::vec(record(), 0..20)) {
        for (format, is_json) in [(ValueFormat::Utf8, false), (ValueFormat::Json, true)] {
            let decoded = decode(format, &records);
            let texts = decoded.batch.column_by_name("value").unwrap().as_string_view();
            for (row, record) in records.iter().enumerate() {
                let text = record.as_deref().map(std::str::from_utf8);
                let is_poison = match text {
                    Some(Ok(text)) if is_json => serde_json::from_str::<serde::de::IgnoredAny>(text).is_err(),
                    Some(text) => text.is_err(),
                    None => false,
                };
                prop_assert_eq!(decoded.poison.iter().any(|poison| poison.row == row), is_poison);
                let expected = text.and_then(Result::ok).filter(|_| !is_poison);
                prop_assert_eq!(texts.is_valid(row).then(|| texts.value(row)), expected);
            }
        }
    }
}

#[test]
fn a_record_with_key_and_value_poison_counts_once_and_has_both_reasons() {
    let decoder = BatchDecoder::new(ValueFormat::Utf8, ValueFormat::Json);
    let batch = batch(&[(Some(b"\xff"), Some(b"{")), (Some(b"k"), Some(b"1"))]);
    let decoded = decoder.decode(&batch).unwrap();
    assert_eq!(decoded.poison.len(), 2);
    assert_eq!(decoded.poison[0].column, Column::Key);
    assert_eq!(decoded.poison_rows().collect::<Vec<_>>(), [0]);
    let marked = decoded.with_errors().unwrap();
    let reasons = marked.column_by_name(ERROR_COLUMN).unwrap().as_string_view();
    assert!(reasons.value(0).starts_with("the key is not UTF-8 text: "), "{}", reasons.value(0));
    assert!(reasons.value(0).contains("; the value is not JSON: EOF"), "{}", reasons.value(0));
}

#[test]
fn texts_share_the_bytes_of_the_records() {
    let long = "a text that is too long for its view";
    let batch = crate::values(&[Some(long), Some("7"), None]);
    let bytes = batch.column_by_name("value").unwrap().as_binary_view();
    for value in [ValueFormat::Utf8, ValueFormat::Json] {
        // With poison the column is built anew, around the same bytes.
        let decoded = BatchDecoder::new(ValueFormat::Binary, value).decode(&batch).unwrap();
        let texts = decoded.batch.column_by_name("value").unwrap().as_string_view();
        assert_eq!(texts.data_buffers()[0].as_ptr(), bytes.data_buffers()[0].as_ptr());
    }
}

#[test]
fn only_the_named_columns_change_their_type() {
    let decoder = BatchDecoder::new(ValueFormat::Utf8, typed());
    let read = kafka_direct::schema(crate::columns());
    let schema = decoder.schema(&read);
    assert_eq!(names(&schema), names(&read));
    let changed: Vec<_> = (0..6).filter(|at| schema.field(*at) != read.field(*at)).collect();
    assert_eq!(changed, [0, 1]);
    let decoded = decoder.decode(&crate::values(&[None])).unwrap();
    assert_eq!(decoded.batch.schema(), schema);
    // A batch is decoded once.
    assert!(decoder.decode(&decoded.batch).is_err());
}
