//! Values of structs, lists and their fields as JSON.
//!
//! Contract: what is written can be read again with the schema of the struct. Times are texts in UTC.

use kafka_direct::arrow::{
    array::{
        Array, ArrowPrimitiveType,
        cast::AsArray as _,
        types::{
            ArrowTemporalType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type,
            Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
            TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
            UInt64Type,
        },
    },
    schema::{DataType, TimeUnit},
};
use serde::Serialize;

use super::json_text;
use crate::Error;

/// Appends the value of a row.
///
/// # Errors
/// [`Error::Invalid`] for a type that has no JSON form here.
pub(super) fn write(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Boolean => {
            let value = array.as_boolean().value(row);
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
        DataType::Int8 => number::<Int8Type>(array, row, out),
        DataType::Int16 => number::<Int16Type>(array, row, out),
        DataType::Int32 => number::<Int32Type>(array, row, out),
        DataType::Int64 => number::<Int64Type>(array, row, out),
        DataType::UInt8 => number::<UInt8Type>(array, row, out),
        DataType::UInt16 => number::<UInt16Type>(array, row, out),
        DataType::UInt32 => number::<UInt32Type>(array, row, out),
        DataType::UInt64 => number::<UInt64Type>(array, row, out),
        DataType::Float32 => number::<Float32Type>(array, row, out),
        DataType::Float64 => number::<Float64Type>(array, row, out),
        DataType::Utf8View => json_text::string(array.as_string_view().value(row), out),
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            match array.value_as_date(row) {
                Some(date) => json_text::string(&date.to_string(), out),
                None => number::<Date32Type>(array, row, out),
            }
        }
        DataType::Timestamp(TimeUnit::Second, _) => time::<TimestampSecondType>(array, row, out),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            time::<TimestampMillisecondType>(array, row, out);
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            time::<TimestampMicrosecondType>(array, row, out);
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            time::<TimestampNanosecondType>(array, row, out);
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push(b'[');
            for item in 0..items.len() {
                if item > 0 {
                    out.push(b',');
                }
                write(&items, item, out)?;
            }
            out.push(b']');
        }
        DataType::Struct(fields) => {
            for (index, (field, column)) in
                fields.iter().zip(array.as_struct().columns()).enumerate()
            {
                out.push(if index == 0 { b'{' } else { b',' });
                json_text::string(field.name(), out);
                out.push(b':');
                write(column, row, out)?;
            }
            out.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
        }
        other => {
            return Err(Error::invalid(format!("a field of type {other} has no JSON form")));
        }
    }
    Ok(())
}

fn number<T: ArrowPrimitiveType<Native: Serialize>>(
    array: &dyn Array,
    row: usize,
    out: &mut Vec<u8>,
) {
    // Writing a number into memory cannot fail.
    drop(serde_json::to_writer(out, &array.as_primitive::<T>().value(row)));
}

/// A time such as `2025-01-31T12:00:00.500Z`; the number if no calendar has it.
fn time<T>(array: &dyn Array, row: usize, out: &mut Vec<u8>)
where
    T: ArrowTemporalType<Native: Serialize>,
    i64: From<T::Native>,
{
    match array.as_primitive::<T>().value_as_datetime(row) {
        Some(time) => json_text::string(&format!("{time:?}Z"), out),
        None => number::<T>(array, row, out),
    }
}

/// How many bytes the texts of a row have.
#[cfg(feature = "arrow-ipc")]
pub(super) fn text_bytes(array: &dyn Array, row: usize) -> usize {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().value(row).len(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| text_bytes(&items, item)).fold(0, usize::saturating_add)
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            columns.map(|column| text_bytes(column, row)).fold(0, usize::saturating_add)
        }
        _ => 0,
    }
}
