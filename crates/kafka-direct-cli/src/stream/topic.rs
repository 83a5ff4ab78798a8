//! Topics that a stream writes to: the sink `kafka:TOPIC` and dead letters.

use std::num::NonZeroUsize;

use futures::future::BoxFuture;
use kafka_direct::BoxError;
use kafka_direct_sinks::kafka_topic::{
    AlteredHeaders, DeadLetter, DeadLetterTopic, KafkaTopicSink, Partitioning, Producer,
};
use kafka_direct_values::DeadLetters;

use crate::{cli::StreamArgs, connect, exit::Failure, output, produce};

/// How many ranges are written at once. Each may hold a few MiB.
pub(super) const WRITERS_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// Connects to the topic, which must exist.
pub(super) async fn open(args: &StreamArgs, topic: &str) -> Result<KafkaTopicSink, Failure> {
    let producer = producer(args, topic).await?;
    let partitioning =
        if args.output.keep_partitions { Partitioning::AsSource } else { Partitioning::ByKey };
    Ok(KafkaTopicSink::new(producer).partitioning(partitioning))
}

/// Dead letters go to this topic, which must exist.
pub(super) async fn open_dead_letters(args: &StreamArgs, topic: &str) -> Result<Letters, Failure> {
    Ok(Letters(DeadLetterTopic::new(producer(args, topic).await?)))
}

async fn producer(args: &StreamArgs, topic: &str) -> Result<Producer, Failure> {
    let connection = connect::merged(&args.connection)?;
    // While brokers are unavailable the stream waits, as it does when it reads.
    let config = produce::config(&connection)?;
    produce::connect(&connection, topic, config).await
}

/// Sends records that cannot be decoded to a topic.
#[derive(Debug, Clone)]
pub(super) struct Letters(DeadLetterTopic);

impl DeadLetters for Letters {
    fn send(
        &self,
        letters: Vec<kafka_direct_values::DeadLetter>,
    ) -> BoxFuture<'_, Result<(), BoxError>> {
        let letters = letters.into_iter().map(|letter| DeadLetter {
            topic_partition: letter.topic_partition,
            offset: letter.offset,
            timestamp: letter.timestamp,
            key: letter.key,
            value: letter.value,
            headers: letter.headers,
            error: letter.error,
        });
        let letters = letters.collect();
        Box::pin(async move { Ok(self.0.send(letters).await?) })
    }
}

impl Letters {
    /// How many headers were changed in this run.
    pub(super) fn altered_headers(&self) -> AlteredHeaders {
        self.0.altered_headers()
    }
}

/// Says how many headers were changed in this run.
pub(super) fn report(altered: AlteredHeaders) {
    let AlteredHeaders { null_values, repeated_names, .. } = altered;
    if null_values > 0 {
        output::note(&format!("{null_values} headers with a null value were written as empty"));
    }
    if repeated_names > 0 {
        output::note(&format!(
            "{repeated_names} headers were left out, since a later one of the record has the same name"
        ));
    }
}
