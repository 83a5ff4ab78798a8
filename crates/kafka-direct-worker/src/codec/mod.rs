//! Bounded decompression of the records of one Kafka batch.
//!
//! Every codec decodes a whole slice into the arena. It compares a claimed length with the bound
//! before it allocates memory, so a decompression bomb ends at the bound. Contexts that are
//! expensive to create are kept per thread, not per partition.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::ops::Range;

use kafka_direct_core::Codec;

use crate::arena::Arena;

/// Why a batch could not be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodecFault {
    /// The output exceeds the bound.
    TooLarge,
    /// The bytes are not valid in the codec's format; the text names the fault.
    Broken(&'static str),
}

const CUT: CodecFault = CodecFault::Broken("the compressed bytes end early");

/// The output of a codec: the end of the arena, up to a bound.
struct Output<'a> {
    arena: &'a mut Arena,
    start: usize,
    limit: usize,
}

impl Output<'_> {
    /// How many bytes have been written.
    const fn written(&self) -> usize {
        self.arena.len() - self.start
    }

    /// How many bytes may still be written.
    const fn left(&self) -> usize {
        self.limit.saturating_sub(self.written())
    }

    /// Space for exactly `bytes`, or [`CodecFault::TooLarge`] if they exceed the bound.
    fn room(&mut self, bytes: usize) -> Result<&mut [u8], CodecFault> {
        if bytes > self.left() {
            return Err(CodecFault::TooLarge);
        }
        Ok(self.arena.room(bytes))
    }
}

/// The codec's name in error messages.
pub(crate) const fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::None => "uncompressed data",
        Codec::Gzip => "gzip",
        Codec::Snappy => "snappy",
        Codec::Lz4 => "lz4",
        Codec::Zstd => "zstd",
    }
}

/// Appends the decompressed `source`, at most `limit` bytes, to the arena and returns its range
/// there. An error leaves the arena's content unchanged.
pub(crate) fn decompress(
    codec: Codec,
    source: &[u8],
    arena: &mut Arena,
    limit: usize,
) -> Result<Range<usize>, CodecFault> {
    let start = arena.len();
    let mut out = Output { arena: &mut *arena, start, limit };
    let done = match codec {
        Codec::None => stored(source, &mut out),
        Codec::Gzip => gzip::decompress(source, &mut out),
        Codec::Snappy => snappy::decompress(source, &mut out),
        Codec::Lz4 => lz4::decompress(source, &mut out),
        Codec::Zstd => zstd::decompress(source, &mut out),
    };
    if let Err(fault) = done {
        arena.truncate(start);
        return Err(fault);
    }
    Ok(start..arena.len())
}

/// Appends bytes that are not compressed.
fn stored(bytes: &[u8], out: &mut Output<'_>) -> Result<(), CodecFault> {
    out.room(bytes.len())?.copy_from_slice(bytes);
    out.arena.commit(bytes.len());
    Ok(())
}

/// Splits the first `N` bytes off `source`.
fn take<const N: usize>(source: &mut &[u8]) -> Result<[u8; N], CodecFault> {
    let (first, rest) = source.split_first_chunk::<N>().ok_or(CUT)?;
    *source = rest;
    Ok(*first)
}

/// Splits the first `length` bytes off `source`.
fn take_slice<'a>(source: &mut &'a [u8], length: usize) -> Result<&'a [u8], CodecFault> {
    let (first, rest) = source.split_at_checked(length).ok_or(CUT)?;
    *source = rest;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    /// Decompresses after bytes that are already in the arena, as for later batches.
    pub(super) fn run(codec: Codec, source: &[u8], limit: usize) -> Result<Vec<u8>, CodecFault> {
        let mut arena = Arena::default();
        arena.room(5).copy_from_slice(b"first");
        arena.commit(5);
        let range = decompress(codec, source, &mut arena, limit);
        assert_eq!(arena.get(0..5), b"first");
        if range.is_err() {
            assert_eq!(arena.len(), 5);
        }
        range.map(|range| arena.get(range).to_vec())
    }

    #[test]
    fn uncompressed_bytes_are_bounded_too() {
        assert_eq!(run(Codec::None, b"abc", 3).unwrap(), b"abc");
        assert_eq!(run(Codec::None, b"abc", 2), Err(CodecFault::TooLarge));
    }

    #[test]
    fn every_cut_of_a_compressed_batch_is_an_error_or_shorter() {
        let plain: Vec<u8> = (0..500u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let xerial = snappy::tests::xerial(&plain, 300);
        for (codec, whole) in [
            (Codec::Gzip, gzip::tests::gzip(&plain)),
            (Codec::Snappy, xerial),
            (Codec::Snappy, snap::raw::Encoder::new().compress_vec(&plain).unwrap()),
            (Codec::Lz4, lz4::tests::frame(&plain, 0x60, 4)),
            (Codec::Zstd, ::zstd::bulk::compress(&plain, 3).unwrap()),
        ] {
            assert_eq!(run(codec, &whole, LIMIT).unwrap(), plain, "{codec:?}");
            for cut in 0..whole.len() {
                match run(codec, &whole[..cut], LIMIT) {
                    Ok(short) => assert!(short.len() < plain.len(), "{codec:?} cut at {cut}"),
                    Err(fault) => assert_ne!(fault, CodecFault::TooLarge, "{codec:?} at {cut}"),
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_nor_exceed_the_bound(
            mut source in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            magic in 0usize..5,
            codec in 0usize..4,
        ) {
            let magics: [&[u8]; 5] = [
                b"", b"\x1f\x8b\x08\0", b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01",
                &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0], &[0x28, 0xb5, 0x2f, 0xfd],
            ];
            source.splice(..0, magics[magic].iter().copied());
            let codecs = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
            if let Ok(out) = run(codecs[codec], &source, 10_000) {
                proptest::prop_assert!(out.len() <= 10_000);
            }
        }
    }
}
