//! Reads and writes frames: a size prefix of four bytes, then that many bytes.
//!
//! The size is checked before any memory is reserved for it.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of the size prefix.
pub(crate) const PREFIX_BYTES: usize = 4;
/// Maximum number of bytes reserved ahead of the received bytes.
const STEP_BYTES: usize = 1024 * 1024;

/// Reads frames; a partly received frame is kept between calls.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    from: R,
    buffer: BytesMut,
    max_bytes: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(from: R, max_bytes: usize) -> Self {
        Self { from, buffer: BytesMut::new(), max_bytes }
    }

    /// Reads the next frame, without its size prefix; `None` once the peer closed the connection.
    ///
    /// # Cancel safety
    /// Cancel safe: received bytes are kept for the next call.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let wanted = self.wanted()?;
            if wanted.is_some_and(|size| self.buffer.len() >= PREFIX_BYTES + size) {
                let frame = self.buffer.split_to(PREFIX_BYTES + wanted.unwrap_or(0)).freeze();
                return Ok(Some(frame.slice(PREFIX_BYTES..)));
            }
            let missing = (PREFIX_BYTES + wanted.unwrap_or(0)).saturating_sub(self.buffer.len());
            self.buffer.reserve(missing.clamp(4096, STEP_BYTES));
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                let cut = !self.buffer.is_empty();
                return if cut { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
            }
        }
    }

    /// The size of the frame being received; `None` until its prefix is complete.
    fn wanted(&self) -> io::Result<Option<usize>> {
        let Some(prefix) = self.buffer.first_chunk() else { return Ok(None) };
        let size = usize::try_from(i32::from_be_bytes(*prefix)).ok();
        let size = size.filter(|size| *size <= self.max_bytes);
        size.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Writes a frame that consists of `parts`, with its size prefix.
pub(crate) async fn write<W: AsyncWrite + Unpin>(to: &mut W, parts: &[Bytes]) -> io::Result<()> {
    let size: usize = parts.iter().map(Bytes::len).sum();
    let size = i32::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let (first, rest) = parts.split_first().map_or((&[][..], parts), |(f, r)| (&f[..], r));
    // The size is written with the first part, to avoid a packet of four bytes.
    let mut head = Vec::with_capacity(PREFIX_BYTES + first.len());
    head.extend(size.to_be_bytes());
    head.extend_from_slice(first);
    to.write_all(&head).await?;
    for part in rest {
        to.write_all(part).await?;
    }
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_round_trip_one_by_one() {
        let mut wire = Vec::new();
        write(&mut wire, &[Bytes::from_static(b"one")]).await.unwrap();
        write(&mut wire, &[Bytes::from_static(b"t"), Bytes::from_static(b"wo")]).await.unwrap();
        let mut reader = FrameReader::new(wire.as_slice(), 10);
        assert_eq!(reader.read().await.unwrap().unwrap(), "one");
        assert_eq!(reader.read().await.unwrap().unwrap(), "two");
        assert_eq!(reader.read().await.unwrap(), None);
    }

    #[tokio::test]
    async fn sizes_that_are_negative_or_too_large_are_refused_before_the_bytes_arrive() {
        for size in [-1, i32::MIN, 11, i32::MAX] {
            let wire = size.to_be_bytes();
            let error = FrameReader::new(wire.as_slice(), 10).read().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{size}");
        }
    }

    #[tokio::test]
    async fn a_frame_that_ends_early_is_an_error() {
        let mut reader = FrameReader::new(&[0, 0, 0, 5, 1][..], 10);
        assert_eq!(reader.read().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
