//! The numbers and ids of a checkpoint: [`BatchId`], [`Generation`], [`StreamId`] and
//! [`WriterNonce`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The digits of a number in a file's name: as many as the largest `u64` has, so that names sort as
/// numbers do.
const DIGITS: usize = 20;

/// The number in a file's name; `None` for a file of another program.
pub(crate) fn number_of_name(name: &str) -> Option<u64> {
    let is_ours = name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { name.parse().ok() } else { None }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The one with this number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The next one; the last `u64` has none and stays.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The name of its file in `folder`.
            pub(crate) fn file_in(self, folder: &str) -> String {
                format!("{folder}/{:0width$}", self.0, width = DIGITS)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The number of a batch within its stream, from 0. A number is never used for two batches.
    BatchId
}
number! {
    /// The number of a driver's start on a checkpoint, from 1. Of two drivers the one with the higher
    /// number continues.
    Generation
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// A new one, from the operating system's random numbers.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = uuid::Error;

            fn try_from(text: String) -> Result<Self, uuid::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

random_id! {
    /// The id of a stream: random, created with its checkpoint, and kept by its sinks.
    StreamId
}
random_id! {
    /// The random id of a driver's start. After a create whose outcome is unknown it shows whose bytes
    /// were stored.
    WriterNonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_numbers_do_and_read_back() {
        let names = [0, 9, 10, u64::MAX].map(|number| BatchId::new(number).file_in("offsets"));
        assert!(names.is_sorted(), "{names:?}");
        let name = names[3].strip_prefix("offsets/").unwrap();
        assert_eq!(number_of_name(name), Some(u64::MAX));
        for other in ["", "7", ".0000000000000000007", "+0000000000000000007"] {
            assert_eq!(number_of_name(other), None, "{other}");
        }
    }

    #[test]
    fn ids_are_random_and_read_back_from_their_text() {
        let id = StreamId::random();
        assert_ne!(id, StreamId::random());
        assert_eq!(id.to_string().parse::<StreamId>().unwrap(), id);
        assert!("x".parse::<StreamId>().is_err());
    }
}
