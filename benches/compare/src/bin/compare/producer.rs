//! Writes the standard loads with Kafka's own producer, which writes most batches in practice.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use rskafka::client::{Client, ClientBuilder, partition::UnknownTopicHandling};

use crate::{
    BoxError,
    clients::{CLASS_PATH, Clients},
    loads::{Load, Recipe, Topic, Writer},
};

const PRODUCER: &str = "org.apache.kafka.tools.ProducerPerformance";

const TIMEOUT_MS: i32 = 60_000;

/// Creates and fills each topic of the load that has a recipe and does not exist.
///
/// It adds their names to `written`, including a topic whose write then fails.
pub(crate) fn write_missing(
    clients: &Clients,
    bootstrap: &str,
    load: &Load,
    written: &mut Vec<String>,
) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for Topic { name, recipe } in &load.topics {
        let Some(recipe) = recipe else { continue };
        if runtime.block_on(create(bootstrap, name, recipe.partitions))? {
            eprintln!("{}: writing {} records to {name}", load.name, recipe.records);
            written.push(name.clone());
            fill(clients, bootstrap, name, recipe)?;
        } else {
            eprintln!("{}: topic {name} exists and is read as it is", load.name);
        }
    }
    // If the broker is on this machine, its dirty pages would be written back during the
    // measurement.
    Command::new("sync").status().map_err(|error| format!("sync: {error}"))?;
    Ok(())
}

/// Deletes the topics that [`write_missing`] wrote.
pub(crate) fn delete(bootstrap: &str, topics: &[String]) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connect(bootstrap).await?;
        for topic in topics {
            client.controller_client()?.delete_topic(topic, TIMEOUT_MS).await?;
        }
        Ok(())
    })
}

async fn connect(bootstrap: &str) -> Result<Client, BoxError> {
    let brokers = bootstrap.split(',').map(str::to_owned).collect();
    Ok(ClientBuilder::new(brokers).client_id("compare").build().await?)
}

/// Creates a topic; returns `false` if it exists.
async fn create(bootstrap: &str, topic: &str, partitions: i32) -> Result<bool, BoxError> {
    let client = connect(bootstrap).await?;
    if client.list_topics().await?.iter().any(|found| found.name == topic) {
        return Ok(false);
    }
    client.controller_client()?.create_topic(topic, partitions, 1, TIMEOUT_MS).await?;
    // If a partition has no leader yet, the producer may wait until records expire.
    for partition in 0..partitions {
        client.partition_client(topic, partition, UnknownTopicHandling::Retry).await?;
    }
    Ok(true)
}

fn fill(clients: &Clients, bootstrap: &str, topic: &str, recipe: &Recipe) -> Result<(), BoxError> {
    let jars = std::env::var(CLASS_PATH).map_err(|_| {
        format!("{CLASS_PATH} must be set to the class path of Kafka's jars to write the loads")
    })?;
    let mut command = Command::new("java");
    command.args(["-Xmx1g", "-XX:+UseSerialGC", "-cp"]);
    command.arg(format!("{}:{jars}", clients.java_classes().display()));
    let mut payload = None;
    match recipe.writer {
        Writer::Performance => payload = perform(&mut command, bootstrap, topic, recipe)?,
        Writer::Fill | Writer::FillAborting { .. } => {
            let filled = recipe.filled;
            command.args(["Fill", bootstrap, topic, &recipe.records.to_string()]);
            command.args([recipe.values.bytes(), recipe.batch_bytes].map(|size| size.to_string()));
            command.args([filled, recipe.partitions / filled].map(|count| count.to_string()));
            if let Writer::FillAborting { every } = recipe.writer {
                command.arg(every.to_string());
            }
        }
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    if let Some(file) = payload {
        fs::remove_file(file)?;
    }
    let output = output.map_err(|error| format!("java: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("writing {topic} failed: {}\n{printed}", output.status).into());
    }
    if let Some(line) = printed.lines().last() {
        eprintln!("  {line}");
    }
    Ok(())
}

/// Adds the arguments of Kafka's ProducerPerformance to `command`.
///
/// Returns the file with the values, if the tool needs one; the caller removes it.
fn perform(
    command: &mut Command,
    bootstrap: &str,
    topic: &str,
    recipe: &Recipe,
) -> Result<Option<PathBuf>, BoxError> {
    command.args([PRODUCER, "--topic", topic, "--throughput", "-1"]);
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
        // The size limit ends a batch, not the speed of this machine.
        format!("linger.ms={}", if recipe.batch_bytes == 0 { 0 } else { 60_000 }),
        "buffer.memory=134217728".to_owned(),
        "max.request.size=8388608".to_owned(),
        // Idempotent: a retry must not duplicate a record.
        "acks=all".to_owned(),
        // All partitions get the same number of records, whatever their response times.
        "partitioner.adaptive.partitioning.enable=false".to_owned(),
    ]);
    Ok(payload)
}
