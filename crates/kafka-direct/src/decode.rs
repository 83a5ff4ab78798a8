//! Typed records instead of columns, as with Spark's key and value decoder classes.
//!
//! A [`Decoder`] decodes the bytes of a key or a value. [`KafkaRdd::records`](crate::KafkaRdd::records)
//! and [`Batches::into_records`](crate::Batches::into_records) return typed [`Record`]s;
//! [`records`] decodes one Arrow batch, also with decoders that are closures. Null and empty stay different: a decoder
//! receives an `Option`.
//!
//! ```
//! use kafka_direct::decode::{Decoder, Json, Utf8};
//!
//! assert_eq!(Utf8.decode(Some(b"abc"))?, Some("abc".to_owned()));
//! assert_eq!(Utf8.decode(None)?, None);
//! let json = Json::<Vec<u32>>::new();
//! assert_eq!(json.decode(Some(b"[1,2]"))?, Some(vec![1, 2]));
//! assert!(json.decode(Some(b"{")).is_err());
//! # Ok::<(), kafka_direct::BoxError>(())
//! ```

use std::marker::PhantomData;

use arrow_array::{
    Array, BinaryViewArray, Int32Array, Int64Array, RecordBatch, StringArray, StringViewArray,
    TimestampMillisecondArray, cast::AsArray, types::Int32Type,
};
use serde_json::from_slice;

use crate::{BoxError, Column, Columns, Error};

/// Decodes the bytes of a key or a value into a [`Decoder::Output`].
///
/// Implemented for closures too: `|bytes: Option<&[u8]>| -> Result<T, BoxError>`.
pub trait Decoder {
    /// The decoded type.
    type Output;
    /// What the bytes should be, for error messages: `JSON`, `UTF-8`.
    const WANTED: &'static str;

    /// Decodes one key or value; `None` is Kafka's null, which is not the same as empty.
    ///
    /// # Errors
    /// Any error that says why the bytes cannot be decoded.
    fn decode(&self, bytes: Option<&[u8]>) -> Result<Self::Output, BoxError>;
}

impl<T, F> Decoder for F
where
    F: Fn(Option<&[u8]>) -> Result<T, BoxError>,
{
    type Output = T;
    const WANTED: &'static str = "what its decoder accepts";

    fn decode(&self, bytes: Option<&[u8]>) -> Result<T, BoxError> {
        self(bytes)
    }
}

/// The bytes as they are, copied.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawBytes;

impl Decoder for RawBytes {
    type Output = Option<Vec<u8>>;
    const WANTED: &'static str = "bytes";

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Self::Output, BoxError> {
        Ok(bytes.map(<[u8]>::to_vec))
    }
}

/// Text; anything that is not UTF-8 is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8;

impl Decoder for Utf8 {
    type Output = Option<String>;
    const WANTED: &'static str = "UTF-8 text";

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Self::Output, BoxError> {
        Ok(bytes.map(|bytes| std::str::from_utf8(bytes).map(str::to_owned)).transpose()?)
    }
}

/// JSON to any type that serde can read.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(PhantomData<fn() -> T>);

impl<T> Json<T> {
    /// A decoder to `T`.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Json<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: serde::de::DeserializeOwned> Decoder for Json<T> {
    type Output = Option<T>;
    const WANTED: &'static str = "the expected JSON";

    fn decode(&self, bytes: Option<&[u8]>) -> Result<Self::Output, BoxError> {
        Ok(bytes.map(from_slice).transpose()?)
    }
}

/// One record with its key and value decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<K, V> {
    /// Topic.
    pub topic: String,
    /// Partition index, from 0.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970-01-01 UTC; `None` if the record has no timestamp.
    pub timestamp: Option<i64>,
    /// The decoded key.
    pub key: K,
    /// The decoded value.
    pub value: V,
    /// The headers in the order of the record, duplicates included. Empty if the column of headers
    /// was not read.
    pub headers: Vec<Header>,
}

/// One header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The name, which may occur more than once in a record.
    pub name: String,
    /// The value, copied; `None` is null, which is not the same as empty.
    pub value: Option<Vec<u8>>,
}

/// The columns of a [`Record`]: all but the timestamp's type. Only headers may be left out, which
/// saves the time to decode them: `columns().without(Column::Headers)`.
#[must_use]
pub const fn columns() -> Columns {
    Columns::all().without(Column::TimestampType)
}

/// The columns of one batch, found and typed once.
struct Parts<'a> {
    key: &'a BinaryViewArray,
    value: &'a BinaryViewArray,
    topic_keys: &'a Int32Array,
    topics: &'a StringArray,
    partition: &'a Int32Array,
    offset: &'a Int64Array,
    timestamp: &'a TimestampMillisecondArray,
    headers: Option<Headers<'a>>,
}

/// The column of headers: record `i` has those of `ends[i]..ends[i + 1]`.
struct Headers<'a> {
    ends: &'a [i32],
    names: &'a StringViewArray,
    values: &'a BinaryViewArray,
}

impl<'a> Headers<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let lists = batch.column_by_name("headers")?.as_list_opt::<i32>()?;
        let all = lists.values().as_struct_opt()?;
        Some(Self {
            ends: lists.value_offsets(),
            names: all.column_by_name("key")?.as_string_view_opt()?,
            values: all.column_by_name("value")?.as_binary_view_opt()?,
        })
    }

    fn of_row(&self, row: usize) -> Vec<Header> {
        let Some([from, until]) = self.ends.get(row..).and_then(|ends| ends.first_chunk()) else {
            return Vec::new();
        };
        let at = |end: i32| usize::try_from(end).unwrap_or_default();
        let header = |index| Header {
            name: self.names.value(index).to_owned(),
            value: self.values.is_valid(index).then(|| self.values.value(index).to_vec()),
        };
        (at(*from)..at(*until)).map(header).collect()
    }
}

impl<'a> Parts<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let topic = batch.column_by_name("topic")?.as_dictionary_opt::<Int32Type>()?;
        Some(Self {
            key: batch.column_by_name("key")?.as_binary_view_opt()?,
            value: batch.column_by_name("value")?.as_binary_view_opt()?,
            topic_keys: topic.keys(),
            topics: topic.values().as_string_opt()?,
            partition: batch.column_by_name("partition")?.as_primitive_opt()?,
            offset: batch.column_by_name("offset")?.as_primitive_opt()?,
            timestamp: batch.column_by_name("timestamp")?.as_primitive_opt()?,
            headers: Headers::of(batch),
        })
    }

    fn record<K: Decoder, V: Decoder>(
        &self,
        row: usize,
        keys: &K,
        values: &V,
    ) -> Result<Record<K::Output, V::Output>, Error> {
        let topic = usize::try_from(self.topic_keys.value(row)).unwrap_or_default();
        let topic = self.topics.value(topic).to_owned();
        let (partition, offset) = (self.partition.value(row), self.offset.value(row));
        let timestamp = self.timestamp.is_valid(row).then(|| self.timestamp.value(row));
        let at = |array: &'a BinaryViewArray| array.is_valid(row).then(|| array.value(row));
        let poison = |part, wanted, source| Error::Poison {
            topic: topic.clone(),
            partition,
            offset,
            part,
            wanted,
            source,
        };
        let key = keys.decode(at(self.key)).map_err(|e| poison("key", K::WANTED, e))?;
        let value = values.decode(at(self.value)).map_err(|e| poison("value", V::WANTED, e))?;
        let headers = self.headers.as_ref().map(|all| all.of_row(row)).unwrap_or_default();
        Ok(Record { topic, partition, offset, timestamp, key, value, headers })
    }
}

/// A record decoded by `K` and `V`, or why it could not be.
pub type Decoded<K, V> = Result<Record<<K as Decoder>::Output, <V as Decoder>::Output>, Error>;

/// The records of `batch`, each decoded when the iterator reaches it.
///
/// # Errors
/// The call fails with [`Error::Setting`] if the batch lacks one of [`columns`] other than headers; an item fails with
/// [`Error::Poison`] if its key or value does not decode, and the next items are still good.
pub fn records<'a, K: Decoder, V: Decoder>(
    batch: &'a RecordBatch,
    keys: &'a K,
    values: &'a V,
) -> Result<impl Iterator<Item = Decoded<K, V>> + 'a, Error> {
    let parts = Parts::of(batch).ok_or_else(|| Error::Setting {
        setting: "columns",
        reason: "a column that records need was not read; read `decode::columns()`".to_owned(),
    })?;
    Ok((0..batch.num_rows()).map(move |row| parts.record(row, keys, values)))
}
