//! Checks the lengths and counts of a Kafka message against its schema, before a codec decodes it.
//!
//! Generated codecs reserve memory for as many elements as an array's count states. A hostile or
//! corrupt count reserves gigabytes, and a failed allocation aborts the process. So
//! [`Schema::walk`] reads the message first: every element that a count states must be in the
//! message.
//!
//! Contract: a walk never panics and allocates nothing. It accepts everything that Kafka's own
//! encoder writes. It reads every length as the codecs do, so both find the same fields at the same
//! positions.

use std::fmt;

/// The layout of one value on the wire.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A value of this many bytes.
    Fixed(usize),
    /// A string, nullable or not.
    Text,
    /// A byte string, nullable or not.
    Blob,
    /// An array of values, nullable or not.
    Array(&'static Self),
    /// An array of structs, nullable or not.
    Structs(&'static [Field]),
}

/// One field of a struct, and the versions that have it.
///
/// [`always`], [`since`], [`between`] and [`tagged`] build one.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    since: i16,
    until: i16,
    tag: Option<u32>,
    shape: Shape,
}

impl Field {
    fn is_in(&self, version: i16) -> bool {
        self.tag.is_none() && (self.since..=self.until).contains(&version)
    }
}

/// A field that every version has.
#[must_use]
pub const fn always(shape: Shape) -> Field {
    since(0, shape)
}

/// A field that version `since` and all later versions have.
#[must_use]
pub const fn since(since: i16, shape: Shape) -> Field {
    between(since, i16::MAX, shape)
}

/// A field that the versions `since` to `until` have, both inclusive.
#[must_use]
pub const fn between(since: i16, until: i16, shape: Shape) -> Field {
    Field { since, until, tag: None, shape }
}

/// A tagged field (KIP-482). Its position among the other fields has no meaning.
///
/// The walk checks that the value has exactly the size that the message states, because a codec
/// reads the value and ignores the size. The walk skips tags that the schema does not list, by
/// their size.
#[must_use]
pub const fn tagged(tag: u32, shape: Shape) -> Field {
    Field { since: 0, until: i16::MAX, tag: Some(tag), shape }
}

/// The layout of one message in all versions.
///
/// Source of the schemas: `clients/src/main/resources/common/message` in Apache Kafka.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The first version with compact lengths and tagged fields.
    pub flexible_since: i16,
    /// The fields of the outermost struct, in wire order.
    pub fields: &'static [Field],
}

impl Schema {
    /// Walks a message of this schema in `version` and returns the bytes that follow it.
    ///
    /// `max_elements` limits array elements and tagged fields, counted together.
    ///
    /// # Errors
    /// The first length or count that does not match the bytes.
    pub fn walk<'a>(
        &self,
        version: i16,
        bytes: &'a [u8],
        max_elements: usize,
    ) -> Result<&'a [u8], Malformed> {
        let flexible = version >= self.flexible_since;
        let mut walk = Walk { rest: bytes, version, flexible, elements_left: max_elements };
        walk.structure(self.fields)?;
        Ok(walk.rest)
    }
}

/// Skips a block of tagged fields, none of which is known, and returns the bytes that follow it.
///
/// `max_elements` limits the number of tagged fields.
///
/// # Errors
/// The first length or count that does not match the bytes.
pub fn skip_tagged_fields(bytes: &[u8], max_elements: usize) -> Result<&[u8], Malformed> {
    let mut walk = Walk { rest: bytes, version: 0, flexible: true, elements_left: max_elements };
    walk.tagged_fields(&[])?;
    Ok(walk.rest)
}

/// Why a message does not fit its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The message ends inside a field.
    Short,
    /// The count of an array or of a block of tagged fields exceeds what the message holds.
    Count,
    /// A string, a byte string or a tagged field is longer than the message, or its length is
    /// negative and does not stand for null.
    Length,
    /// A variable-length number has more than 32 bits.
    Varint,
    /// A known tagged field has a different size from the one that the message states.
    Tagged,
    /// The message has more array elements and tagged fields than the caller allows.
    Elements,
}

impl Malformed {
    /// The fault as a clause about the message, for use in an error message.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Short => "it ends too early",
            Self::Count => "an array claims more elements than the message holds",
            Self::Length => "a string is longer than the message",
            Self::Varint => "a length has more than 32 bits",
            Self::Tagged => "a tagged field does not have the size that it claims",
            Self::Elements => "it has too many array elements and tagged fields",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Malformed {}

/// The state of a walk: the rest of the message and of the caller's limit.
struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements_left: usize,
}

impl<'a> Walk<'a> {
    fn split(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u64;
        for shift in [0u32, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Malformed::Varint);
            }
        }
        Err(Malformed::Varint)
    }

    /// Reads a length of a flexible version, which is stored as one more than its value. Null is
    /// stored as 0 and counts as 0.
    fn compact_length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?.saturating_sub(1)).map_err(|_| Malformed::Length)
    }

    /// Reads a length of 32 bits, or a compact one in flexible versions. Null counts as 0.
    fn length(&mut self) -> Result<usize, Malformed> {
        if self.flexible {
            self.compact_length()
        } else {
            plain_length(i32::from_be_bytes(self.take()?))
        }
    }

    /// Subtracts `elements` from the caller's limit. Each element takes at least one byte.
    fn spend(&mut self, elements: usize) -> Result<(), Malformed> {
        if elements > self.rest.len() {
            return Err(Malformed::Count);
        }
        self.elements_left = self.elements_left.checked_sub(elements).ok_or(Malformed::Elements)?;
        Ok(())
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.length().map_err(|why| match why {
            Malformed::Length => Malformed::Count,
            other => other,
        })?;
        self.spend(count)?;
        Ok(count)
    }

    fn structure(&mut self, fields: &'static [Field]) -> Result<(), Malformed> {
        for field in fields {
            if field.is_in(self.version) {
                self.shape(&field.shape)?;
            }
        }
        if self.flexible { self.tagged_fields(fields) } else { Ok(()) }
    }

    fn shape(&mut self, shape: &Shape) -> Result<(), Malformed> {
        match shape {
            Shape::Fixed(bytes) => self.split(*bytes).map(drop).ok_or(Malformed::Short),
            Shape::Text => {
                let length = if self.flexible {
                    self.compact_length()?
                } else {
                    plain_length(i16::from_be_bytes(self.take()?).into())?
                };
                self.split(length).map(drop).ok_or(Malformed::Length)
            }
            Shape::Blob => {
                let length = self.length()?;
                self.split(length).map(drop).ok_or(Malformed::Length)
            }
            Shape::Array(Shape::Fixed(bytes)) => {
                let all = self.count()?.checked_mul(*bytes);
                all.and_then(|all| self.split(all)).map(drop).ok_or(Malformed::Count)
            }
            Shape::Array(element) => {
                for _ in 0..self.count()? {
                    self.shape(element).map_err(in_array)?;
                }
                Ok(())
            }
            Shape::Structs(fields) => {
                for _ in 0..self.count()? {
                    self.structure(fields).map_err(in_array)?;
                }
                Ok(())
            }
        }
    }

    fn tagged_fields(&mut self, fields: &'static [Field]) -> Result<(), Malformed> {
        let count = usize::try_from(self.varint()?).map_err(|_| Malformed::Count)?;
        self.spend(count)?;
        for _ in 0..count {
            let tag = self.varint()?;
            let size = usize::try_from(self.varint()?).map_err(|_| Malformed::Length)?;
            let value = self.split(size).ok_or(Malformed::Length)?;
            if let Some(field) = fields.iter().find(|field| field.tag == Some(tag)) {
                let mut inner = Walk { rest: value, ..*self };
                inner.shape(&field.shape).map_err(|why| match why {
                    Malformed::Short => Malformed::Tagged,
                    other => other,
                })?;
                if !inner.rest.is_empty() {
                    return Err(Malformed::Tagged);
                }
                self.elements_left = inner.elements_left;
            }
        }
        Ok(())
    }
}

/// Converts a length field of a version before `flexible_since`: -1 is null and counts as 0.
fn plain_length(length: i32) -> Result<usize, Malformed> {
    if length == -1 { Ok(0) } else { usize::try_from(length).map_err(|_| Malformed::Length) }
}

/// Turns the end of the message inside an array into a fault of the array's count.
const fn in_array(why: Malformed) -> Malformed {
    match why {
        Malformed::Short => Malformed::Count,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Shape::*, *};

    const NO_LIMIT: usize = usize::MAX;

    /// An id, a name, numbers, and rows of a blob and a tagged number; flexible since version 2.
    const SCHEMA: Schema = Schema {
        flexible_since: 2,
        fields: &[
            between(0, 1, Fixed(4)),
            always(Text),
            since(1, Array(&Fixed(4))),
            always(Structs(&[always(Blob), tagged(3, Fixed(2))])),
        ],
    };

    #[track_caller]
    fn check(version: i16, bytes: &[u8], expected: Result<usize, Malformed>) {
        assert_eq!(SCHEMA.walk(version, bytes, NO_LIMIT).map(<[u8]>::len), expected);
    }

    /// One row without tagged fields, in version 0.
    const PLAIN: &[u8] = &[0, 0, 0, 7, 0, 2, b'a', b'b', 0, 0, 0, 1, 0, 0, 0, 1, 9];
    /// Two numbers and one row with tagged fields 3 and 8, in version 2.
    const FLEXIBLE: &[u8] =
        &[3, b'a', b'b', 3, 0, 0, 0, 1, 0, 0, 0, 2, 2, 2, 9, 2, 3, 2, 0, 0, 8, 1, 5, 0];

    #[test]
    fn a_message_is_walked_to_its_end_and_no_prefix_of_it_is_accepted() {
        for (version, message) in [(0, PLAIN), (2, FLEXIBLE)] {
            check(version, message, Ok(0));
            check(version, &[message, &[1, 2]].concat(), Ok(2));
            for cut in 0..message.len() {
                assert!(SCHEMA.walk(version, &message[..cut], NO_LIMIT).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn null_has_no_bytes_and_other_negative_lengths_are_rejected() {
        check(0, &[0, 0, 0, 7, 255, 255, 255, 255, 255, 255], Ok(0));
        check(0, &[0, 0, 0, 7, 255, 254, 0, 0, 0, 0], Err(Malformed::Length));
        check(0, &[0, 0, 0, 7, 0, 0, 255, 255, 255, 254], Err(Malformed::Count));
        check(2, &[0, 0, 0, 0], Ok(0));
    }

    #[test]
    fn counts_and_lengths_without_bytes_after_them_are_rejected() {
        check(0, &[0, 0, 0, 7, 0, 9, b'a'], Err(Malformed::Length));
        check(0, &[0, 0, 0, 7, 0, 0, 127, 255, 255, 255], Err(Malformed::Count));
        // The count is three, and two numbers follow.
        check(1, &[0, 0, 0, 7, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2], Err(Malformed::Count));
        check(2, &[1, 255, 255, 255, 255, 15], Err(Malformed::Count));
    }

    #[test]
    fn a_number_of_more_than_32_bits_is_rejected() {
        check(2, &[255, 255, 255, 255, 16], Err(Malformed::Varint));
        check(2, &[128, 128, 128, 128, 128, 0], Err(Malformed::Varint));
    }

    #[test]
    fn a_known_tagged_field_of_another_size_is_rejected() {
        for size in [0, 1, 3] {
            let mut message = vec![1, 1, 2, 1, 1, 3, size];
            message.resize(20, 0);
            check(2, &message, Err(Malformed::Tagged));
        }
        // Tag 3 is known only inside a row. Outside a row it may have any size.
        check(2, &[1, 1, 1, 1, 3, 1, 0], Ok(0));
    }

    #[test]
    fn elements_and_tagged_fields_count_towards_the_callers_limit() {
        // Two numbers, one row, two tagged fields.
        assert_eq!(SCHEMA.walk(2, FLEXIBLE, 5), Ok(&[][..]));
        assert_eq!(SCHEMA.walk(2, FLEXIBLE, 4), Err(Malformed::Elements));
        assert_eq!(skip_tagged_fields(&[2, 1, 0, 2, 0, 77], 2), Ok(&[77][..]));
        assert_eq!(skip_tagged_fields(&[2, 1, 0, 2, 0, 77], 1), Err(Malformed::Elements));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for version in 0..4 {
                let rest = SCHEMA.walk(version, &bytes, NO_LIMIT).map_or(0, <[u8]>::len);
                prop_assert!(rest <= bytes.len());
            }
            let _ = skip_tagged_fields(&bytes, NO_LIMIT);
        }
    }
}
