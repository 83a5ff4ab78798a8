//! Kafka's zigzag varints, and fields that have a varint as their length.
//!
//! A varint has at most five bytes for 32 bits and ten for 64 bits. Lengths and deltas almost
//! always have one or two bytes. Inlined code reads those, and a separate function reads longer
//! ones, so that the record loop stays small.

/// The fault of a varint that cannot be read.
pub(crate) const CUT: &str = "a number is cut off or too long";

/// Reads a 32-bit varint at `at` and moves `at` after it. `None` if the bytes end inside it, or if
/// it has more than 32 bits.
#[inline(always)]
pub(crate) fn varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let first = u32::from(*bytes.get(*at)?);
    if first < 0x80 {
        *at += 1;
        return Some(zigzag(first));
    }
    let second = u32::from(*bytes.get(*at + 1)?);
    if second < 0x80 {
        *at += 2;
        return Some(zigzag((first & 0x7f) | (second << 7)));
    }
    varint_rest(bytes, at)
}

#[cold]
#[inline(never)]
fn varint_rest(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let mut number = 0u32;
    for (index, byte) in bytes.get(*at..)?.iter().take(5).enumerate() {
        let low = u32::from(byte & 0x7f);
        if index == 4 && low > 0x0f {
            return None;
        }
        number |= low << (index * 7);
        if *byte < 0x80 {
            *at += index + 1;
            return Some(zigzag(number));
        }
    }
    None
}

/// Reads a 64-bit varint at `at` and moves `at` after it, as [`varint`] does.
#[inline(always)]
pub(crate) fn varlong(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = u64::from(*bytes.get(*at)?);
    if first < 0x80 {
        *at += 1;
        return Some(zigzag_long(first));
    }
    let second = u64::from(*bytes.get(*at + 1)?);
    if second < 0x80 {
        *at += 2;
        return Some(zigzag_long((first & 0x7f) | (second << 7)));
    }
    varlong_rest(bytes, at)
}

#[inline(never)]
fn varlong_rest(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut number = 0u64;
    for (index, byte) in bytes.get(*at..)?.iter().take(10).enumerate() {
        let low = u64::from(byte & 0x7f);
        if index == 9 && low > 1 {
            return None;
        }
        number |= low << (index * 7);
        if *byte < 0x80 {
            *at += index + 1;
            return Some(zigzag_long(number));
        }
    }
    None
}

#[inline(always)]
pub(crate) const fn zigzag(number: u32) -> i32 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[inline(always)]
pub(crate) const fn zigzag_long(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Reads a length, skips that many bytes, and returns their start and length. `None` if the length
/// is −1; `fault` if it is invalid.
#[inline(always)]
pub(crate) fn field(
    record: &[u8],
    at: &mut usize,
    fault: &'static str,
) -> Result<Option<(usize, usize)>, &'static str> {
    let length = varint(record, at).ok_or(CUT)?;
    let Ok(length) = usize::try_from(length) else {
        return if length == -1 { Ok(None) } else { Err(fault) };
    };
    let start = *at;
    let end = start + length;
    if end > record.len() {
        return Err(fault);
    }
    *at = end;
    Ok(Some((start, length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(mut number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while number >= 0x80 {
            out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        out.push(u8::try_from(number).unwrap());
        out
    }

    proptest! {
        #[test]
        fn every_number_reads_back(number: i64, shift in 0u32..64, tail in any::<u8>()) {
            let number = number >> shift;
            let mut bytes = encode(((number << 1) ^ (number >> 63)).cast_unsigned());
            let length = bytes.len();
            bytes.push(tail);
            let mut at = 0;
            prop_assert_eq!(varlong(&bytes, &mut at), Some(number));
            prop_assert_eq!(at, length);
            if let Ok(small) = i32::try_from(number) {
                let mut at = 0;
                prop_assert_eq!(varint(&bytes, &mut at), Some(small));
                prop_assert_eq!(at, length);
            }
            let mut at = 0;
            prop_assert_eq!(varlong(&bytes[..length - 1], &mut at), None);
        }
    }

    #[test]
    fn endless_and_overflowing_varints_are_rejected() {
        for bytes in [&[0xff; 20][..], &[0x80; 5], &[0xff, 0xff, 0xff, 0xff, 0x1f], &[]] {
            assert_eq!(varint(bytes, &mut 0), None, "{bytes:x?}");
        }
        let mut overflow = [0xff; 10];
        overflow[9] = 2;
        for bytes in [&[0xff; 20][..], &[0x80; 10], &overflow] {
            assert_eq!(varlong(bytes, &mut 0), None, "{bytes:x?}");
        }
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x0f], &mut 0), Some(i32::MIN));
    }
}
