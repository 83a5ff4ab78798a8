//! An embedded in-process Kafka broker with fault injection, for demos and tests; never a substitute for Kafka.
