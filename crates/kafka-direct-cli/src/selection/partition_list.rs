//! Parses and prints LIST of `--partitions LIST`: indices and runs of indices, `0,3-5`.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// Maximum number of indices; more are most likely a typing error.
const MAX_INDICES: usize = 1_000_000;

/// A set of partition indices, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionList(BTreeSet<i32>);

impl PartitionList {
    /// Returns the indices in ascending order.
    pub(crate) fn indices(&self) -> impl Iterator<Item = i32> {
        self.0.iter().copied()
    }
}

impl FromStr for PartitionList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut indices = BTreeSet::new();
        for part in text.split(',') {
            let wrong =
                || format!("invalid partition `{part}`; write indices from 0, as in `0,3-5`");
            let index = |text: &str| {
                text.trim().parse::<i32>().ok().filter(|index| *index >= 0).ok_or_else(wrong)
            };
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (index(first)?, index(last)?),
                None => (index(part)?, index(part)?),
            };
            if last < first {
                return Err(format!("invalid run `{part}`; write the smaller index first"));
            }
            let room = MAX_INDICES.saturating_sub(indices.len());
            if usize::try_from(last.abs_diff(first)).is_ok_and(|more| more >= room) {
                return Err(format!("`{text}` names more than {MAX_INDICES} partitions"));
            }
            indices.extend(first..=last);
        }
        Ok(Self(indices))
    }
}

impl fmt::Display for PartitionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indices: Vec<i32> = self.indices().collect();
        let follows = |a: &i32, b: &i32| a.checked_add(1) == Some(*b);
        for (at, run) in indices.chunk_by(follows).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                few => few.iter().try_for_each(|index| write!(f, "{comma}{index}"))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_and_single_indices_mix() {
        let list: PartitionList = "7, 0,3-5,4".parse().unwrap();
        assert_eq!(list.indices().collect::<Vec<_>>(), [0, 3, 4, 5, 7]);
        assert_eq!(list.to_string(), "0,3-5,7");
    }

    #[test]
    fn invalid_text_is_rejected() {
        for text in ["", ",", "-1", "5-3", "a", "1-", "0-2147483647", "2147483648"] {
            assert!(text.parse::<PartitionList>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printed_indices_parse_to_the_same_list(indices in proptest::collection::btree_set(0..=i32::MAX, 1..20)) {
            let text = indices.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let list: PartitionList = text.parse().unwrap();
            prop_assert_eq!(&list.0, &indices);
            prop_assert_eq!(list.to_string().parse(), Ok(list));
        }
    }
}
