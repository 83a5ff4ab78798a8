//! A list in one value of a flag: its entries are separated by commas.
//!
//! Blanks around an entry and empty entries are ignored, as in a list of brokers: `a, b` and `a,b,` are
//! `a,b`. A list without an entry is an error.

use std::str::FromStr;

/// A parsed list; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<T>(Vec<T>);

impl<T> List<T> {
    pub(crate) fn one(entry: T) -> Self {
        Self(vec![entry])
    }
}

impl<T: Clone> List<T> {
    /// The entries of all values of a flag, in order.
    pub(crate) fn flat(lists: &[Self]) -> Vec<T> {
        lists.iter().flat_map(|list| list.0.iter().cloned()).collect()
    }
}

impl<T: FromStr> FromStr for List<T>
where
    T::Err: ToString,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entries: Vec<T> = entries
            .map(|entry| entry.parse().map_err(|e: T::Err| e.to_string()))
            .collect::<Result<_, _>>()?;
        if entries.is_empty() {
            return Err(format!("`{text}` names nothing"));
        }
        Ok(Self(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_empty_entries_are_ignored_and_an_empty_list_is_an_error() {
        for text in ["a,b", "a, b", "a,b,", " a ,, b ", "a,b,,"] {
            let list: List<String> = text.parse().unwrap();
            assert_eq!(List::flat(&[list]), ["a", "b"], "{text:?}");
        }
        for text in ["", ",", " , "] {
            assert!(text.parse::<List<String>>().is_err(), "{text:?}");
        }
        assert!("1,x".parse::<List<i32>>().unwrap_err().contains("invalid digit"));
        let two = [List::one("a".to_owned()), "b,c".parse().unwrap()];
        assert_eq!(List::flat(&two), ["a", "b", "c"]);
    }
}
