//! Bytes that become texts, without a copy.

use std::sync::Arc;

use kafka_direct::arrow::{
    array::{Array as _, ArrayRef, BinaryViewArray, StringViewArray},
    buffer::NullBuffer,
    schema::ArrowError,
};
use serde::de::IgnoredAny;

/// The most characters of a reason: a parser may quote a text of any length.
const REASON_CHARS: usize = 200;

/// The texts of `array` that are UTF-8 and that `check` accepts. The others are null, and returned with
/// their rows and reasons, in ascending order.
pub(crate) fn decode(
    array: &BinaryViewArray,
    check: fn(&str) -> Result<(), String>,
) -> Result<(ArrayRef, Vec<(usize, String)>), ArrowError> {
    let mut failed = Vec::new();
    for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
        if let Err(reason) = utf8(array.value(row)).and_then(check) {
            failed.push((row, reason));
        }
    }
    if failed.is_empty() {
        return Ok((Arc::new(array.clone().to_string_view()?), failed));
    }
    let mut valid: Vec<bool> = (0..array.len()).map(|row| array.is_valid(row)).collect();
    let mut views = array.views().to_vec();
    for (row, _) in &failed {
        if let (Some(valid), Some(view)) = (valid.get_mut(*row), views.get_mut(*row)) {
            (*valid, *view) = (false, 0);
        }
    }
    let (buffers, nulls) = (array.data_buffers().to_vec(), NullBuffer::from(valid));
    let texts = StringViewArray::try_new(views.into(), buffers, Some(nulls))?;
    Ok((Arc::new(texts), failed))
}

/// The text of `bytes`.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Whether `text` is one JSON value.
pub(crate) fn json(text: &str) -> Result<(), String> {
    let read = serde_json::from_str::<IgnoredAny>(text);
    read.map(drop).map_err(|error| shortened(error.to_string()))
}

/// A reason that is not longer than a line or two.
pub(crate) fn shortened(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}
