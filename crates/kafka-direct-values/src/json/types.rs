//! The types that a field of a schema may have: their names, and the texts of dates and times.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use kafka_direct::arrow::{
    array::{
        ArrayRef, Int64Array,
        types::{
            Date32Type, TimestampMicrosecondType, TimestampMillisecondType,
            TimestampNanosecondType, TimestampSecondType,
        },
    },
    schema::{DataType, Field, TimeUnit},
};

/// Where the seconds of a time end in its text.
const SECONDS_END: usize = 19;
/// The time zone of all timestamps, as in the column `timestamp`.
const ZONE: &str = "UTC";

/// What a schema may name, for messages.
pub(super) const ALLOWED: &str = "Boolean, Int8 to Int64, UInt8 to UInt64, Float32, Float64, Utf8, Date32, Timestamp(s), Timestamp(ms), Timestamp(us) or Timestamp(ns), each with `!` after it if it may not be null; [TYPE] for a list, {\"field\": TYPE} for an object";

/// The type with this name.
pub(super) fn named(name: &str) -> Option<DataType> {
    let timestamp = |unit| DataType::Timestamp(unit, Some(ZONE.into()));
    Some(match name {
        "Boolean" => DataType::Boolean,
        "Int8" => DataType::Int8,
        "Int16" => DataType::Int16,
        "Int32" => DataType::Int32,
        "Int64" => DataType::Int64,
        "UInt8" => DataType::UInt8,
        "UInt16" => DataType::UInt16,
        "UInt32" => DataType::UInt32,
        "UInt64" => DataType::UInt64,
        "Float32" => DataType::Float32,
        "Float64" => DataType::Float64,
        "Utf8" => DataType::Utf8View,
        "Date32" => DataType::Date32,
        "Timestamp(s)" => timestamp(TimeUnit::Second),
        "Timestamp(ms)" => timestamp(TimeUnit::Millisecond),
        "Timestamp(us)" => timestamp(TimeUnit::Microsecond),
        "Timestamp(ns)" => timestamp(TimeUnit::Nanosecond),
        _ => return None,
    })
}

/// The name of a field's type, as a schema has it.
pub(super) fn name(field: &Field) -> String {
    let name = match field.data_type() {
        DataType::Utf8View => "Utf8".to_owned(),
        DataType::Timestamp(TimeUnit::Second, _) => "Timestamp(s)".to_owned(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => "Timestamp(ms)".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => "Timestamp(us)".to_owned(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => "Timestamp(ns)".to_owned(),
        DataType::List(_) => "a list".to_owned(),
        DataType::Struct(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    if field.is_nullable() { name } else { format!("{name}!") }
}

/// Days since 1970-01-01 of a text such as `2025-01-31`.
pub(super) fn date(text: &str) -> Option<i32> {
    // Chrono takes blanks, signs and single digits too.
    let date = has_shape(text, "0000-00-00").then(|| text.parse::<NaiveDate>());
    date?.ok().map(Date32Type::from_naive_date)
}

/// The time of a text such as `2025-01-31T12:00:00.5Z`, in `unit` since 1970-01-01. Finer digits are cut
/// off. Without a zone it is in UTC.
pub(super) fn timestamp(text: &str, unit: TimeUnit) -> Option<i64> {
    if !has_shape(text.get(..SECONDS_END)?, "0000-00-00T00:00:00") {
        return None;
    }
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let time = time.or_else(|_| text.parse::<NaiveDateTime>().map(|time| time.and_utc())).ok()?;
    in_unit(time, unit)
}

/// Whether `text` has digits where `shape` has a `0`, and the same characters elsewhere; a `T` may be a
/// blank or small.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(found, wanted)| match wanted {
            b'0' => found.is_ascii_digit(),
            b'T' => matches!(found, b'T' | b't' | b' '),
            other => found == other,
        })
}

fn in_unit(time: DateTime<Utc>, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => Some(time.timestamp()),
        TimeUnit::Millisecond => Some(time.timestamp_millis()),
        TimeUnit::Microsecond => Some(time.timestamp_micros()),
        TimeUnit::Nanosecond => time.timestamp_nanos_opt(),
    }
}

/// These numbers as timestamps in `unit`.
pub(super) fn timestamps(unit: TimeUnit, numbers: &Int64Array) -> ArrayRef {
    match unit {
        TimeUnit::Second => {
            Arc::new(numbers.reinterpret_cast::<TimestampSecondType>().with_timezone(ZONE))
        }
        TimeUnit::Millisecond => {
            Arc::new(numbers.reinterpret_cast::<TimestampMillisecondType>().with_timezone(ZONE))
        }
        TimeUnit::Microsecond => {
            Arc::new(numbers.reinterpret_cast::<TimestampMicrosecondType>().with_timezone(ZONE))
        }
        TimeUnit::Nanosecond => {
            Arc::new(numbers.reinterpret_cast::<TimestampNanosecondType>().with_timezone(ZONE))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_zone_and_cut_to_their_unit() {
        let millis = |text| timestamp(text, TimeUnit::Millisecond);
        assert_eq!(millis("1970-01-01T00:00:01.2349Z"), Some(1_234));
        assert_eq!(millis("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(millis("1970-01-01T00:00:02"), Some(2_000));
        assert_eq!(timestamp("1970-01-01T00:00:01.9Z", TimeUnit::Second), Some(1));
        assert_eq!(timestamp("1969-12-31T23:59:59Z", TimeUnit::Nanosecond), Some(-1_000_000_000));
        assert_eq!(timestamp("9999-01-01T00:00:00Z", TimeUnit::Nanosecond), None);
        for text in ["", "1970-01-01", "yesterday", "1970-13-01T00:00:00Z"] {
            assert_eq!(millis(text), None, "{text}");
        }
        assert_eq!((date("1970-01-02"), date("1970-01-32")), (Some(1), None));
    }
}
