//! Connection options: a flag overrides the environment, which overrides the config file.

use std::fs;

use crate::driven::{broker, command, fill, finish};

const UNREACHABLE: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_overrides_the_environment_which_overrides_the_file() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 3);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".config/kafka-direct/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let live = broker.bootstrap();
    let case = async |flag: Option<&str>, environment: Option<&str>, in_file: Option<&str>| {
        let text = in_file.map(|brokers| format!("brokers = \"{brokers}\"\n"));
        fs::write(&file, text.unwrap_or_default()).unwrap();
        let flags = flag.map(|brokers| ["-b", brokers]);
        let args = [&["read", "-t", "t"][..], flags.as_ref().map_or(&[], |f| &f[..])].concat();
        let mut command = command(&args);
        command.env("HOME", home.path());
        if let Some(brokers) = environment {
            command.env("KAFKA_DIRECT_BROKERS", brokers);
        }
        finish(command).await.code
    };
    assert_eq!(case(None, None, None).await, Some(2));
    assert_eq!(case(None, None, Some(&live)).await, Some(0));
    assert_eq!(case(None, Some(&live), Some(UNREACHABLE)).await, Some(0));
    assert_eq!(case(None, Some(UNREACHABLE), Some(&live)).await, Some(7));
    assert_eq!(case(Some(&live), Some(UNREACHABLE), Some(UNREACHABLE)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_file_named_by_a_flag_must_exist_and_be_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let args = ["topics", "--config", path.to_str().unwrap()];
    let missing = finish(command(&args)).await.failed(2);
    assert!(missing.contains("config.toml"), "{missing}");
    fs::write(&path, "brokrs = \"a:1\"").unwrap();
    let unknown = finish(command(&args)).await.failed(2);
    assert!(unknown.contains("brokrs") && unknown.contains("brokers"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_bootstrap_brokers_are_skipped() {
    let broker = broker("t", 1).await;
    let brokers = format!("{UNREACHABLE},{}", broker.bootstrap());
    assert_eq!(finish(command(&["read", "-b", &brokers, "-t", "t"])).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_text_or_json_lines_on_stderr() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 3);
    let brokers = format!("{UNREACHABLE},{}", broker.bootstrap());
    let args = ["read", "-b", &brokers, "-t", "t", "--log-level", "debug", "--log-format", "json"];
    let outcome = finish(command(&args)).await;
    assert_eq!((outcome.code, outcome.stdout.is_empty()), (Some(0), false));
    assert!(outcome.stderr.lines().count() > 0);
    for line in outcome.stderr.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["fields"].is_object(), "{line}");
    }
}
