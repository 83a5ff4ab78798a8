//! Columns that have the same value in every row: topic and partition.
//!
//! They are built for each batch, which is cheap. If a decoder kept them, they would be most of the
//! memory of an idle decoder, and there may be thousands of decoders.

use std::sync::Arc;

use arrow_array::{ArrayRef, DictionaryArray, Int32Array, StringArray, types::Int32Type};
use arrow_schema::ArrowError;
use kafka_direct_core::TopicPartition;

/// The values of the constant columns.
#[derive(Debug)]
pub(crate) struct Constants {
    topic_partition: TopicPartition,
}

impl Constants {
    pub(super) fn new(topic_partition: &TopicPartition) -> Self {
        Self { topic_partition: topic_partition.clone() }
    }

    /// A column of `rows` rows with the topic's name.
    pub(super) fn topic(&self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let values = StringArray::from_iter_values([self.topic_partition.topic()]);
        let keys = Int32Array::from(vec![0; rows]);
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(values))?))
    }

    /// A column of `rows` rows with the partition's index.
    pub(super) fn partition(&self, rows: usize) -> ArrayRef {
        Arc::new(Int32Array::from(vec![self.topic_partition.partition(); rows]))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray as _;

    use super::*;

    #[test]
    fn only_their_batch_keeps_columns_alive() {
        let constants = Constants::new(&TopicPartition::new("t", 7));
        let topic = constants.topic(100).unwrap();
        let (keys, names) = topic.as_dictionary::<Int32Type>().clone().into_parts();
        assert_eq!((keys.len(), names.as_string::<i32>().value(0)), (100, "t"));
        drop(topic);
        assert!(keys.into_builder().is_ok(), "the keys have another owner");
        let partition = constants.partition(100).as_primitive::<Int32Type>().clone();
        assert_eq!((partition.len(), partition.value(99)), (100, 7));
        assert!(partition.into_builder().is_ok(), "the numbers have another owner");
    }
}
