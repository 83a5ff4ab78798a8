//! Checks of plain English: banned words, and sentences that are too long.
//!
//! Banned words are searched in comments of Rust sources and in documents. Sentences are measured
//! in documents only. Code is not checked: fenced blocks and text between backticks.

use std::path::{Path, PathBuf};

use super::{check, files_below, read, root, shown, sources};

mod passages;

use passages::{Passage, comments, paragraphs};

/// Banned phrases, each with its replacement.
///
/// A word that ends in `*` matches every word with that beginning, and `*` alone matches any word.
/// Each rule applies to all comments, and to all documents except those of [`HISTORY`].
const BANNED: &[(&str, &str)] = &[
    ("let go of", "release"),
    ("lets go of", "releases"),
    ("bears out", "confirms"),
    ("borne out", "confirmed"),
    ("bear out", "confirm"),
    ("bearing out", "confirming"),
    ("stands in line", "waits"),
    ("stand in line", "wait"),
    ("stands in", "is in"),
    ("starv*", "block"),
    ("give way", "yield"),
    ("gives way", "yields"),
    ("given way", "yielded"),
    ("giving way", "yielding"),
    ("sate", "fill"),
    ("sated", "full"),
    ("excus*", "extend_deadline, or does not count towards the timeout"),
    ("is no size", "invalid size"),
    ("bearable", "allowed"),
    ("believe*", "trust"),
    ("believing", "trusting"),
    ("vanish*", "is missing"),
    ("is told", "is reported"),
    ("are told", "are reported"),
    ("told apart", "distinguished"),
    ("jump*", "skip"),
    ("mend*", "repair"),
    ("lets * go", "releases"),
    ("stand in", "are in"),
    ("tells apart", "distinguishes"),
    ("tells * apart", "distinguishes"),
    ("answer*", "response"),
    ("patience", "retry timeout"),
    ("streak*", "fault counters"),
    ("namesake*", "a topic of the same name"),
    ("rooms", "crates"),
    ("cope*", "handle"),
    ("see to", "ensure"),
    ("sees to", "ensures"),
    ("seen to", "ensured"),
    ("wherever", "where"),
    ("whoever", "the caller, or who it is"),
    ("hungry", "waits for input"),
];

/// Documents about the past, which keep the words of their time.
const HISTORY: &[&str] = &["CHANGELOG.md"];

/// Most words of a sentence in a document.
const MAX_SENTENCE_WORDS: usize = 35;

/// Documents whose sentences are not measured, because some are longer.
///
/// Remove a document's line here when it is rewritten. The lists in `docs/benchmarks.md` are
/// generated.
const LONG_SENTENCES: &[&str] = &["docs/benchmarks.md"];

/// Returns all documents of the repository.
fn documents() -> Vec<PathBuf> {
    let is_document = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "md");
    files_below(&root()).into_iter().filter(is_document).collect()
}

/// Whether `names` contains the file's path from the repository's root.
fn is_one_of(file: &Path, names: &[&str]) -> bool {
    names.contains(&shown(file).as_str())
}

/// Whether `word` matches `pattern`, a word of a banned phrase.
fn is_match(pattern: &str, word: &str) -> bool {
    pattern.strip_suffix('*').map_or(word == pattern, |beginning| word.starts_with(beginning))
}

/// Finds the banned phrases of a passage: line, phrase, replacement.
fn banned<'a>(
    passage: &Passage,
    rules: &'a [(&'a str, &'a str)],
) -> Vec<(usize, &'a str, &'a str)> {
    let mut found = Vec::new();
    for (phrase, instead) in rules {
        let pattern: Vec<&str> = phrase.split(' ').collect();
        for words in passage.words.windows(pattern.len()) {
            let is_split = words.iter().rev().skip(1).any(|word| word.ends_sentence);
            let is_found =
                words.iter().zip(&pattern).all(|(word, part)| is_match(part, &word.text));
            if is_found && !is_split {
                found.extend(words.first().map(|first| (first.line, *phrase, *instead)));
            }
        }
    }
    found
}

/// Finds the sentences of a passage with more than `most` words: first line and number of words.
fn long_sentences(passage: &Passage, most: usize) -> Vec<(usize, usize)> {
    let sentences = passage.words.split_inclusive(|word| word.ends_sentence);
    let long = sentences.filter(|sentence| sentence.len() > most);
    long.filter_map(|sentence| Some((sentence.first()?.line, sentence.len()))).collect()
}

#[test]
fn no_comment_and_no_document_has_a_banned_word() {
    let mut broken = Vec::new();
    let documents = documents().into_iter().filter(|file| !is_one_of(file, HISTORY));
    let texts = documents.map(|file| (paragraphs(&read(&file)), file));
    let texts = texts.chain(sources().into_iter().map(|file| (comments(&read(&file)), file)));
    for (passages, file) in texts {
        for (line, phrase, instead) in passages.iter().flat_map(|passage| banned(passage, BANNED)) {
            broken.push(format!("{}:{line}: `{phrase}`; write `{instead}`", shown(&file)));
        }
    }
    check(&broken);
}

#[test]
fn no_sentence_of_a_document_is_too_long() {
    let mut broken = Vec::new();
    for file in documents() {
        if is_one_of(&file, HISTORY) || is_one_of(&file, LONG_SENTENCES) {
            continue;
        }
        let passages = paragraphs(&read(&file));
        let long = passages.iter().filter(|passage| passage.is_prose);
        for (line, words) in long.flat_map(|passage| long_sentences(passage, MAX_SENTENCE_WORDS)) {
            let most = MAX_SENTENCE_WORDS;
            broken.push(format!(
                "{}:{line}: a sentence of {words} words, at most {most}",
                shown(&file)
            ));
        }
    }
    check(&broken);
}

#[test]
fn every_exemption_is_needed() {
    let is_needless = |name: &&&str| {
        let file = root().join(name);
        let passages = if file.exists() { paragraphs(&read(&file)) } else { Vec::new() };
        let mut prose = passages.iter().filter(|passage| passage.is_prose);
        prose.all(|passage| long_sentences(passage, MAX_SENTENCE_WORDS).is_empty())
    };
    let needless = LONG_SENTENCES.iter().filter(is_needless);
    let message = |name| format!("{name} has no long sentence: remove it from LONG_SENTENCES");
    check(&needless.map(message).collect::<Vec<_>>());
}

/// Finds the lines with a banned phrase, by rules of these tests.
fn found(passages: &[Passage]) -> Vec<usize> {
    let rules = [("set out", "start"), ("wand*", "move")];
    let found = passages.iter().flat_map(|passage| banned(passage, &rules));
    found.map(|(line, _, _)| line).collect()
}

#[test]
fn a_banned_word_in_a_comment_is_found() {
    let source = "//! We set out.\n\nfn f() {} // It wanders here.\n/// Nobody is Wandering.\n";
    assert_eq!(found(&comments(source)), [1, 3, 4]);
}

#[test]
fn a_banned_phrase_is_found_across_lines_and_in_any_case() {
    assert_eq!(found(&comments("    // They Set\n    // out, then stop.\n")), [1]);
    assert_eq!(found(&paragraphs("A list:\n- they set\n  *out* now\n")), [2]);
}

#[test]
fn code_has_no_banned_words() {
    assert_eq!(found(&comments("let x = \"set out\";\n// The flag `starve`.\n")), [0; 0]);
    assert_eq!(found(&comments("/// ```\n/// starve();\n/// ```\n/// Text.\n")), [0; 0]);
    assert_eq!(found(&paragraphs("Text.\n\n```sh\nstarve now\n```\n")), [0; 0]);
}

#[test]
fn separate_passages_are_not_read_as_one() {
    assert_eq!(found(&comments("// They set\nlet x = 1;\n// out\n")), [0; 0]);
    assert_eq!(found(&paragraphs("They set\n\nout of it\n- we set\n- out of it\n")), [0; 0]);
    assert_eq!(found(&paragraphs("It is set. Out of it comes more.\n")), [0; 0]);
}

/// Finds the sentences of a document with more than three words: first line and number of words.
fn long(document: &str) -> Vec<(usize, usize)> {
    let passages = paragraphs(document);
    let prose = passages.iter().filter(|passage| passage.is_prose);
    prose.flat_map(|passage| long_sentences(passage, 3)).collect()
}

#[test]
fn a_long_sentence_is_found_with_the_line_it_begins_on() {
    assert_eq!(long("One two. One two\nthree four five. One.\n"), [(1, 5)]);
    assert_eq!(long("- One two three.\n- One two three four\n"), [(2, 4)]);
}

#[test]
fn a_piece_of_code_is_one_word_and_a_link_is_its_text() {
    assert_eq!(long("Run `cargo test --workspace` now.\n"), []);
    assert_eq!(long("See [the guide](docs/a-b/c.md#x) now.\n"), [(1, 4)]);
    assert_eq!(long("A number of 1.5 MiB, e.g. 2.0 here.\n"), [(1, 8)]);
}

#[test]
fn tables_and_code_blocks_have_no_sentences() {
    assert_eq!(long("| one two three four five |\n|---|\n"), []);
    assert_eq!(long("```text\none two three four five\n```\n"), []);
}
