//! Checks of the repository's own rules that neither rustc nor clippy can check.
//!
//! Each test reports everything that breaks its rule, so one run is enough.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a broken rule is a failed test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

mod code_map;
mod documented_columns;
mod plain_words;

/// Most lines of a source file, without its inline module `tests`.
const SOURCE_LINES: usize = 500;
const README_LINES: usize = 150;
const ARCHITECTURE_LINES: usize = 150;
const ADR_LINES: usize = 60;

/// Crates by layer, lowest first: a crate depends only on crates of lower layers.
const LAYERS: &[&[&str]] = &[
    &["kafka-direct-core"],
    &["kafka-direct-driver", "kafka-direct-wire", "kafka-direct-worker", "kafka-direct-broker"],
    &["kafka-direct"],
    &["kafka-direct-sinks", "kafka-direct-values"],
    &["kafka-direct-cli"],
];

/// Crates that a pure crate must not depend on, not even for its tests.
const PURE: &[(&str, &[&str])] = &[
    ("kafka-direct-core", &["tokio", "kafka-protocol", "futures", "arrow-array"]),
    ("kafka-direct-driver", &["tokio", "kafka-protocol", "futures", "arrow-array"]),
    ("kafka-direct-worker", &["tokio", "kafka-protocol", "futures"]),
];

/// Module names that are banned because they do not describe the module's purpose.
const EMPTY_NAMES: &[&str] = &[
    "common",
    "data",
    "helper",
    "helpers",
    "info",
    "manager",
    "misc",
    "processor",
    "util",
    "utils",
];

/// Folders that are not checked: output of builds and data of the version control.
const SKIPPED: &[&str] = &["target", ".git", "node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the path from the repository's root, as reports show it.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Returns every file below `folder`, sorted; none if the folder does not exist.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_symlink() || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Returns all Rust sources of the project.
fn sources() -> Vec<PathBuf> {
    let folders = ["crates", "integration-tests", "benches", "examples"];
    let files = folders.iter().flat_map(|folder| files_below(&root().join(folder)));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Returns the folders of the crates, sorted.
fn crates() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("crates")).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    folders
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Returns the crate's `lib.rs`, or `main.rs` if it has no library.
fn crate_root(folder: &Path) -> PathBuf {
    let lib = folder.join("src/lib.rs");
    if lib.exists() { lib } else { folder.join("src/main.rs") }
}

/// Returns the names in the dependency sections of a manifest: `(name, is_for_tests)`.
fn dependencies(manifest: &str) -> Vec<(String, bool)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
            if let Some((kind, name)) = section.split_once("dependencies.") {
                found.push((name.to_owned(), kind.contains("dev-")));
            }
        } else if section.ends_with("dependencies") && !line.starts_with('#') {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if !name.is_empty() {
                found.push((name.to_owned(), section.contains("dev-")));
            }
        }
    }
    found
}

#[track_caller]
fn check(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_source_file_is_short_and_opens_with_what_it_is_for() {
    let mut broken = Vec::new();
    for file in sources() {
        let text = read(&file);
        let body = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = body.lines().count();
        if lines > SOURCE_LINES {
            broken.push(format!("{}: {lines} lines, at most {SOURCE_LINES}", shown(&file)));
        }
        if !text.starts_with("//! ") {
            broken.push(format!("{}: does not open with `//!`", shown(&file)));
        }
    }
    check(&broken);
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let mut broken = Vec::new();
    for file in sources() {
        for line in read(&file).lines() {
            let declared = ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod "]
                .iter()
                .find_map(|start| line.strip_prefix(start));
            let name = declared.map(|rest| rest.trim_end_matches([';', '{', ' ']));
            if let Some(name) = name.filter(|name| EMPTY_NAMES.contains(name)) {
                broken.push(format!("{}: module `{name}`", shown(&file)));
            }
        }
    }
    check(&broken);
}

#[test]
fn no_unfinished_work_is_marked_and_no_path_of_a_machine_is_named() {
    // In two parts, so that this file does not break its own rule.
    let markers = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("../sha", "red")];
    let mut broken = Vec::new();
    for file in files_below(&root()) {
        // Binary files are not checked.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line.split(|letter: char| !letter.is_alphanumeric());
            if let Some(word) = words.find(|word| markers.contains(word)) {
                broken.push(format!("{}:{number}: {word}", shown(&file)));
            }
            if let Some(path) = paths.iter().find(|path| line.contains(**path)) {
                broken.push(format!("{}:{number}: names {path}", shown(&file)));
            }
        }
    }
    check(&broken);
}

#[test]
fn a_crates_folder_is_its_name_and_its_root_says_what_it_promises() {
    let mut broken = Vec::new();
    for folder in crates() {
        let name = folder_name(&folder);
        let manifest = read(&folder.join("Cargo.toml"));
        if !manifest.lines().any(|line| line == format!("name = \"{name}\"")) {
            broken.push(format!("crates/{name}: the package has another name than the folder"));
        }
        if !manifest.contains("[lints]\nworkspace = true") {
            broken.push(format!("crates/{name}: does not take the workspace's lints"));
        }
        let text = read(&crate_root(&folder));
        let opening: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        for promise in ["Promises", "Out of scope"] {
            if !opening.iter().any(|line| line.contains(promise)) {
                broken.push(format!("{}: no `{promise}`", shown(&crate_root(&folder))));
            }
        }
    }
    check(&broken);
}

#[test]
fn crates_depend_only_on_lower_layers() {
    let layer = |name: &str| LAYERS.iter().position(|crates| crates.contains(&name));
    let mut broken = Vec::new();
    for folder in crates() {
        let name = folder_name(&folder);
        let Some(own) = layer(&name) else {
            broken.push(format!("{name}: has no layer; add it to LAYERS in this test"));
            continue;
        };
        for (other, for_tests) in dependencies(&read(&folder.join("Cargo.toml"))) {
            // Tests may use crates of the same layer (the embedded broker), never of a higher one.
            let allowed = layer(&other).is_none_or(|l| l < own || (for_tests && l == own));
            if !allowed {
                broken.push(format!("{name} depends on {other}, which is not in a lower layer"));
            }
        }
    }
    check(&broken);
}

#[test]
fn pure_crates_stay_pure() {
    let mut broken = Vec::new();
    for (name, banned) in PURE {
        let manifest = read(&root().join("crates").join(name).join("Cargo.toml"));
        for (other, _) in dependencies(&manifest) {
            if banned.contains(&other.as_str()) {
                broken.push(format!("{name} depends on {other}"));
            }
        }
    }
    check(&broken);
}

#[test]
fn only_a_program_chooses_an_allocator() {
    let chooses = |text: &str| text.contains("#[global_allocator]");
    let libraries = sources()
        .into_iter()
        .filter(|path| path.starts_with(root().join("crates")) && !path.ends_with("src/main.rs"));
    let broken = libraries.filter(|path| chooses(&read(path)));
    check(&broken.map(|path| shown(&path)).collect::<Vec<_>>());
}

#[test]
fn documents_keep_to_their_length() {
    let mut limits = vec![
        (root().join("README.md"), README_LINES),
        (root().join("ARCHITECTURE.md"), ARCHITECTURE_LINES),
    ];
    limits.extend(files_below(&root().join("docs/adr")).into_iter().map(|file| (file, ADR_LINES)));
    let mut broken = Vec::new();
    for (file, most) in limits {
        let lines = read(&file).lines().count();
        if lines > most {
            broken.push(format!("{}: {lines} lines, at most {most}", shown(&file)));
        }
    }
    check(&broken);
}

/// Returns the text of each fenced block of `language` in a document.
fn fenced(markdown: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let blocks = markdown.split(&opening).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Returns the examples in a file's module documentation, without their hidden lines.
fn doctests(source: &str) -> Vec<String> {
    let text: String = source
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| line.trim_start_matches("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    let blocks = text.split("```").skip(1).step_by(2);
    blocks
        .map(|block| {
            let shown =
                block.lines().skip(1).filter(|line| *line != "#" && !line.starts_with("# "));
            shown.map(|line| format!("{line}\n")).collect()
        })
        .collect()
}

#[test]
fn every_rust_example_of_a_document_is_a_doctest() {
    for (document, source) in [
        ("README.md", "crates/kafka-direct/src/lib.rs"),
        ("docs/jobs.md", "crates/kafka-direct-sinks/src/lib.rs"),
    ] {
        let examples = fenced(&read(&root().join(document)), "rust");
        assert!(!examples.is_empty(), "{document} has no example");
        let tested = doctests(&read(&root().join(source)));
        for example in examples {
            assert!(
                tested.contains(&example),
                "this example of {document} is no doctest of {source}:\n{example}"
            );
        }
    }
}

#[test]
fn every_link_of_a_document_leads_to_a_file() {
    let mut broken = Vec::new();
    let files = files_below(&root());
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "md")) {
        let text = read(file);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            let is_elsewhere = path.is_empty() || path.contains("://");
            if !is_elsewhere && !file.parent().unwrap().join(path).exists() {
                broken.push(format!("{}: the link's target {target} does not exist", shown(file)));
            }
        }
    }
    check(&broken);
}
