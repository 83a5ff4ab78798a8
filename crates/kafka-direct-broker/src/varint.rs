//! Kafka's zigzag varints inside record batches.

/// Appends `value` to `out` as a zigzag varint.
pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        // The mask keeps seven bits, so the conversion cannot fail.
        out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

/// How many bytes [`put`] appends for `value`.
pub(crate) fn size(value: i64) -> usize {
    let bits = 64u32.saturating_sub(zigzag(value).leading_zeros()).max(1);
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

/// Removes one varint from the front of `from`; `None` if it does not end within ten bytes.
pub(crate) fn take(from: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(unzigzag(value));
        }
    }
    None
}

fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_varint_round_trips_and_has_the_computed_size(value in prop_oneof![any::<i64>(), -300i64..300]) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), size(value));
            let mut rest = out.as_slice();
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_varint_without_an_end_is_none() {
        assert_eq!(take(&mut [0x80; 12].as_slice()), None);
        assert_eq!(take(&mut [0x80].as_slice()), None);
    }
}
