//! `broker`: runs the embedded broker, also for programs in other languages, until interrupted.

use kafka_direct_broker::{Broker, BrokerError};

use crate::{cli::BrokerArgs, exit::Failure, output};

/// Parses `NAME:PARTITIONS`; a name alone means one partition.
pub(crate) fn topic(text: &str) -> Result<(String, i32), String> {
    let (name, partitions) = match text.split_once(':') {
        None => (text, Some(1)),
        Some((name, partitions)) => (name, partitions.parse().ok()),
    };
    let partitions = partitions.filter(|partitions| *partitions > 0 && !name.is_empty());
    let partitions = partitions.ok_or_else(|| {
        format!("invalid topic `{text}`; write NAME:PARTITIONS, with at least 1 partition")
    })?;
    Ok((name.to_owned(), partitions))
}

/// Runs the broker until a signal ends the process.
pub(crate) async fn run(args: BrokerArgs) -> Result<(), Failure> {
    let broker = Broker::builder().listen(args.listen).start().await.map_err(|e| failed(&e))?;
    for (name, partitions) in &args.topics {
        broker.create_topic(name, *partitions).map_err(|error| failed(&error))?;
    }
    output::data(&format!("{}\n", broker.bootstrap()))?;
    output::note(
        "this embedded broker is for demos and tests and does not replace Kafka; it keeps everything in memory; press Ctrl-C to stop it",
    );
    std::future::pending().await
}

fn failed(error: &BrokerError) -> Failure {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let mut message = error.to_string();
    for cause in causes {
        message.push_str(&format!(": {cause}"));
    }
    Failure::Unmet { message, kind: error.kind() }
}
