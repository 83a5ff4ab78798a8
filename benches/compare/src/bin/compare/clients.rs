//! The clients: where their programs are and how one round of one of them is run.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kafka_direct_compare::Round;

use crate::BoxError;

/// One place in a round. `FloorAgain` is `Floor` once more: their ratio is how far two equal
/// figures lie apart on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Drain,
    Floor,
    Ours,
    FloorAgain,
    Rskafka,
}

impl Client {
    /// In the order of an even round: ours between the two it is compared with, floor on each side.
    pub(crate) const ALL: [Self; 5] =
        [Self::Drain, Self::Floor, Self::Ours, Self::FloorAgain, Self::Rskafka];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Drain => "floor drain",
            Self::Floor => "floor views",
            Self::Ours => "kafka-direct",
            Self::FloorAgain => "floor views, again",
            Self::Rskafka => "rskafka",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Drain | Self::Floor | Self::FloorAgain => "floor",
            Self::Ours => "ours",
            Self::Rskafka => "rskafka_client",
        }
    }

    const fn mode(self) -> Option<&'static str> {
        match self {
            Self::Drain => Some("drain"),
            Self::Floor | Self::FloorAgain => Some("views"),
            Self::Ours | Self::Rskafka => None,
        }
    }

    /// Whether it looks at values, so that their bytes can be compared.
    pub(crate) const fn sees_values(self) -> bool {
        !matches!(self, Self::Drain)
    }
}

/// The folder with every client's program.
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    /// All are built into one folder.
    pub(crate) fn beside_this_one() -> Result<Self, BoxError> {
        let own = std::env::current_exe()?;
        let folder = own.parent().unwrap_or(Path::new(".")).to_path_buf();
        for client in Client::ALL {
            let program = folder.join(client.program());
            if !program.is_file() {
                let shown = program.display();
                return Err(format!("{shown} is missing: benches/compare/run.sh builds it").into());
            }
        }
        Ok(Self(folder))
    }

    /// Runs `client` once over the whole topic, in a process of its own.
    pub(crate) fn run(
        &self,
        client: Client,
        bootstrap: &str,
        topic: &str,
    ) -> Result<Round, BoxError> {
        // floor takes a single address.
        let first = bootstrap.split(',').next().unwrap_or(bootstrap);
        let address = if client.mode().is_some() { first } else { bootstrap };
        let output = Command::new(self.0.join(client.program()))
            .args([address, topic])
            .args(client.mode())
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
