//! Headers as rskafka can write them, and [`AlteredHeaders`], what was changed for it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use super::record::Origin;

/// How many headers could not be written as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AlteredHeaders {
    /// Headers with a null value, written with an empty value.
    pub null_values: u64,
    /// Headers that were left out, since a later one of the record has the same name.
    pub repeated_names: u64,
}

/// Counts altered headers and warns of the first of each kind.
#[derive(Debug, Default)]
pub(super) struct HeaderCounts {
    null_values: AtomicU64,
    repeated_names: AtomicU64,
    reordered: AtomicU64,
}

impl HeaderCounts {
    pub(super) fn get(&self) -> AlteredHeaders {
        AlteredHeaders {
            null_values: self.null_values.load(Ordering::Relaxed),
            repeated_names: self.repeated_names.load(Ordering::Relaxed),
        }
    }

    /// The headers of the record `origin` as a map.
    pub(super) fn map<'a>(
        &self,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
        origin: &Origin,
    ) -> BTreeMap<String, Vec<u8>> {
        let mut map = BTreeMap::new();
        let mut previous: Option<&str> = None;
        for (name, value) in headers {
            let record = origin;
            if value.is_none() && self.null_values.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(%record, header = name, "a header has a null value, which the producing client cannot write: it becomes an empty value; others are only counted");
            }
            if previous.is_some_and(|previous| previous > name)
                && self.reordered.fetch_add(1, Ordering::Relaxed) == 0
            {
                tracing::warn!(%record, "headers are written in the order of their names, not as given; others are not reported");
            }
            previous = Some(name);
            let value = value.unwrap_or_default().to_vec();
            if map.insert(name.to_owned(), value).is_some()
                && self.repeated_names.fetch_add(1, Ordering::Relaxed) == 0
            {
                tracing::warn!(%record, header = name, "a record has two headers of one name, of which the producing client writes only the last; others are only counted");
            }
        }
        map
    }
}
