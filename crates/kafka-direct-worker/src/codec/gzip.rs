//! gzip: decodes one or more members with an inflate state that is kept per thread.
//!
//! This module reads the header itself, so that it can reset the state (about 40 KiB) instead of
//! creating one for every batch. The length at the end of a member is only a first estimate of the
//! output's size.
//!
//! Source: RFC 1952.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

use super::{CUT, CodecFault, Output, take, take_slice};

/// The shortest member: a header of 10 bytes, an empty deflate stream, and 8 bytes at the end.
const MIN_MEMBER_BYTES: usize = 19;
const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
/// Extra output space: inflate is fastest if some space follows the last byte.
const SLACK_BYTES: usize = 512;

thread_local! {
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

pub(super) fn decompress(mut source: &[u8], out: &mut Output<'_>) -> Result<(), CodecFault> {
    let mut is_first = true;
    while !source.is_empty() {
        // Too short for a header, a stream and a trailer: Java does not look at so few bytes.
        if !is_first && source.len() < MIN_MEMBER_BYTES {
            return Ok(());
        }
        match header(&mut source) {
            Ok(()) => is_first = false,
            // As Java's GZIPInputStream: bytes after a member that do not begin another are ignored.
            Err(_) if !is_first => return Ok(()),
            Err(fault) => return Err(fault),
        }
        let start = out.arena.len();
        INFLATE.with_borrow_mut(|state| inflate(state, &mut source, out))?;
        let [c0, c1, c2, c3, s0, s1, s2, s3] = take(&mut source)?;
        let plain = out.arena.get(start..out.arena.len());
        let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        if size != (plain.len() as u64 & u64::from(u32::MAX)) {
            return Err(CodecFault::Broken("a member's length does not match its content"));
        }
        if u32::from_le_bytes([c0, c1, c2, c3]) != crc_fast::crc32_iso_hdlc(plain) {
            return Err(CodecFault::Broken("a member's CRC does not match its content"));
        }
    }
    Ok(())
}

fn header(source: &mut &[u8]) -> Result<(), CodecFault> {
    let [0x1f, 0x8b, 8, flags, _, _, _, _, _, _] = take(source)? else {
        return Err(CodecFault::Broken("a member header is missing"));
    };
    if flags & FEXTRA != 0 {
        let length = u16::from_le_bytes(take(source)?);
        take_slice(source, usize::from(length))?;
    }
    for text in [FNAME, FCOMMENT] {
        if flags & text != 0 {
            let end = source.iter().position(|byte| *byte == 0).ok_or(CUT)?;
            take_slice(source, end + 1)?;
        }
    }
    if flags & FHCRC != 0 {
        let [_, _] = take(source)?;
    }
    Ok(())
}

/// Inflates one deflate stream and removes it from the front of `source`.
fn inflate(
    state: &mut Decompress,
    source: &mut &[u8],
    out: &mut Output<'_>,
) -> Result<(), CodecFault> {
    state.reset(false);
    let claimed = source.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    // Deflate compresses at most 1032 to 1, which bounds the memory for a wrong length.
    let mut room = claimed.min(source.len().saturating_mul(1032));
    loop {
        let most = out.left();
        let space = out.arena.room(room.saturating_add(SLACK_BYTES).min(most));
        let given = space.len();
        let (read, written) = (state.total_in(), state.total_out());
        let status = state.decompress(source, space, FlushDecompress::None);
        let read = usize::try_from(state.total_in() - read).unwrap_or(usize::MAX);
        let written = usize::try_from(state.total_out() - written).unwrap_or(usize::MAX);
        out.arena.commit(written);
        take_slice(source, read)?;
        match status {
            Ok(Status::StreamEnd) => return Ok(()),
            Ok(Status::Ok | Status::BufError) if written == given && given < most => {
                room = out.written();
            }
            Ok(Status::Ok | Status::BufError) if written == given => {
                return Err(CodecFault::TooLarge);
            }
            Ok(Status::Ok | Status::BufError) => return Err(CUT),
            Err(_) => return Err(CodecFault::Broken("not a deflate stream")),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use flate2::{Compression, GzBuilder, write::GzEncoder};
    use kafka_direct_core::Codec;

    use super::{super::tests::run, *};

    pub(in crate::codec) fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_follow_each_other() {
        let source = [gzip(b"one"), gzip(b""), gzip(&[7; 100_000])].concat();
        let plain = [b"one".as_slice(), &[7; 100_000]].concat();
        assert_eq!(run(Codec::Gzip, &source, plain.len()).unwrap(), plain);
        assert_eq!(run(Codec::Gzip, &source, plain.len() - 1), Err(CodecFault::TooLarge));
    }

    #[test]
    fn bytes_after_a_member_that_begin_no_other_are_ignored_as_in_java() {
        for rest in [
            &b"\0"[..],
            b"\x1f\x8b",
            b"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0",
            b"trailing bytes that are long enough",
            &[0; 600],
        ] {
            let source = [&gzip(b"one"), rest].concat();
            assert_eq!(run(Codec::Gzip, &source, 100).unwrap(), b"one");
            assert!(run(Codec::Gzip, rest, 100).is_err(), "not without a member before");
        }
    }

    #[test]
    fn optional_header_fields_are_skipped() {
        let mut encoder = GzBuilder::new()
            .extra(vec![1, 2, 3])
            .filename("name")
            .comment("comment")
            .write(Vec::new(), Compression::fast());
        encoder.write_all(b"plain").unwrap();
        assert_eq!(run(Codec::Gzip, &encoder.finish().unwrap(), 5).unwrap(), b"plain");
    }

    #[test]
    fn a_wrong_length_is_an_error_whether_too_small_or_too_large() {
        let plain = vec![3; 50_000];
        for claim in [0u32, 49_999, 50_001, u32::MAX] {
            let mut source = gzip(&plain);
            let end = source.len();
            source[end - 4..].copy_from_slice(&claim.to_le_bytes());
            assert!(matches!(run(Codec::Gzip, &source, 1 << 20), Err(CodecFault::Broken(_))));
        }
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        let source = gzip(&vec![0; 8 << 20]);
        assert!(source.len() < 10_000);
        assert_eq!(run(Codec::Gzip, &source, 1 << 20), Err(CodecFault::TooLarge));
    }
}
