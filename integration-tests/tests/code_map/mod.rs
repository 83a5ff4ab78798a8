//! Every source file of a crate has a line in a map, and no map names a file that does not exist.
//!
//! The map is the section `# Map` of the crate's documentation, in `lib.rs` or `main.rs`.

use std::path::Path;

use super::{check, crate_root, crates, files_below, read, shown};

/// The text of a crate's map, and the path of its file.
struct CodeMap {
    file: String,
    text: String,
}

/// Returns the section `# Map` of a file's module documentation, without the comment markers.
fn map_section(source: &str) -> Option<String> {
    let opening = source.lines().map_while(|line| line.strip_prefix("//!"));
    let mut lines = opening.map(str::trim_start).skip_while(|line| *line != "# Map").skip(1);
    let first = lines.next()?;
    let rest = lines.take_while(|line| !line.starts_with("# "));
    Some(std::iter::once(first).chain(rest).map(|line| format!("{line}\n")).collect())
}

fn code_map(folder: &Path) -> Result<CodeMap, String> {
    let own = crate_root(folder);
    let text = map_section(&read(&own));
    text.map(|text| CodeMap { file: shown(&own), text })
        .ok_or_else(|| format!("{}: no section `# Map`", shown(&own)))
}

/// Returns a message for each file of `src` missing from `map`, and each missing file named in it.
fn misfits(map: &CodeMap, src: &Path, files: &[String]) -> Vec<String> {
    let CodeMap { file: map_file, text } = map;
    let unnamed = files.iter().filter(|file| {
        // One line may describe all files of a folder.
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        !text.contains(&format!("`{file}`")) && !text.contains(&format!("`{folder}/*`"))
    });
    let unnamed = unnamed.map(|file| format!("{map_file}: no line describes `{file}`"));
    let named = text.split('`').skip(1).step_by(2).filter(|word| word.ends_with(".rs"));
    // The map may also name tests next to `src`.
    let exists = |name: &str| src.join(name).exists() || src.join("..").join(name).exists();
    let missing = named.filter(|name| !exists(name));
    unnamed.chain(missing.map(|name| format!("{map_file}: there is no `{name}`"))).collect()
}

#[test]
fn the_map_of_a_crate_names_every_source_file_and_no_other() {
    let mut broken = Vec::new();
    for folder in crates() {
        let src = folder.join("src");
        let own = crate_root(&folder);
        let files = files_below(&src).into_iter().filter(|file| *file != own);
        let files = files.map(|file| file.strip_prefix(&src).unwrap().display().to_string());
        match code_map(&folder) {
            Ok(map) => broken.extend(misfits(&map, &src, &files.collect::<Vec<_>>())),
            Err(missing) => broken.push(missing),
        }
    }
    check(&broken);
}

#[test]
fn the_map_is_the_section_with_that_name() {
    let source = "//! A crate.\n//!\n//! # Map\n//!\n//! - `a.rs`: first\n//! # Errors\n//! x\n";
    assert_eq!(map_section(source).unwrap(), "\n- `a.rs`: first\n");
    assert_eq!(map_section("//! A crate.\n\n//! # Map\n"), None);
    assert_eq!(map_section("//! Map\nmod a;\n"), None);
}

#[test]
fn a_file_without_a_line_and_a_line_without_a_file_are_found() {
    let tidy = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = "- `lib.rs`: x\n- `suite/*`: y\n- `tests/tidy.rs`: z\n- `gone.rs`: z\n".to_owned();
    let map = CodeMap { file: "here".to_owned(), text };
    let files = ["lib.rs", "dump.rs", "suite/mod.rs"].map(str::to_owned);
    let found = misfits(&map, &tidy, &files);
    assert_eq!(found, ["here: no line describes `dump.rs`", "here: there is no `gone.rs`"]);
}
