//! The guarantee suite on real Apache Kafka, and the fixtures compared with the Java client.
//!
//! The tests fail without a broker: run them through `integration-tests/kafka/kafka.sh run`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::type_complexity,
    reason = "a failed step is a failed test, and numbers of tests are small"
)]

use kafka_direct_integration_tests::{cluster::TestCluster, guarantees};

mod oracle;

/// The broker that `kafka.sh run` started.
struct Kafka(Vec<String>);

impl TestCluster for Kafka {
    fn bootstrap(&self) -> Vec<String> {
        self.0.clone()
    }
}

async fn kafka() -> Kafka {
    Kafka(oracle::bootstrap().split(',').map(str::to_owned).collect())
}

guarantees!(kafka());
