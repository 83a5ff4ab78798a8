//! Columns that are the same in every row: built anew for each batch, which is cheap.
//!
//! Kept from batch to batch they would be most of what the decoder of an idle range holds, and
//! there may be thousands of those.

use std::sync::Arc;

use arrow_array::{ArrayRef, DictionaryArray, Int32Array, StringArray, types::Int32Type};
use arrow_schema::ArrowError;
use kafka_direct_core::TopicPartition;

#[derive(Debug)]
pub(crate) struct Constants {
    topic_partition: TopicPartition,
}

impl Constants {
    pub(super) fn new(topic_partition: &TopicPartition) -> Self {
        Self { topic_partition: topic_partition.clone() }
    }

    /// `rows` times the topic's name.
    pub(super) fn topic(&self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let values = StringArray::from_iter_values([self.topic_partition.topic()]);
        let keys = Int32Array::from(vec![0; rows]);
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(values))?))
    }

    /// `rows` times the partition's index.
    pub(super) fn partition(&self, rows: usize) -> ArrayRef {
        Arc::new(Int32Array::from(vec![self.topic_partition.partition(); rows]))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray as _;

    use super::*;

    #[test]
    fn columns_are_held_by_their_batch_alone() {
        let constants = Constants::new(&TopicPartition::new("t", 7));
        let topic = constants.topic(100).unwrap();
        let (keys, names) = topic.as_dictionary::<Int32Type>().clone().into_parts();
        assert_eq!((keys.len(), names.as_string::<i32>().value(0)), (100, "t"));
        drop(topic);
        assert!(keys.into_builder().is_ok(), "somebody else holds the keys");
        let partition = constants.partition(100).as_primitive::<Int32Type>().clone();
        assert_eq!((partition.len(), partition.value(99)), (100, 7));
        assert!(partition.into_builder().is_ok(), "somebody else holds the numbers");
    }
}
