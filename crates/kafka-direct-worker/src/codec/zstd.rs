//! Zstandard: decodes each frame in one call, with a context that is kept per thread.
//!
//! Most writers stream and omit the content size. The block headers still bound the output: a
//! compressed block decodes to at most 128 KiB, and other blocks state their size. A walk over them
//! computes the space to reserve, so nothing is decoded twice.
//!
//! Source: RFC 8878.

use std::cell::RefCell;

use ::zstd::zstd_safe::{DCtx, get_error_name};

use super::{CodecFault, Output, take, take_slice};

const MAGIC: u32 = 0xfd2f_b528;
/// The low four bits of a skippable frame's magic are free.
const SKIPPABLE: u32 = 0x184d_2a50;
const MAX_BLOCK_BYTES: usize = 128 << 10;

thread_local! {
    static CONTEXT: RefCell<Option<DCtx<'static>>> = RefCell::new(DCtx::try_create());
}

pub(super) fn decompress(mut source: &[u8], out: &mut Output<'_>) -> Result<(), CodecFault> {
    while !source.is_empty() {
        let whole = source;
        match u32::from_le_bytes(take(&mut source)?) {
            MAGIC => {
                let most = output_bound(&mut source)?;
                let length = whole.len() - source.len();
                decode(whole.get(..length).unwrap_or_default(), most, out)?;
            }
            magic if magic & !0xf == SKIPPABLE => {
                let length = u32::from_le_bytes(take(&mut source)?);
                take_slice(&mut source, length as usize)?;
            }
            _ => return Err(CodecFault::Broken("a frame magic is missing")),
        }
    }
    Ok(())
}

/// Walks the frame after its magic and returns the most bytes that it can decompress to.
fn output_bound(source: &mut &[u8]) -> Result<usize, CodecFault> {
    let [descriptor] = take(source)?;
    let single_segment = descriptor & 0x20 != 0;
    let window = usize::from(!single_segment);
    let dictionary = [0, 1, 2, 4].into_iter().nth(usize::from(descriptor & 3)).unwrap_or(0);
    take_slice(source, window + dictionary)?;
    let claimed = match (descriptor >> 6, single_segment) {
        (0, false) => None,
        (0, true) => Some(u64::from(u8::from_le_bytes(take(source)?))),
        (1, _) => Some(u64::from(u16::from_le_bytes(take(source)?)) + 256),
        (2, _) => Some(u64::from(u32::from_le_bytes(take(source)?))),
        _ => Some(u64::from_le_bytes(take(source)?)),
    };
    let mut bound = 0usize;
    loop {
        let [a, b, c] = take(source)?;
        let header = u32::from_le_bytes([a, b, c, 0]);
        let size = (header >> 3) as usize;
        let (stored, plain) = match (header >> 1) & 3 {
            0 => (size, size),
            1 => (1, size),
            2 => (size, MAX_BLOCK_BYTES),
            _ => return Err(CodecFault::Broken("a block has a reserved type")),
        };
        take_slice(source, stored)?;
        bound = bound.saturating_add(plain);
        if header & 1 != 0 {
            break;
        }
    }
    if descriptor & 4 != 0 {
        let [_, _, _, _] = take(source)?;
    }
    // A claimed size above the bound is wrong, and the decoder then fails.
    Ok(claimed.and_then(|claimed| usize::try_from(claimed).ok()).map_or(bound, |c| c.min(bound)))
}

fn decode(frame: &[u8], most: usize, out: &mut Output<'_>) -> Result<(), CodecFault> {
    let left = out.left();
    let space = out.arena.room(most.min(left));
    let decoded = CONTEXT.with_borrow_mut(|context| {
        let context = context.as_mut().ok_or(CodecFault::Broken("no memory for a decoder"))?;
        Ok(context.decompress(space, frame))
    })?;
    match decoded {
        Ok(length) => {
            out.arena.commit(length);
            Ok(())
        }
        Err(code) if most > left && get_error_name(code).contains("too small") => {
            Err(CodecFault::TooLarge)
        }
        Err(_) => Err(CodecFault::Broken("a frame is not decodable")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use kafka_direct_core::Codec;

    use super::{super::tests::run, *};

    /// A frame as Java writes it: streamed, without a content size.
    fn streamed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        for part in plain.chunks(1000) {
            encoder.write_all(part).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|i| b'a' + u8::try_from(i * i / 1000 % 23).unwrap()).collect()
    }

    #[test]
    fn frames_with_and_without_a_content_size_follow_each_other() {
        for length in [0, 1, 200, 70_000, 1_000_000] {
            let plain = text(length);
            let sized = ::zstd::bulk::compress(&plain, 1).unwrap();
            let source = [streamed(&plain), sized].concat();
            let out = run(Codec::Zstd, &source, 2 * length).unwrap();
            assert!(out == [&plain[..], &plain].concat(), "{length}");
            if length > 0 {
                assert_eq!(run(Codec::Zstd, &source, 2 * length - 1), Err(CodecFault::TooLarge));
            }
        }
    }

    #[test]
    fn a_wrong_content_size_is_an_error_and_allocates_no_memory() {
        let mut source = ::zstd::bulk::compress(&text(100_000), 1).unwrap();
        // Single segment, four bytes of content size.
        assert_eq!(source[4] & 0xe0, 0xa0);
        source[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(run(Codec::Zstd, &source, 1 << 30), Err(CodecFault::Broken(_))));
    }

    #[test]
    fn a_bomb_ends_at_the_bound_with_and_without_a_content_size() {
        let plain = vec![0; 16 << 20];
        for source in [streamed(&plain), ::zstd::bulk::compress(&plain, 3).unwrap()] {
            assert!(source.len() < 10_000);
            assert_eq!(run(Codec::Zstd, &source, 1 << 20), Err(CodecFault::TooLarge));
        }
    }

    #[test]
    fn skippable_frames_are_skipped() {
        let mut source = vec![0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        source.extend(streamed(b"x"));
        assert_eq!(run(Codec::Zstd, &source, 1).unwrap(), b"x");
    }
}
