//! The sink `kafka:TOPIC`: connects it, and reports what could not be written as it was.

use std::num::NonZeroUsize;

use kafka_direct_sinks::kafka_topic::{AlteredHeaders, KafkaTopicSink, Partitioning};

use crate::{cli::StreamArgs, connect, exit::Failure, output, produce};

/// How many ranges are written at once. Each may hold a few MiB.
pub(super) const WRITERS_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// Connects to the topic, which must exist.
pub(super) async fn open(args: &StreamArgs, topic: &str) -> Result<KafkaTopicSink, Failure> {
    let connection = connect::merged(&args.connection)?;
    // While brokers are unavailable the stream waits, as it does when it reads.
    let config = produce::config(&connection)?;
    let producer = produce::connect(&connection, topic, config).await?;
    let partitioning =
        if args.output.keep_partitions { Partitioning::AsSource } else { Partitioning::ByKey };
    Ok(KafkaTopicSink::new(producer).partitioning(partitioning))
}

/// Says how many headers were changed in this run.
pub(super) fn report(sink: &KafkaTopicSink) {
    let AlteredHeaders { null_values, repeated_names, .. } = sink.altered_headers();
    if null_values > 0 {
        output::note(&format!("{null_values} headers with a null value were written as empty"));
    }
    if repeated_names > 0 {
        output::note(&format!(
            "{repeated_names} headers were left out, since a later one of the record has the same name"
        ));
    }
}
