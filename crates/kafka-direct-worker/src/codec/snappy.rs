//! Snappy: decodes the xerial framing, which Java and most clients write, and the single raw block
//! that librdkafka writes.
//!
//! A xerial stream is a 16-byte header (magic, version, compatible version), followed by blocks
//! with big-endian lengths. Several streams may follow each other.

use super::{CodecFault, Output, take, take_slice};

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;

pub(super) fn decompress(mut source: &[u8], out: &mut Output<'_>) -> Result<(), CodecFault> {
    if !source.starts_with(XERIAL_MAGIC) {
        return block(source, out);
    }
    while !source.is_empty() {
        if source.starts_with(XERIAL_MAGIC) {
            take_slice(&mut source, XERIAL_HEADER_BYTES)?;
            continue;
        }
        let length = u32::from_be_bytes(take(&mut source)?);
        block(take_slice(&mut source, length as usize)?, out)?;
    }
    Ok(())
}

fn block(source: &[u8], out: &mut Output<'_>) -> Result<(), CodecFault> {
    let broken = |_| CodecFault::Broken("a block is not decodable");
    let length = snap::raw::decompress_len(source).map_err(broken)?;
    let room = out.room(length)?;
    let written = snap::raw::Decoder::new().decompress(source, room).map_err(broken)?;
    out.arena.commit(written);
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use kafka_direct_core::Codec;

    use super::{super::tests::run, *};

    pub(in crate::codec) fn xerial(plain: &[u8], block: usize) -> Vec<u8> {
        let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        for part in plain.chunks(block) {
            let packed = snap::raw::Encoder::new().compress_vec(part).unwrap();
            out.extend(u32::try_from(packed.len()).unwrap().to_be_bytes());
            out.extend(packed);
        }
        out
    }

    #[test]
    fn framed_and_raw_blocks_are_both_decoded() {
        let plain = b"snappy snappy snappy snappy".repeat(50);
        let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        assert_eq!(run(Codec::Snappy, &raw, plain.len()).unwrap(), plain);
        let mut framed = xerial(&plain, 100);
        framed.extend(xerial(b"again", 100));
        let whole = [&plain[..], b"again"].concat();
        assert_eq!(run(Codec::Snappy, &framed, whole.len()).unwrap(), whole);
        assert_eq!(run(Codec::Snappy, &framed, whole.len() - 1), Err(CodecFault::TooLarge));
    }

    #[test]
    fn a_claimed_length_above_the_bound_allocates_no_memory() {
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        assert_eq!(run(Codec::Snappy, &claim, 1000), Err(CodecFault::TooLarge));
        let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).unwrap();
        assert_eq!(run(Codec::Snappy, &bomb, (1 << 20) - 1), Err(CodecFault::TooLarge));
    }
}
