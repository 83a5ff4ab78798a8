//! The settings a folder was begun with, which distinguish a re-run from another job.
//!
//! Contract: the settings hold only what changes the bytes in the folder. Servers, credentials,
//! deadlines and the data-loss policy may change between two runs of one job.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Error, files::parse};

/// The version of the settings' JSON.
const SETTINGS_VERSION: u32 = 1;

/// The name of the format's setting.
pub(crate) const FORMAT: &str = "--format";

/// Names of settings and their values, in the caller's words.
pub(crate) type Words = BTreeMap<String, String>;

/// The settings of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobSettings {
    version: u32,
    /// Format and columns of the files.
    output: Words,
    /// What the plan was resolved from; `None` if it came from a file, or if the caller did not say.
    selection: Option<Words>,
}

impl JobSettings {
    pub(crate) const fn new(output: Words, selection: Option<Words>) -> Self {
        Self { version: SETTINGS_VERSION, output, selection }
    }

    pub(crate) fn from_json(text: &str, path: &Path) -> Result<Self, Error> {
        parse(text, path, "the settings of a job")
    }

    /// The first difference that makes a run with the settings `wanted` another job; `None` for a
    /// re-run. A run without a selection continues with the folder's plan. Plans from a file are
    /// compared by [`difference`](super::plan_file::difference).
    pub(crate) fn difference(&self, wanted: &Self) -> Option<String> {
        let selections = match (&self.selection, &wanted.selection) {
            (_, None) => None,
            (Some(here), Some(wanted)) => first_difference(here, wanted),
            (None, Some(_)) => Some(
                "its plan came from a file; pass the same --plan, or no flags that select offsets"
                    .to_owned(),
            ),
        };
        first_difference(&self.output, &wanted.output).or(selections)
    }
}

fn first_difference(here: &Words, wanted: &Words) -> Option<String> {
    let text = |flags: &Words, flag: &str| {
        flags.get(flag).map_or_else(|| "not given".to_owned(), |value| format!("`{value}`"))
    };
    // The default of the columns follows the format.
    let format = std::iter::once(FORMAT);
    let mut flags = format.chain(here.keys().chain(wanted.keys()).map(String::as_str));
    let flag = flags.find(|flag| here.get(*flag) != wanted.get(*flag))?;
    let (was, is) = (text(here, flag), text(wanted, flag));
    Some(format!("{flag} was {was} and is now {is}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(from: &str) -> Words {
        Words::from([
            ("--from".to_owned(), from.to_owned()),
            ("--topic".to_owned(), "t".to_owned()),
        ])
    }

    #[test]
    fn what_differs_is_named() {
        let job = |selection| JobSettings::new(Words::new(), selection);
        let here = job(Some(flags("earliest")));
        assert_eq!(here.difference(&here), None);
        assert_eq!(
            here.difference(&job(Some(flags("-5")))).unwrap(),
            "--from was `earliest` and is now `-5`"
        );
        let written = |format: &str, columns: &str| {
            let words = [(FORMAT, format), ("--columns", columns)];
            let words = words.map(|(flag, value)| (flag.to_owned(), value.to_owned()));
            JobSettings::new(Words::from(words), None)
        };
        let (raw, csv) = (written("raw", "value"), written("csv", "key,value"));
        assert_eq!(raw.difference(&csv).unwrap(), "--format was `raw` and is now `csv`");
        assert_eq!(here.difference(&job(None)), None);
        assert!(job(None).difference(&here).unwrap().contains("--plan"));
    }
}
