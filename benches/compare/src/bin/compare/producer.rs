//! Writes the standard loads with Kafka's own producer, whose batches are what brokers mostly hold.

use std::{
    fs,
    process::{Command, Stdio},
};

use rskafka::client::{ClientBuilder, partition::UnknownTopicHandling};

use crate::{
    BoxError,
    loads::{Load, Recipe},
};

/// Names the jars for `java -cp`; `integration-tests/kafka/kafka.sh run` sets it.
const CLASS_PATH: &str = "KAFKA_DIRECT_KAFKA_CP";

const PRODUCER: &str = "org.apache.kafka.tools.ProducerPerformance";

const CREATE_TIMEOUT_MS: i32 = 60_000;

/// Creates and fills the topic of each load that has a recipe and no topic yet.
pub(crate) fn write_missing(bootstrap: &str, loads: &[Load]) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for load in loads {
        let Some(recipe) = &load.recipe else { continue };
        if runtime.block_on(create(bootstrap, &load.topic, recipe.partitions))? {
            eprintln!("{}: writing {} records to {}", load.name, recipe.records, load.topic);
            fill(bootstrap, &load.topic, recipe)?;
        } else {
            eprintln!("{}: topic {} exists and is read as it is", load.name, load.topic);
        }
    }
    // Where the broker is on this machine, its pages would be written back under the measurement.
    Command::new("sync").status().map_err(|error| format!("sync: {error}"))?;
    Ok(())
}

/// Whether the topic was created: `false` if it was there.
async fn create(bootstrap: &str, topic: &str, partitions: i32) -> Result<bool, BoxError> {
    let brokers = bootstrap.split(',').map(str::to_owned).collect();
    let client = ClientBuilder::new(brokers).client_id("compare").build().await?;
    if client.list_topics().await?.iter().any(|found| found.name == topic) {
        return Ok(false);
    }
    client.controller_client()?.create_topic(topic, partitions, 1, CREATE_TIMEOUT_MS).await?;
    // Its last partition has a leader: so have the others.
    client.partition_client(topic, partitions - 1, UnknownTopicHandling::Retry).await?;
    Ok(true)
}

fn fill(bootstrap: &str, topic: &str, recipe: &Recipe) -> Result<(), BoxError> {
    let class_path = std::env::var(CLASS_PATH)
        .map_err(|_| format!("{CLASS_PATH} must name Kafka's jars to write the loads"))?;
    let mut command = Command::new("java");
    command.args(["-Xmx1g", "-XX:+UseSerialGC", "-cp", &class_path, PRODUCER]);
    command.args(["--topic", topic, "--throughput", "-1"]);
    command.args(["--num-records", &recipe.records.to_string()]);
    let mut payload = None;
    if let Some(lines) = recipe.values.lines() {
        let file = std::env::temp_dir().join(format!("{topic}-{}.txt", std::process::id()));
        fs::write(&file, lines)?;
        command.arg("--payload-file").arg(&file);
        payload = Some(file);
    } else {
        command.args(["--record-size", &recipe.values.bytes().to_string()]);
    }
    command.arg("--producer-props").args([
        format!("bootstrap.servers={bootstrap}"),
        format!("compression.type={}", recipe.codec),
        format!("batch.size={}", recipe.batch_bytes),
        // Batches are cut by their size and not by how slow this machine is.
        format!("linger.ms={}", if recipe.batch_bytes == 0 { 0 } else { 60_000 }),
        "buffer.memory=134217728".to_owned(),
        "max.request.size=8388608".to_owned(),
        // Idempotent: a retry must not make a record twice.
        "acks=all".to_owned(),
        // Partitions get equally much, however fast they answer.
        "partitioner.adaptive.partitioning.enable=false".to_owned(),
    ]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    if let Some(file) = payload {
        fs::remove_file(file)?;
    }
    let output = output.map_err(|error| format!("java: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{PRODUCER} failed on {topic}: {}\n{printed}", output.status).into());
    }
    eprintln!("  {}", printed.lines().last().unwrap_or_default());
    Ok(())
}
