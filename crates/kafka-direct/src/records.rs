//! [`Records`]: typed records, one at a time, of one range or of all ranges of a batch.

use std::{fmt, vec};

use crate::{
    Batches, Error, KafkaRdd,
    decode::{self, Decoded, Decoder, Record},
    settings::Settings,
};

/// Typed records, one at a time. Dropping it cancels the read.
///
/// The records of one Arrow batch are decoded together, so that at most
/// [`DecodeOptions::max_rows`](crate::DecodeOptions::max_rows) of them are in memory.
pub struct Records<K: Decoder, V: Decoder> {
    ranges: Box<dyn Iterator<Item = Batches> + Send>,
    current: Option<Batches>,
    decoded: vec::IntoIter<Decoded<K, V>>,
    keys: K,
    values: V,
    /// Where skips over lost offsets are recorded, if a whole batch is read.
    settings: Option<Settings>,
}

impl<K: Decoder + Default, V: Decoder + Default> Records<K, V> {
    pub(crate) fn of_range(batches: Batches) -> Self {
        Self::new(Box::new(std::iter::once(batches)), None)
    }

    /// The records of all ranges, in plan order. Ranges are opened one after the other.
    pub(crate) fn of_all(rdd: KafkaRdd, settings: Settings) -> Self {
        let indices = 0..rdd.partitions().len();
        Self::new(Box::new(indices.filter_map(move |at| rdd.read_partition(at))), Some(settings))
    }

    fn new(ranges: Box<dyn Iterator<Item = Batches> + Send>, settings: Option<Settings>) -> Self {
        let (keys, values) = (K::default(), V::default());
        Self { ranges, current: None, decoded: Vec::new().into_iter(), keys, values, settings }
    }
}

impl<K: Decoder, V: Decoder> Records<K, V> {
    /// The next record; `None` at the end of the last range.
    ///
    /// # Errors
    /// [`Error::Poison`], of kind `Corrupt`, if the key or value does not decode; the next call
    /// returns the next record. [`Error::Setting`], of kind `Invalid`, if a column of
    /// [`decode::columns`](crate::decode::columns) other than headers was not read. Otherwise as
    /// [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Safe: no record is lost when the future is dropped.
    pub async fn try_next(&mut self) -> Result<Option<Record<K::Output, V::Output>>, Error> {
        loop {
            if let Some(record) = self.decoded.next() {
                return record.map(Some);
            }
            let Some(batches) = &mut self.current else {
                self.current = self.ranges.next();
                if self.current.is_none() {
                    return Ok(None);
                }
                continue;
            };
            if let Some(batch) = batches.try_next().await? {
                let decoded = decode::records(&batch, &self.keys, &self.values)?;
                self.decoded = decoded.collect::<Vec<_>>().into_iter();
                continue;
            }
            if let Some(settings) = &self.settings {
                settings.add_resets(batches.resets());
            }
            self.current = None;
        }
    }
}

impl<K: Decoder, V: Decoder> fmt::Debug for Records<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("current", &self.current).finish_non_exhaustive()
    }
}
