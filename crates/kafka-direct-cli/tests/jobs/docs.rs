//! Runs the commands of docs/jobs.md and docs/streaming.md and compares their output; runs the commands of docs/bench.md.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use kafka_direct_broker::Broker;
use serde_json::Value;

use crate::{BINARY, append, files, orders};

/// Returns the code blocks of docs/jobs.md in `language`.
fn blocks(language: &str) -> Vec<String> {
    blocks_of("jobs.md", language)
}

fn blocks_of(page: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let page = fs::read_to_string(path).unwrap();
    let fence = format!("```{language}\n");
    let blocks: Vec<String> = page
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap().to_owned())
        .collect();
    assert!(!blocks.is_empty(), "no {language} block in the page");
    blocks
}

/// A temporary environment for the commands of the page, with its own broker and folders.
struct Machine {
    root: tempfile::TempDir,
    broker: String,
}

impl Machine {
    fn new(broker: &Broker) -> Self {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::create_dir(root.path().join("state")).unwrap();
        let script = bin.join("next-batch.sh");
        fs::write(&script, format!("{}\n", blocks("sh")[0])).unwrap();
        assert!(Command::new("chmod").arg("+x").arg(&script).status().unwrap().success());
        Self { root, broker: broker.bootstrap() }
    }

    fn state(&self) -> std::path::PathBuf {
        self.root.path().join("state")
    }

    async fn run(&self, command: &str) -> Output {
        let command = command
            .replace("localhost:9092", &self.broker)
            .replace("/usr/local/bin/", "")
            .replace("/var/lib/orders", &self.state().display().to_string());
        let path = std::env::join_paths(
            [self.root.path().join("bin"), Path::new(BINARY).parent().unwrap().to_owned()]
                .into_iter()
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{{ {command}\n}} 2>&1")]).env("PATH", path.unwrap());
        shell.current_dir(self.root.path());
        shell.env_remove("KAFKA_DIRECT_CONFIG").env("HOME", self.root.path());
        shell.env_remove("XDG_CONFIG_HOME");
        tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap()
    }

    async fn run_well(&self, command: &str) -> String {
        let output = self.run(command).await;
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command}\n{printed}");
        printed
    }

    /// Returns the number of records in a folder below the state folder.
    fn records(&self, folder: &str) -> usize {
        let files = files(&self.state().join(folder));
        let data = files.iter().filter(|(path, _)| path.to_string_lossy().ends_with(".jsonl"));
        data.map(|(_, bytes)| bytes.iter().filter(|byte| **byte == b'\n').count()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_print_what_the_pages_show() {
    for page in ["jobs.md", "streaming.md"] {
        let broker = orders(2, 5).await;
        let machine = Machine::new(&broker);
        prints_what_the_page_shows(&machine, page).await;
    }
}

async fn prints_what_the_page_shows(machine: &Machine, page: &str) {
    for block in blocks_of(page, "console") {
        for step in format!("\n{block}").split("\n$ ").skip(1) {
            let (command, expected) = step.split_once('\n').unwrap_or((step, ""));
            let output = machine.run(command).await;
            let mut printed = String::from_utf8(output.stdout).unwrap();
            if !output.status.success() {
                printed.push_str(&format!("[{}]", output.status.code().unwrap()));
            }
            // Partitions are printed in any order.
            let sorted = |text: &str| {
                let mut lines: Vec<_> = text.trim_end().lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&printed), sorted(expected), "$ {command}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_chains_batches_without_gap_or_overlap() {
    let broker = orders(2, 5).await;
    let machine = Machine::new(&broker);
    let cron = blocks("crontab")[0].clone();
    let line = cron.lines().last().unwrap().strip_prefix("5 * * * * ").unwrap().to_owned();
    machine.run_well(&line).await;
    assert_eq!(machine.records("batch-000001"), 10);
    append(&broker, 1, 5..8);
    let service = blocks("ini")[0].clone();
    let line = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    machine.run_well(line).await;
    assert_eq!(machine.records("batch-000002"), 3);
    // An unfinished batch is completed first.
    fs::remove_file(machine.state().join("batch-000002/receipt.json")).unwrap();
    append(&broker, 0, 5..6);
    machine.run_well(line).await;
    assert_eq!(machine.records("batch-000002"), 3);
    assert!(machine.state().join("batch-000002/receipt.json").exists());
    machine.run_well(line).await;
    assert_eq!(machine.records("batch-000003"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_airflow_command_reads_its_interval() {
    let broker = orders(2, 5).await;
    let machine = Machine::new(&broker);
    let python = &blocks("python")[0];
    let command = python.split_once("bash_command=(").unwrap().1.split_once(')').unwrap().0;
    let command: String = command.split('"').skip(1).step_by(2).collect();
    let command = command
        .replace("{{ data_interval_start.int_timestamp * 1000 }}", "1")
        .replace("{{ data_interval_end.int_timestamp * 1000 }}", "3")
        .replace("{{ ds }}", "2025-01-01");
    assert!(!command.contains("{{"), "{command}");
    machine.run_well(&command).await;
    assert_eq!(machine.records("2025-01-01"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubernetes_command_reads_its_day() {
    let broker = orders(2, 5).await;
    broker
        .append(
            "orders",
            0,
            [kafka_direct_broker::Record::new("x").with_timestamp(1_735_700_000_000)],
        )
        .unwrap();
    let machine = Machine::new(&broker);
    let yaml = blocks("yaml")[0].clone();
    let words = yaml.lines().skip_while(|line| line.trim() != "command:").skip(1);
    let words: Vec<&str> = words.map_while(|line| line.trim().strip_prefix("- ")).collect();
    assert!(words.len() > 5, "{words:?}");
    machine.run_well(&words.join(" ")).await;
    assert_eq!(machine.records("2025-01-01"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_bench_page_work() {
    let broker = orders(2, 5).await;
    let machine = Machine::new(&broker);
    let blocks = blocks_of("bench.md", "sh");
    for command in blocks.iter().flat_map(|block| block.lines()) {
        // The test generates fewer records than a measurement needs.
        let printed = machine.run_well(&command.replace("000000", "000")).await;
        assert!(printed.contains("records per second"), "{command}: {printed}");
    }
    for file in ["figures.json", "figures.html"] {
        assert!(machine.root.path().join(file).exists(), "{file}");
    }
    assert_eq!(broker.topic_id("try-lz4"), None);
    let figures = fs::read_to_string(machine.root.path().join("figures.json")).unwrap();
    let shown = serde_json::from_str(&blocks_of("bench.md", "json")[0]).unwrap();
    has_names_of(&shown, &serde_json::from_str(&figures).unwrap());
}

/// Checks that every field name in the JSON of the page is also in the JSON of the command.
fn has_names_of(shown: &Value, written: &Value) {
    match shown {
        Value::Object(members) => {
            for (name, shown) in members {
                let written = written.get(name);
                has_names_of(shown, written.unwrap_or_else(|| panic!("{name} is missing")));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| has_names_of(item, &written[0])),
        _ => {}
    }
}
