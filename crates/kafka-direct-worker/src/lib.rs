//! One offset range of Kafka batches to Arrow record batches for kafka-direct.
