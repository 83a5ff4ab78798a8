//! Reads one response from a connection in pieces: small fields through a small buffer, record sets
//! directly into their own buffers.
//!
//! A length field is checked against the rest of the frame before memory is allocated for it. The
//! frame's size is checked against a limit. A read that gets no byte for the idle timeout fails,
//! and the connection is closed. A slow but steady stream does not fail.
//!
//! Inside a response the task waits until many bytes have arrived, which saves wake-ups. It never
//! waits for bytes after the end of the frame. Between responses one byte wakes the task.

use std::{io, time::Duration};

use bytes::{BufMut, Bytes};
use kafka_direct_core::BufferPool;
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::transport::TransportStream;

/// The size of the field buffer. It has room for the fields of some dozen partitions. It is small,
/// so that most of a record set is read directly into its own buffer.
const BUFFER_BYTES: usize = 4 << 10;
/// The highest receive low watermark, a power of two. A lower one costs more CPU time, and a higher
/// one saves none; see docs/adr/0014-low-water-mark.md.
const MAX_LOW_WATERMARK_BYTES: usize = 2 << 20;
/// The longest wait for the low watermark. After it, the task takes any bytes that have arrived. So
/// the batches of a slow link are not delayed, and the budget they hold does not count as stalled.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// Why a response could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the response has {bytes} bytes, more than the {limit} allowed")]
    TooLarge { bytes: usize, limit: usize },
    #[error("{0}")]
    Malformed(&'static str),
}

/// Reads one frame and never reads past its end.
#[derive(Debug)]
pub(super) struct FrameReader<'a, S: ?Sized> {
    stream: &'a mut S,
    buffer: &'a mut Vec<u8>,
    at: usize,
    /// Bytes of the frame that were not read from the stream yet.
    unread: usize,
    idle: Duration,
    /// The stream's receive low watermark now, in bytes; 1 when the frame is opened and closed.
    low_watermark: usize,
    /// The low watermark was not reached in time. All later reads of the frame wait for one byte.
    is_slow: bool,
}

impl<'a, S: TransportStream + ?Sized> FrameReader<'a, S> {
    /// Waits for a response and reads its size. A size above `limit`, in bytes, is an
    /// error. `buffer` is scratch space that is reused between responses.
    pub(super) async fn open(
        stream: &'a mut S,
        buffer: &'a mut Vec<u8>,
        limit: usize,
        idle: Duration,
    ) -> Result<Self, FrameError> {
        buffer.clear();
        buffer.reserve(BUFFER_BYTES);
        let mut frame =
            Self { stream, buffer, at: 0, unread: 4, idle, low_watermark: 1, is_slow: false };
        let size = frame.i32().await?;
        let bytes =
            usize::try_from(size).map_err(|_| FrameError::Malformed("the size is negative"))?;
        if bytes > limit {
            return Err(FrameError::TooLarge { bytes, limit });
        }
        frame.unread = bytes;
        Ok(frame)
    }

    /// Bytes of the frame that were not consumed yet, buffered ones included.
    pub(super) fn left(&self) -> usize {
        self.buffered().saturating_add(self.unread)
    }

    fn buffered(&self) -> usize {
        self.buffer.len().saturating_sub(self.at)
    }

    /// Reads until the buffer holds `count` bytes; `count` must not exceed the buffer's size.
    async fn fill(&mut self, count: usize) -> Result<(), FrameError> {
        if self.buffered() >= count {
            return Ok(());
        }
        if self.left() < count {
            return Err(FrameError::Malformed("the response ends inside a field"));
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        while self.buffer.len() < count {
            let room = BUFFER_BYTES.saturating_sub(self.buffer.len()).min(self.unread);
            let mut buffer = std::mem::take(self.buffer);
            let got = self.read_some(&mut (&mut buffer).limit(room)).await;
            *self.buffer = buffer;
            got?;
        }
        Ok(())
    }

    async fn fixed<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        self.fill(N).await?;
        let bytes = self.buffer.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).copied();
        self.at = self.at.saturating_add(N);
        bytes.ok_or(FrameError::Malformed("the response ends inside a field"))
    }

    pub(super) async fn i16(&mut self) -> Result<i16, FrameError> {
        Ok(i16::from_be_bytes(self.fixed().await?))
    }

    pub(super) async fn i32(&mut self) -> Result<i32, FrameError> {
        Ok(i32::from_be_bytes(self.fixed().await?))
    }

    pub(super) async fn i64(&mut self) -> Result<i64, FrameError> {
        Ok(i64::from_be_bytes(self.fixed().await?))
    }

    pub(super) async fn uuid(&mut self) -> Result<[u8; 16], FrameError> {
        self.fixed().await
    }

    pub(super) async fn unsigned_varint(&mut self) -> Result<u32, FrameError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed::<1>().await?;
            value |= u32::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(FrameError::Malformed("a varint has more than 5 bytes"))
    }

    /// Reads a length or count; `None` for null. The flexible form stores the value plus one.
    pub(super) async fn length(&mut self, flexible: bool) -> Result<Option<usize>, FrameError> {
        let length = if flexible {
            let plus_one = self.unsigned_varint().await?;
            plus_one.checked_sub(1).map(|length| usize::try_from(length).unwrap_or(usize::MAX))
        } else {
            match self.i32().await? {
                -1 => None,
                length => Some(
                    usize::try_from(length)
                        .map_err(|_| FrameError::Malformed("a length is negative"))?,
                ),
            }
        };
        self.check(length)
    }

    /// Reads a string's length, in bytes. It has two bytes in versions that are not flexible.
    pub(super) async fn string_length(&mut self, flexible: bool) -> Result<usize, FrameError> {
        if flexible {
            return Ok(self.length(true).await?.unwrap_or(0));
        }
        let length = self.i16().await?;
        let length =
            usize::try_from(length).map_err(|_| FrameError::Malformed("a length is negative"))?;
        Ok(self.check(Some(length))?.unwrap_or(0))
    }

    /// Checks that a length or count does not exceed the bytes that are left in the frame. Each
    /// element takes at least one byte.
    fn check(&self, length: Option<usize>) -> Result<Option<usize>, FrameError> {
        if length.is_some_and(|length| length > self.left()) {
            return Err(FrameError::Malformed("a length exceeds the response"));
        }
        Ok(length)
    }

    /// Reads the next `length` bytes into a new buffer.
    pub(super) async fn bytes(&mut self, length: usize) -> Result<Vec<u8>, FrameError> {
        self.check(Some(length))?;
        self.read_into(Vec::with_capacity(length), length).await
    }

    /// Reads the next `length` bytes into a buffer of `pool`.
    pub(super) async fn record_set(
        &mut self,
        length: usize,
        pool: &BufferPool,
    ) -> Result<Bytes, FrameError> {
        self.check(Some(length))?;
        let own = self.read_into(pool.take(length), length).await?;
        Ok(pool.lend(own, length))
    }

    /// Reads `length` bytes into `own`, which has room for them.
    async fn read_into(&mut self, mut own: Vec<u8>, length: usize) -> Result<Vec<u8>, FrameError> {
        own.clear();
        let from_buffer = self.buffered().min(length);
        let until = self.at.saturating_add(from_buffer);
        own.extend_from_slice(self.buffer.get(self.at..until).unwrap_or_default());
        self.at = until;
        while own.len() < length {
            let room = length.saturating_sub(own.len());
            self.read_some(&mut (&mut own).limit(room)).await?;
        }
        Ok(own)
    }

    /// Reads at least one byte of the frame.
    ///
    /// If the low watermark is not reached within [`LONGEST_SLEEP`] or half the idle timeout,
    /// whichever is less, this takes the bytes that have arrived. All later reads of the frame then
    /// wait for one byte. So a slow stream does not time out.
    async fn read_some(&mut self, into: &mut (impl BufMut + Send)) -> Result<(), io::Error> {
        // Set before the read, although the read may not wait. Set on a socket that was just
        // emptied, it made the broker pause for milliseconds in each response.
        let wanted = self.choose_low_watermark();
        match self.set_receive_low_watermark(wanted) {
            Err(error) if wanted < self.low_watermark => return Err(error),
            // An error on raising it is ignored: the task only wakes more often.
            _ => {}
        }
        let sleep = LONGEST_SLEEP.min(self.idle / 2);
        let in_time = timeout(sleep, self.stream.read_buf(&mut *into)).await;
        let got = if let Ok(got) = in_time {
            got?
        } else {
            self.is_slow |= self.low_watermark > 1;
            self.set_receive_low_watermark(1)?;
            let late = timeout(self.idle.saturating_sub(sleep), self.stream.read_buf(into));
            late.await.map_err(|_| {
                let reason = format!("nothing arrived for {} ms", self.idle.as_millis());
                io::Error::new(io::ErrorKind::TimedOut, reason)
            })??
        };
        if got == 0 {
            let reason = "the broker closed the connection";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        self.unread = self.unread.saturating_sub(got);
        Ok(())
    }

    /// The low watermark for the next read, in bytes: a power of two up to the unread bytes. So the
    /// end of a response with many small parts lowers it only a few times, and not for each part.
    fn choose_low_watermark(&self) -> usize {
        if self.is_slow || self.unread <= BUFFER_BYTES {
            return 1;
        }
        MAX_LOW_WATERMARK_BYTES.min(1 << self.unread.ilog2())
    }

    fn set_receive_low_watermark(&mut self, bytes: usize) -> Result<(), io::Error> {
        if bytes != self.low_watermark {
            self.stream.set_receive_low_watermark(bytes)?;
            self.low_watermark = bytes;
        }
        Ok(())
    }

    pub(super) async fn skip(&mut self, count: usize) -> Result<(), FrameError> {
        self.check(Some(count))?;
        let mut left = count;
        while left > 0 {
            let step = left.min(BUFFER_BYTES);
            self.fill(step).await?;
            self.at = self.at.saturating_add(step);
            left = left.saturating_sub(step);
        }
        Ok(())
    }

    /// Skips the tagged fields that end every structure of a flexible version.
    pub(super) async fn skip_tags(&mut self, flexible: bool) -> Result<(), FrameError> {
        if !flexible {
            return Ok(());
        }
        let count = self.unsigned_varint().await?;
        for _ in 0..count {
            self.unsigned_varint().await?;
            let size = self.unsigned_varint().await?;
            self.skip(usize::try_from(size).unwrap_or(usize::MAX)).await?;
        }
        Ok(())
    }

    /// Checks that no bytes are left and resets the low watermark to 1. The next response must
    /// start at its first byte.
    pub(super) fn close(mut self) -> Result<(), FrameError> {
        if self.left() > 0 {
            return Err(FrameError::Malformed("bytes remain after the last field of the response"));
        }
        Ok(self.set_receive_low_watermark(1)?)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{Join, Sink, join, sink};

    use super::*;

    const IDLE: Duration = Duration::from_secs(1);

    type Bytes = Join<&'static [u8], Sink>;

    impl TransportStream for Bytes {}

    async fn open<'a>(
        stream: &'a mut Bytes,
        buffer: &'a mut Vec<u8>,
    ) -> Result<FrameReader<'a, Bytes>, FrameError> {
        FrameReader::open(stream, buffer, 1 << 20, IDLE).await
    }

    #[tokio::test]
    async fn a_frame_of_two_gigabytes_is_refused_before_a_byte_of_it_is_read() {
        let mut buffer = Vec::new();
        let mut stream = join(&[0x7f, 0xff, 0xff, 0xff][..], sink());
        let error = open(&mut stream, &mut buffer).await.unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { bytes: 0x7fff_ffff, .. }), "{error}");
        assert!(buffer.capacity() < 1 << 16);
    }

    #[tokio::test]
    async fn a_count_that_exceeds_the_frame_is_refused() {
        let mut buffer = Vec::new();
        let mut stream = join(&[0, 0, 0, 6, 0x7f, 0xff, 0xff, 0xff, 0, 0][..], sink());
        let mut frame = open(&mut stream, &mut buffer).await.unwrap();
        assert!(frame.length(false).await.is_err());
    }

    #[tokio::test]
    async fn a_varint_of_more_than_five_bytes_is_refused() {
        let mut buffer = Vec::new();
        let mut stream = join(&[0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], sink());
        let mut frame = open(&mut stream, &mut buffer).await.unwrap();
        assert!(frame.unsigned_varint().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_broker_causes_a_timeout() {
        let (mut near, _far) = tokio::io::duplex(64);
        let mut buffer = Vec::new();
        let error = FrameReader::open(&mut near, &mut buffer, 100, IDLE).await.unwrap_err();
        assert!(error.to_string().contains("1000 ms"), "{error}");
    }
}
