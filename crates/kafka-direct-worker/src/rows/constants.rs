//! Columns that are the same in every row: built once, sliced for each batch.

use std::sync::Arc;

use arrow_array::{
    Array as _, ArrayRef, DictionaryArray, Int32Array, StringArray, types::Int32Type,
};
use arrow_schema::ArrowError;
use kafka_direct_core::TopicPartition;

#[derive(Debug)]
pub(crate) struct Constants {
    topic_partition: TopicPartition,
    topic: Option<DictionaryArray<Int32Type>>,
    partition: Option<Int32Array>,
}

impl Constants {
    pub(super) fn new(topic_partition: &TopicPartition) -> Self {
        Self { topic_partition: topic_partition.clone(), topic: None, partition: None }
    }

    /// `rows` times the topic's name.
    pub(super) fn topic(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let long_enough = self.topic.as_ref().filter(|built| built.len() >= rows);
        if let Some(built) = long_enough {
            return Ok(Arc::new(built.slice(0, rows)));
        }
        let values: ArrayRef =
            Arc::new(StringArray::from_iter_values([self.topic_partition.topic()]));
        let built = DictionaryArray::try_new(Int32Array::from(vec![0; rows]), values)?;
        self.topic = Some(built.clone());
        Ok(Arc::new(built))
    }

    /// `rows` times the partition's index.
    pub(super) fn partition(&mut self, rows: usize) -> ArrayRef {
        let long_enough = self.partition.as_ref().filter(|built| built.len() >= rows);
        if let Some(built) = long_enough {
            return Arc::new(built.slice(0, rows));
        }
        let built = Int32Array::from(vec![self.topic_partition.partition(); rows]);
        self.partition = Some(built.clone());
        Arc::new(built)
    }
}
