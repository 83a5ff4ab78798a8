//! JSON strings and base64, written into a buffer.
//!
//! By hand because it is the hot loop of JSON lines: eight bytes are checked at a time.

use base64::{Engine as _, engine::general_purpose::STANDARD};

const HEX: &[u8; 16] = b"0123456789abcdef";
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Appends `text` as a JSON string, quotes included.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.get(plain(rest)..).and_then(<[u8]>::split_first) {
        let before = rest.len().saturating_sub(behind.len()).saturating_sub(1);
        out.extend_from_slice(rest.get(..before).unwrap_or_default());
        escaped(*byte, out);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends `bytes` as base64 in quotes.
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let from = out.len();
    let space = base64::encoded_len(bytes.len(), true).unwrap_or(0);
    out.resize(from.saturating_add(space), b'=');
    if let Some(space) = out.get_mut(from..) {
        // Cannot fail: the space has exactly the encoded length.
        drop(STANDARD.encode_slice(bytes, space));
    }
    out.push(b'"');
}

/// How many bytes at the front need no escape; eight are checked at a time.
fn plain(bytes: &[u8]) -> usize {
    let (eights, _) = bytes.as_chunks::<8>();
    let clean = eights.iter().take_while(|eight| {
        let word = u64::from_le_bytes(**eight);
        let control = word.wrapping_sub(ONES.wrapping_mul(0x20)) & !word;
        (control | zero(word ^ ONES.wrapping_mul(0x22)) | zero(word ^ ONES.wrapping_mul(0x5c)))
            & HIGHS
            == 0
    });
    let clean = clean.count().saturating_mul(8);
    let tail = bytes.get(clean..).unwrap_or_default();
    let more = tail.iter().position(|byte| needs_escape(*byte)).unwrap_or(tail.len());
    clean.saturating_add(more)
}

/// Sets the high bit of the lowest byte that is zero, and of none if none is.
const fn zero(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escaped(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        string(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn strings_are_what_serde_json_writes(text in any::<String>()) {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn dense_escapes_are_what_serde_json_writes(text in "[\\x00-\\x30\"\\\\\\x7f-\u{ff}]{0,40}") {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn base64_is_the_standard_one(bytes in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            base64(&bytes, &mut out);
            prop_assert_eq!(out, format!("\"{}\"", STANDARD.encode(&bytes)).into_bytes());
        }
    }
}
