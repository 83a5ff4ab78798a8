//! Splits comments and documents into passages, and passages into words with their line numbers.

/// A word in lowercase, without the punctuation around it.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) text: String,
    /// Line number, from 1.
    pub(super) line: usize,
    pub(super) ends_sentence: bool,
}

/// A paragraph, a bullet, a row of a table, or a block of comment lines.
#[derive(Debug, Default)]
pub(super) struct Passage {
    pub(super) words: Vec<Word>,
    /// Whether the passage has sentences; a row of a table has none.
    pub(super) is_prose: bool,
}

/// The word that replaces a piece of code in a sentence; no banned word equals it.
const CODE: &str = "0";

/// Abbreviations whose full stop does not end a sentence.
const ABBREVIATIONS: &[&str] = &["e.g.", "i.e.", "etc.", "vs.", "cf.", "no."];

/// Collects passages line by line.
#[derive(Default)]
struct Collector {
    passages: Vec<Passage>,
    open: Vec<(usize, String)>,
    is_fenced: bool,
}

impl Collector {
    /// Adds a line of text without its comment marker.
    fn line(&mut self, number: usize, text: &str) {
        let text = text.trim();
        if text.starts_with("```") {
            self.is_fenced = !self.is_fenced;
            self.end(true);
        } else if self.is_fenced {
        } else if text.starts_with('|') {
            self.end(true);
            self.open.push((number, text.to_owned()));
            self.end(false);
        } else {
            if is_start(text) {
                self.end(true);
            }
            self.open.push((number, text.to_owned()));
        }
    }

    /// Ends the open passage.
    fn end(&mut self, is_prose: bool) {
        let lines = std::mem::take(&mut self.open);
        let words = words(&lines);
        if !words.is_empty() {
            self.passages.push(Passage { words, is_prose });
        }
    }

    fn finish(mut self) -> Vec<Passage> {
        self.end(true);
        self.passages
    }
}

/// Whether a line begins a passage of its own: a bullet, a heading, or an empty line.
fn is_start(text: &str) -> bool {
    let numbered = text.split_once(". ").is_some_and(|(number, _)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    text.is_empty()
        || numbered
        || ["- ", "* ", "#", "> "].iter().any(|start| text.starts_with(start))
}

/// Splits lines into words. Code between backticks is one word, and a link is its text.
fn words(lines: &[(usize, String)]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut is_code = false;
    for (number, line) in lines {
        let line = line.trim_start_matches(['#', '>']);
        let mut plain = String::new();
        for (index, part) in line.split('`').enumerate() {
            if index > 0 {
                is_code = !is_code;
            }
            match is_code {
                true => plain.push_str(CODE),
                false => plain.push_str(&without_targets(part)),
            }
        }
        for raw in plain.split_whitespace() {
            let text = raw.trim_matches(|letter: char| !letter.is_alphanumeric()).to_lowercase();
            let ends_sentence = ends_sentence(raw);
            if text.is_empty() {
                if let Some(last) = words.last_mut() {
                    last.ends_sentence |= ends_sentence;
                }
                continue;
            }
            words.push(Word { text, line: *number, ends_sentence });
        }
    }
    words
}

/// Removes every `](target)` from the text.
fn without_targets(text: &str) -> String {
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut whole, part| {
        whole.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
        whole
    })
}

fn ends_sentence(word: &str) -> bool {
    let word = word.trim_end_matches(['*', '_', ')', '"', '”', '’']);
    word.ends_with(['.', '!', '?']) && !ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// Splits a document into passages.
pub(super) fn paragraphs(markdown: &str) -> Vec<Passage> {
    let mut collector = Collector::default();
    for (number, line) in (1..).zip(markdown.lines()) {
        collector.line(number, line);
    }
    collector.finish()
}

/// Splits the comments of a Rust source into passages.
///
/// Consecutive comment lines are read as one text. A comment after code is a passage of its own.
pub(super) fn comments(source: &str) -> Vec<Passage> {
    let mut collector = Collector::default();
    for (number, line) in (1..).zip(source.lines()) {
        let line = line.trim_start();
        if let Some(text) = line.strip_prefix("//") {
            collector.line(number, text.trim_start_matches(['/', '!']));
            continue;
        }
        collector.is_fenced = false;
        collector.end(true);
        // With spaces around it, unlike the `//` of an address.
        if let Some((_, text)) = line.split_once(" // ") {
            collector.line(number, text);
            collector.end(true);
        }
    }
    collector.finish()
}
