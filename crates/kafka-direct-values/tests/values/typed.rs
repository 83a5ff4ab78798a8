//! JSON with a schema: what each type takes, and what is poison.

use std::sync::Arc;

use kafka_direct::arrow::array::{
    Array, StructArray,
    cast::AsArray,
    types::{Date32Type, Int64Type, TimestampMillisecondType},
};
use kafka_direct_values::{BatchDecoder, DecodedBatch, ValueFormat};

use crate::values;

fn decoded(schema: &str, documents: &[Option<&str>]) -> DecodedBatch {
    let format = ValueFormat::TypedJson(Arc::new(schema.parse().unwrap()));
    BatchDecoder::new(ValueFormat::Binary, format).decode(&values(documents)).unwrap()
}

/// The column and the reasons.
fn column(schema: &str, documents: &[Option<&str>]) -> (StructArray, Vec<(usize, String)>) {
    let decoded = decoded(schema, documents);
    let value = decoded.batch.column_by_name("value").unwrap().as_struct().clone();
    (value, decoded.poison.into_iter().map(|poison| (poison.row, poison.reason)).collect())
}

/// Why the one document is poison.
fn reason(schema: &str, document: &str) -> String {
    let (value, poison) = column(schema, &[Some(document)]);
    assert!(value.is_null(0));
    poison.into_iter().next().unwrap_or_else(|| panic!("{document} decodes as {schema}")).1
}

fn decodes(schema: &str, document: &str) -> bool {
    column(schema, &[Some(document)]).1.is_empty()
}

#[test]
fn a_document_becomes_a_row_and_a_tombstone_stays_null() {
    let schema = r#"{"id": "Int64!", "at": "Timestamp(ms)", "day": "Date32", "tags": ["Utf8"],
        "customer": {"name": "Utf8", "vip": "Boolean"}, "amount": "Float64"}"#;
    let (value, poison) = column(
        schema,
        &[
            Some(
                r#"{"amount": 0.3, "id": 7, "extra": [{}], "tags": ["a", null, "a long text, for a buffer"],
                "customer": {"vip": true, "name": "Ann"}, "at": "2025-01-01T00:00:00.5Z", "day": "1970-01-03"}"#,
            ),
            None,
            Some(r#"{"id": 9}"#),
        ],
    );
    assert_eq!(poison, []);
    assert_eq!((0..3).map(|row| value.is_null(row)).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(value.column(0).as_primitive::<Int64Type>().value(2), 9);
    assert_eq!(
        value.column(1).as_primitive::<TimestampMillisecondType>().value(0),
        1_735_689_600_500
    );
    assert_eq!(value.column(2).as_primitive::<Date32Type>().value(0), 2);
    let tags = value.column(3).as_list::<i32>();
    assert_eq!((tags.value(0).len(), tags.is_null(2)), (3, true));
    assert_eq!(tags.value(0).as_string_view().value(2), "a long text, for a buffer");
    assert_eq!(value.column(4).as_struct().column(0).as_string_view().value(0), "Ann");
    assert!((1..6).all(|field| value.column(field).is_null(2)));
}

#[test]
fn what_is_poison_names_the_field_and_what_was_expected() {
    let all = r#"{"id": "Int8!", "customer": {"tags": ["Utf8!"], "at": "Timestamp(s)"}}"#;
    for (document, expected) in [
        (r#"{"id": "7"}"#, "field `id`: invalid type: string \"7\", expected Int8!"),
        (r#"{"id": 1.5}"#, "field `id`: invalid type: floating point `1.5`, expected Int8!"),
        (r#"{"id": 200}"#, "field `id`: invalid value: integer `200`, expected Int8!"),
        (r#"{"id": null}"#, "field `id`: invalid type: null, expected Int8!"),
        (r#"{"customer": {}}"#, "field `id`: it is missing"),
        (r#"{"id": 1, "id": 2}"#, "field `id`: it is there twice"),
        (
            r#"{"id": 1, "customer": 7}"#,
            "field `customer`: invalid type: integer `7`, expected an object",
        ),
        (
            r#"{"id": 1, "customer": {"tags": ["a", null]}}"#,
            "field `customer.tags`: invalid type: null, expected Utf8!",
        ),
        (
            r#"{"id": 1, "customer": {"at": "today"}}"#,
            "field `customer.at`: invalid value: string \"today\", expected Timestamp(s)",
        ),
        (r#"{"id": 1"#, "EOF while parsing an object"),
        (r#"{"id": 1} {}"#, "trailing characters"),
        (r#"{"id": 1,,}"#, "key must be a string"),
        ("7", "invalid type: integer `7`, expected an object"),
        ("null", "invalid type: null, expected an object"),
        ("", "EOF while parsing a value"),
    ] {
        let reason = reason(all, document);
        assert!(reason.starts_with(expected), "{document}: {reason}");
    }
}

#[test]
fn a_reason_is_short_however_long_the_value_is() {
    let long = format!(r#"{{"id": "{}"}}"#, "é".repeat(100_000));
    let reason = reason(r#"{"id": "Int64"}"#, &long);
    assert!(reason.chars().count() <= 201 && reason.ends_with('…'), "{reason}");
}

#[test]
fn integers_are_neither_rounded_nor_wrapped() {
    for (name, least, most) in [
        ("Int8", i128::from(i8::MIN), i128::from(i8::MAX)),
        ("Int16", i128::from(i16::MIN), i128::from(i16::MAX)),
        ("Int32", i128::from(i32::MIN), i128::from(i32::MAX)),
        ("Int64", i128::from(i64::MIN), i128::from(i64::MAX)),
        ("UInt8", 0, i128::from(u8::MAX)),
        ("UInt16", 0, i128::from(u16::MAX)),
        ("UInt32", 0, i128::from(u32::MAX)),
        ("UInt64", 0, i128::from(u64::MAX)),
    ] {
        let schema = format!(r#"{{"n": "{name}"}}"#);
        let fits = |number: i128| decodes(&schema, &format!(r#"{{"n": {number}}}"#));
        assert!(fits(least) && fits(most), "{name}");
        assert!(!fits(least - 1) && !fits(most + 1), "{name}");
        assert!(!decodes(&schema, r#"{"n": 1.0}"#) && !decodes(&schema, r#"{"n": true}"#));
    }
    assert!(decodes(r#"{"n": "Float32"}"#, r#"{"n": 3e38}"#));
    assert!(!decodes(r#"{"n": "Float32"}"#, r#"{"n": 4e38}"#));
    assert!(decodes(r#"{"n": "Float64"}"#, r#"{"n": 7}"#));
}

#[test]
fn a_document_that_fails_anywhere_leaves_nothing_in_the_next_row() {
    let schema = r#"{"a": "Int64!", "items": [{"name": "Utf8!", "tags": [["Utf8"]], "n": "Int64!"}], "b": "Int64!"}"#;
    let good = r#"{"a": 1, "items": [{"name": "x", "tags": [["t"], []], "n": 5}], "b": 2}"#;
    let bad = [
        r#"{"a": 1, "items": [{"name": "y", "tags": [["u", "v"], ["w", 7"#,
        r#"{"a": 1, "items": [{"name": "y", "tags": [["u"]], "n": 4}, {"n": "7"}], "b": 2}"#,
        r#"{"a": 1, "items": [{"name": "y"}, {"name": "z", "n": 1}]}"#,
        r#"{"items": [{"name": "y", "n": 1}], "a": 3, "b": 4} x"#,
        r#"{"b": 9, "a": 3, "items": [7]}"#,
    ];
    let alone = column(schema, &[Some(good)]).0;
    let mut documents = vec![Some(good)];
    for bad in bad {
        documents.extend([Some(bad), Some(good)]);
    }
    let (value, poison) = column(schema, &documents);
    let rows: Vec<usize> = poison.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows, [1, 3, 5, 7, 9]);
    for row in (0..documents.len()).step_by(2) {
        assert_eq!(value.slice(row, 1), alone, "row {row}");
    }
}

#[test]
fn text_that_is_not_utf8_is_poison_also_in_a_field_that_is_ignored() {
    let format = ValueFormat::TypedJson(Arc::new(r#"{"a": "Int64"}"#.parse().unwrap()));
    let batch = crate::batch(&[(None, Some(b"{\"b\": \"\xff\"}"))]);
    let decoded = BatchDecoder::new(ValueFormat::Binary, format).decode(&batch).unwrap();
    assert!(decoded.poison[0].reason.contains("utf-8"), "{:?}", decoded.poison);
}
