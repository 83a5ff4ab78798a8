//! LZ4: decodes frames block by block, because a block decoder is twice as fast as a frame reader.
//!
//! Kafka's own clients write independent blocks, which refer to no earlier block. The reference
//! library decodes those: it takes a quarter less time than `lz4_flex`. `lz4_flex` decodes linked
//! blocks, for which the binding of the reference library has no function. It also finds out why a
//! block is not decodable. No compressor writes a match at distance 0. The reference library reads
//! it as zeros, as does Kafka's Java client, which uses the same library.
//!
//! Blocks may be independent or linked, stored or compressed. Several frames may follow each other.
//! A frame that needs a dictionary is an error. The checksums of header, blocks and content are not
//! checked: the batch's CRC-32C covers the same bytes, and old Kafka clients wrote wrong header
//! checksums.
//!
//! Source: the LZ4 frame format description, version 1.6.

use lz4::block::decompress_to_buffer;
use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};

use super::{CodecFault, Output, stored, take, take_slice};

const MAGIC: u32 = 0x184d_2204;
/// The low four bits of a skippable frame's magic are free.
const SKIPPABLE: u32 = 0x184d_2a50;
/// How far back a linked block may refer, in bytes.
const WINDOW_BYTES: usize = 64 << 10;
const STORED: u32 = 1 << 31;

pub(super) fn decompress(mut source: &[u8], out: &mut Output<'_>) -> Result<(), CodecFault> {
    let mut is_first = true;
    while !source.is_empty() {
        match take(&mut source).map_or(0, u32::from_le_bytes) {
            MAGIC => {
                frame(&mut source, out)?;
                is_first = false;
            }
            magic if magic & !0xf == SKIPPABLE => {
                let length = u32::from_le_bytes(take(&mut source)?);
                take_slice(&mut source, length as usize)?;
            }
            // Kafka's Java client ignores every byte after a frame.
            _ if !is_first => return Ok(()),
            _ => return Err(CodecFault::Broken("a frame magic is missing")),
        }
    }
    Ok(())
}

/// The frame descriptor's flag byte.
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const fn known(self) -> bool {
        self.0 & 0xc2 == 0x40
    }
    const fn independent(self) -> bool {
        self.0 & 0x20 != 0
    }
    const fn block_checksum(self) -> bool {
        self.0 & 0x10 != 0
    }
    const fn content_size(self) -> bool {
        self.0 & 0x08 != 0
    }
    const fn content_checksum(self) -> bool {
        self.0 & 0x04 != 0
    }
    const fn dictionary(self) -> bool {
        self.0 & 0x01 != 0
    }
}

fn frame(source: &mut &[u8], out: &mut Output<'_>) -> Result<(), CodecFault> {
    let [flags, block_descriptor] = take(source)?;
    let flags = Flags(flags);
    if !flags.known() {
        return Err(CodecFault::Broken("a frame has an unknown version or flag"));
    }
    if flags.dictionary() {
        return Err(CodecFault::Broken("a frame needs a dictionary"));
    }
    let max_block = match (block_descriptor >> 4) & 7 {
        size @ 4..=7 => WINDOW_BYTES << (2 * (size - 4)),
        _ => return Err(CodecFault::Broken("a frame has an unknown block size")),
    };
    let claimed = if flags.content_size() { Some(u64::from_le_bytes(take(source)?)) } else { None };
    let [_header_checksum] = take(source)?;
    let start = out.arena.len();
    loop {
        let size = u32::from_le_bytes(take(source)?);
        if size == 0 {
            break;
        }
        let length = (size & !STORED) as usize;
        if length > max_block {
            return Err(CodecFault::Broken("a block exceeds the frame's block size"));
        }
        let block = take_slice(source, length)?;
        if size & STORED != 0 {
            stored(block, out)?;
        } else {
            let history = if flags.independent() { out.arena.len() } else { start };
            compressed(block, max_block, history, out)?;
        }
        if flags.block_checksum() {
            let [_, _, _, _] = take(source)?;
        }
    }
    if flags.content_checksum() {
        let [_, _, _, _] = take(source)?;
    }
    if claimed.is_some_and(|claimed| claimed != (out.arena.len() - start) as u64) {
        return Err(CodecFault::Broken("a frame's content size does not match its content"));
    }
    Ok(())
}

/// Decodes one block, which may refer to the bytes that were written from `history` on.
fn compressed(
    block: &[u8],
    max_block: usize,
    history: usize,
    out: &mut Output<'_>,
) -> Result<(), CodecFault> {
    let most = max_block.min(out.left());
    // Blocks may have up to 4 MiB and rarely do, so the space grows step by step.
    let mut room = block.len().saturating_mul(8).max(WINDOW_BYTES).min(most);
    loop {
        let (written, space) = out.arena.history_and_room(history, room);
        let decoded = if written.is_empty() {
            independent(block, space)
        } else {
            let from = written.len().saturating_sub(WINDOW_BYTES);
            decompress_into_with_dict(block, space, written.get(from..).unwrap_or_default())
        };
        match decoded {
            Ok(length) => {
                out.arena.commit(length);
                return Ok(());
            }
            Err(DecompressError::OutputTooSmall { .. }) if room < most => {
                room = room.saturating_mul(4).min(most);
            }
            Err(DecompressError::OutputTooSmall { .. }) if most < max_block => {
                return Err(CodecFault::TooLarge);
            }
            Err(_) => return Err(CodecFault::Broken("a block is not decodable")),
        }
    }
}

/// Decodes a block that refers to no earlier block.
fn independent(block: &[u8], space: &mut [u8]) -> Result<usize, DecompressError> {
    let size = i32::try_from(space.len()).ok();
    let decoded = size.and_then(|size| decompress_to_buffer(block, Some(size), space).ok());
    decoded.map_or_else(|| decompress_into(block, space), Ok)
}

#[cfg(test)]
pub(super) mod tests {
    use kafka_direct_core::Codec;

    use super::{super::tests::run, *};

    /// A frame with the given flags (checksums zero) and block size code; no content size.
    pub(in crate::codec) fn frame(plain: &[u8], flags: u8, block_size: u8) -> Vec<u8> {
        let mut out = MAGIC.to_le_bytes().to_vec();
        out.extend([flags, block_size << 4]);
        if flags & 0x08 != 0 {
            out.extend((plain.len() as u64).to_le_bytes());
        }
        out.push(0);
        let size = WINDOW_BYTES << (2 * (block_size - 4));
        for (index, part) in plain.chunks(size).enumerate() {
            let history = &plain[(index * size).saturating_sub(WINDOW_BYTES)..index * size];
            let block = if flags & 0x20 != 0 {
                lz4_flex::block::compress(part)
            } else {
                lz4_flex::block::compress_with_dict(part, history)
            };
            out.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            out.extend(block);
            if flags & 0x10 != 0 {
                out.extend([0; 4]);
            }
        }
        out.extend([0; 4]);
        if flags & 0x04 != 0 {
            out.extend([0; 4]);
        }
        out
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|i| b'a' + u8::try_from(i * i / 1000 % 23).unwrap()).collect()
    }

    #[test]
    fn bytes_after_a_frame_that_begin_no_other_are_ignored_as_in_java() {
        for rest in [&b"\0"[..], b"\x04\x22\x4d", b"trailing bytes that are long enough"] {
            let source = [&frame(b"one", 0x60, 4), rest].concat();
            assert_eq!(run(Codec::Lz4, &source, 100).unwrap(), b"one");
            assert!(run(Codec::Lz4, rest, 100).is_err(), "not without a frame before");
        }
    }

    #[test]
    fn every_combination_of_flags_is_decoded() {
        let plain = text(300_000);
        for flags in (0x40..=0x7cu8).step_by(4) {
            for block_size in 4..=7 {
                let source = frame(&plain, flags, block_size);
                let out = run(Codec::Lz4, &source, 300_000).unwrap();
                assert!(out == plain, "flags {flags:x} block size {block_size}");
            }
        }
    }

    #[test]
    fn frames_follow_each_other_and_skippable_ones_are_skipped() {
        let plain = text(1000);
        let mut source = frame(&plain, 0x60, 4);
        source.extend([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        source.extend(frame(&plain, 0x40, 4));
        assert_eq!(run(Codec::Lz4, &source, 2000).unwrap(), [&plain[..], &plain].concat());
        assert_eq!(run(Codec::Lz4, &source, 1999), Err(CodecFault::TooLarge));
    }

    #[test]
    fn stored_blocks_are_copied_and_bounded() {
        let mut source = MAGIC.to_le_bytes().to_vec();
        source.extend([0x60, 0x40, 0, 3, 0, 0, 0x80, 7, 8, 9, 0, 0, 0, 0]);
        assert_eq!(run(Codec::Lz4, &source, 3).unwrap(), [7, 8, 9]);
        assert_eq!(run(Codec::Lz4, &source, 2), Err(CodecFault::TooLarge));
    }

    #[test]
    fn dictionaries_unknown_versions_and_wrong_sizes_are_errors() {
        let plain = text(100);
        for flags in [0x61, 0x20, 0xe0, 0x62] {
            let mut source = frame(&plain, 0x60, 4);
            source[4] = flags;
            assert!(matches!(run(Codec::Lz4, &source, 1000), Err(CodecFault::Broken(_))));
        }
        let mut source = frame(&plain, 0x68, 4);
        source[6] = 99;
        assert!(matches!(run(Codec::Lz4, &source, 1000), Err(CodecFault::Broken(_))));
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        let source = frame(&vec![0; 4 << 20], 0x60, 7);
        assert!(source.len() < 20_000);
        assert_eq!(run(Codec::Lz4, &source, (4 << 20) - 1), Err(CodecFault::TooLarge));
        assert_eq!(run(Codec::Lz4, &source, 4 << 20).unwrap().len(), 4 << 20);
    }
}
