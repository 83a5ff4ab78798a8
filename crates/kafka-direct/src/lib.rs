//! Read offset ranges of Kafka partitions straight into Arrow: no receiver, no consumer group.
