//! The clients: the paths of their programs, and how to run one round of a client.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::ValueEnum;
use kafka_direct_compare_round::Round;

use crate::BoxError;

/// One run in a round.
///
/// `FloorAgain` and `OursAgain` run the same program a second time. The ratio of both runs shows
/// the noise of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Client {
    Drain,
    Floor,
    Ours,
    /// Ours with one worker thread, like floor.
    OursAlone,
    FloorAgain,
    OursAgain,
    Rskafka,
    Rdkafka,
    FranzGo,
    RdkafkaDefault,
    JavaPoll,
    JavaPerformance,
    Spark,
}

/// Which other clients are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peers {
    /// rskafka, tuned rdkafka, franz-go
    Fast,
    /// Those of `fast`, and rdkafka with its defaults, the Java consumer and Spark
    All,
    None,
}

/// How often a client is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// In every round: short runs whose ratios must be exact.
    Bar,
    Fast,
    /// In the number of rounds for slow clients.
    Slow,
    /// In the number of rounds for slow clients, on some loads only.
    Engine,
}

impl Client {
    pub(crate) const PEERS: [Self; 7] = [
        Self::Rskafka,
        Self::Rdkafka,
        Self::FranzGo,
        Self::RdkafkaDefault,
        Self::JavaPoll,
        Self::JavaPerformance,
        Self::Spark,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Drain => "floor drain",
            Self::Floor => "floor views",
            Self::Ours => "kafka-direct",
            Self::OursAlone => "kafka-direct, one thread",
            Self::FloorAgain => "floor views, again",
            Self::OursAgain => "kafka-direct, again",
            Self::Rskafka => "rskafka",
            Self::Rdkafka => "rdkafka, tuned",
            Self::FranzGo => "franz-go",
            Self::RdkafkaDefault => "rdkafka, untuned",
            Self::JavaPoll => "Java poll loop",
            Self::JavaPerformance => "Java ConsumerPerformance",
            Self::Spark => "Spark",
        }
    }

    pub(crate) const fn pace(self) -> Pace {
        match self {
            Self::Drain
            | Self::Floor
            | Self::FloorAgain
            | Self::Ours
            | Self::OursAlone
            | Self::OursAgain => Pace::Bar,
            Self::Rskafka | Self::Rdkafka | Self::FranzGo => Pace::Fast,
            Self::RdkafkaDefault | Self::JavaPoll => Pace::Slow,
            Self::JavaPerformance | Self::Spark => Pace::Engine,
        }
    }

    /// Toolchain that the client needs, by its name in `--missing`; several clients share one.
    const fn toolchain(self) -> &'static str {
        match self {
            Self::Rdkafka | Self::RdkafkaDefault => "rdkafka",
            Self::FranzGo => "franz-go",
            Self::JavaPoll | Self::JavaPerformance => "java",
            Self::Spark => "spark",
            Self::Rskafka => "rskafka",
            Self::Drain
            | Self::Floor
            | Self::FloorAgain
            | Self::Ours
            | Self::OursAlone
            | Self::OursAgain => "rust",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Drain | Self::Floor | Self::FloorAgain => "release/floor",
            Self::Ours | Self::OursAlone | Self::OursAgain => "release/ours",
            Self::Rskafka => "release/rskafka_client",
            Self::Rdkafka | Self::RdkafkaDefault => "release/rdkafka_client",
            Self::FranzGo => "clients/franz-go",
            Self::JavaPoll => "clients/java/PollLoop.class",
            Self::JavaPerformance => "release/java_performance",
            Self::Spark => "clients/spark/venv/bin/python",
        }
    }

    const fn mode(self) -> Option<&'static str> {
        match self {
            Self::Drain => Some("drain"),
            Self::Floor | Self::FloorAgain => Some("views"),
            Self::Rdkafka => Some("tuned"),
            Self::RdkafkaDefault => Some("default"),
            _ => None,
        }
    }

    /// Whether the client reads values, so that their bytes can be compared.
    pub(crate) const fn sees_values(self) -> bool {
        !matches!(self, Self::Drain)
    }
}

/// Environment variable with Kafka's jars for `java -cp`; `integration-tests/kafka/kafka.sh run`
/// sets it.
pub(crate) const CLASS_PATH: &str = "KAFKA_DIRECT_KAFKA_CP";

/// The clients that can be run, and the reasons why others cannot.
pub(crate) struct Clients {
    /// The folder with all built programs.
    built: PathBuf,
    /// Peers that are not measured, with the reason.
    left_out: BTreeMap<Client, String>,
}

impl Clients {
    /// Finds the programs of the clients; `missing` lists toolchains as TOOLCHAIN=REASON.
    pub(crate) fn find(peers: Peers, missing: &[String]) -> Result<Self, BoxError> {
        let own = std::env::current_exe()?;
        let built = own.parent().and_then(Path::parent).unwrap_or(Path::new(".")).to_path_buf();
        for client in [Client::Drain, Client::Ours] {
            let program = built.join(client.program());
            if !program.is_file() {
                let shown = program.display();
                return Err(format!("{shown} is missing: benches/compare/run.sh builds it").into());
            }
        }
        let mut left_out = BTreeMap::new();
        for client in Client::PEERS {
            let named = missing.iter().filter_map(|one| one.split_once('='));
            let named = named.into_iter().find(|(toolchain, _)| *toolchain == client.toolchain());
            let is_asked_for = match peers {
                Peers::None => false,
                Peers::Fast => client.pace() == Pace::Fast,
                Peers::All => true,
            };
            if !is_asked_for {
                left_out.insert(client, "not selected by --peers".to_owned());
            } else if let Some((_, reason)) = named {
                left_out.insert(client, reason.to_owned());
            } else if !built.join(client.program()).is_file() {
                left_out.insert(client, "not built: benches/compare/run.sh builds it".to_owned());
            }
        }
        Ok(Self { built, left_out })
    }

    pub(crate) fn has(&self, client: Client) -> bool {
        !self.left_out.contains_key(&client)
    }

    /// Returns the peers that are not measured, with the reason.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = (Client, &str)> {
        self.left_out.iter().map(|(client, reason)| (*client, reason.as_str()))
    }

    /// Returns the folder of the compiled Java classes.
    pub(crate) fn java_classes(&self) -> PathBuf {
        self.built.join("clients/java")
    }

    fn command(
        &self,
        client: Client,
        bootstrap: &str,
        topic: &str,
        records: Option<u64>,
    ) -> Result<Command, BoxError> {
        let program = self.built.join(client.program());
        let mut command = Command::new(&program);
        match client {
            // Floor takes a single address.
            Client::Drain | Client::Floor | Client::FloorAgain => {
                command.arg(bootstrap.split(',').next().unwrap_or(bootstrap)).arg(topic);
            }
            Client::JavaPoll => {
                let jars = std::env::var(CLASS_PATH).map_err(|_| {
                    format!("{CLASS_PATH} must be set to the class path of Kafka's jars")
                })?;
                let classes = self.java_classes();
                command = Command::new("java");
                command.args(["-Xmx512m", "-cp", &format!("{}:{jars}", classes.display())]);
                command.args(["PollLoop", bootstrap, topic]);
            }
            Client::JavaPerformance => {
                let records = records.ok_or("the records to read are not known yet")?;
                command.args([bootstrap, topic, &records.to_string()]);
            }
            Client::Spark => {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/spark/read.py");
                command.args([script, bootstrap, topic]).arg(self.built.join("clients/spark/jars"));
            }
            Client::OursAlone => {
                command.args([bootstrap, topic]).env("TOKIO_WORKER_THREADS", "1");
            }
            _ => {
                command.args([bootstrap, topic]);
            }
        }
        command.args(client.mode());
        Ok(command)
    }

    /// Runs `client` once over the whole topic, in its own process.
    ///
    /// `records` is the number of records in the topic, which `JavaPerformance` needs.
    pub(crate) fn run(
        &self,
        client: Client,
        bootstrap: &str,
        topic: &str,
        records: Option<u64>,
    ) -> Result<Round, BoxError> {
        let output = self
            .command(client, bootstrap, topic, records)?
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        let name = client.name();
        if !output.status.success() {
            return Err(format!("{name} failed on topic {topic}: {}", output.status).into());
        }
        let lines = String::from_utf8(output.stdout)?;
        let line = lines.lines().last().ok_or_else(|| format!("{name} printed nothing"))?;
        serde_json::from_str(line)
            .map_err(|error| format!("{name} printed {line:?}: {error}").into())
    }
}
