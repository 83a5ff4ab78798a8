//! Talking to a Kafka cluster for kafka-direct: connections, metadata, offsets and the fetch path.
