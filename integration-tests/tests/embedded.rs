//! The guarantee suite on the embedded broker, and tests of broker faults.
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

use kafka_direct_broker::{AutoCreate, Broker};
use kafka_direct_integration_tests::{cluster::TestCluster, guarantees};

mod faults;
mod recorded;

/// A broker for one test, which creates the topics of a Metadata request that allows it.
struct Embedded(Broker);

impl TestCluster for Embedded {
    fn bootstrap(&self) -> Vec<String> {
        self.0.addresses()
    }
}

async fn embedded() -> Embedded {
    Embedded(Broker::builder().auto_create_topics(AutoCreate::Partitions(1)).start().await.unwrap())
}

guarantees!(embedded());
