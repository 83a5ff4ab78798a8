//! Completion scripts, run by the shells they are for.

use std::{fs, path::Path, time::Duration};

use tokio::process::Command;

use crate::driven::run;

/// Completes flags of a subcommand and values of a flag, in any shell, as what a person types and one
/// of the completions.
const CASES: [(&str, &str); 7] = [
    ("kafka-direct re", "read"),
    ("kafka-direct read --form", "--format"),
    ("kafka-direct read --topic-p", "--topic-pattern"),
    ("kafka-direct bench --gen", "--generate"),
    ("kafka-direct help off", "offsets"),
    ("kafka-direct topics del", "delete"),
    ("kafka-direct topics create --repl", "--replicas"),
];

async fn script(shell: &str, folder: &Path) -> String {
    let path = folder.join(format!("completions.{shell}"));
    fs::write(&path, run(&["completions", shell]).await.ok()).unwrap();
    path.display().to_string()
}

/// Runs `program` in a shell and returns its output.
async fn shell(shell: &str, arguments: &[&str], program: &str) -> String {
    let running = Command::new(shell).args(arguments).arg("-c").arg(program).output();
    let output = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap();
    let output = output.unwrap_or_else(|error| panic!("{shell}: {error}"));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_completes_subcommands_their_flags_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let script = script("bash", folder.path()).await;
    for (typed, expected) in CASES.iter().chain(&[("kafka-direct read --format j", "jsonl")]) {
        let words: Vec<&str> = typed.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let program = format!(
            "source {script}; COMP_WORDS=({typed}); COMP_CWORD={}; \
             _kafka__direct kafka-direct {last} {before}; echo \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let completed = shell("bash", &[], &program).await;
        assert!(completed.split_whitespace().any(|word| word == *expected), "{typed}: {completed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs fish; the CI step `shells` installs it"]
async fn fish_completes_subcommands_their_flags_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let script = script("fish", folder.path()).await;
    for (typed, expected) in CASES.iter().chain(&[("kafka-direct read --format j", "jsonl")]) {
        let program = format!("source {script}; complete -C '{typed}'");
        let completed = shell("fish", &["--no-config"], &program).await;
        assert!(completed.split_whitespace().any(|word| word == *expected), "{typed}: {completed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs zsh; the CI step `shells` installs it"]
async fn zsh_completes_subcommands_and_their_flags() {
    let folder = tempfile::tempdir().unwrap();
    let script = script("zsh", folder.path()).await;
    for (typed, expected) in CASES {
        // Only an interactive zsh completes: one on a pseudo-terminal gets the line and a tab.
        let program = format!(
            r#"zmodload zsh/zpty
            zpty z 'TERM=dumb PS1= zsh -f -i'
            zpty -w z 'unsetopt zle_bracketed_paste beep; autoload -Uz compinit; compinit -u -D; source {script}; print begun'
            repeat 400; do zpty -r -t z line && [[ $line == *begun* ]] && break; sleep 0.02; done
            zpty -w -n z $'{typed}\t'
            zpty -w z ''
            repeat 200; do zpty -r -t z line && print -r -- $line && [[ $line == *{expected}* ]] && break; sleep 0.02; done"#
        );
        let completed = shell("zsh", &["-f"], &program).await;
        assert!(completed.contains(expected), "{typed}: {completed}");
    }
}
