//! Reading one response from a connection piece by piece: small fields through a small buffer, record
//! sets straight into buffers of their own.
//!
//! Nothing is allocated by what a length claims before it is checked against what is left of the
//! frame, and the frame against the limit. A read that brings nothing for the idle time-out ends the
//! connection; a slow but steady one does not.
//!
//! Inside a response the task sleeps until a good part of it has come, not until anything has: what
//! is left of the frame will come, so nobody waits for bytes that do not. Between responses the
//! stream wakes for a single byte.

use std::{io, time::Duration};

use bytes::{BufMut, Bytes};
use kafka_direct_core::BufferPool;
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::transport::TransportStream;

/// Large enough for the fields of some dozen partitions, small enough that a record set is mostly
/// read where it stays.
const BUFFER_BYTES: usize = 4 << 10;
/// How much wakes a reader of a response that has as much left, a power of two. With less it costs
/// more CPU time, with more no less; see docs/adr/0014-low-water-mark.md.
const WAKE_BYTES: usize = 2 << 20;
/// What has come is taken after this, however little: a slow link's batches are not kept waiting, and
/// the budget that they hold is not taken for one that nobody gives back.
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

/// Reads inside one frame, never past its end.
#[derive(Debug)]
pub(super) struct FrameReader<'a, S: ?Sized> {
    stream: &'a mut S,
    buffer: &'a mut Vec<u8>,
    at: usize,
    /// Bytes of the frame that are not in the buffer yet.
    unread: usize,
    idle: Duration,
    /// How many bytes wake a reader of the stream now; 1 when the frame is opened and closed.
    wakes_at: usize,
    /// Nothing is waited for together any more: the response comes slowly, or not at all.
    is_slow: bool,
}

impl<'a, S: TransportStream + ?Sized> FrameReader<'a, S> {
    /// Waits for a response and reads its size. `buffer` is scratch space kept between responses.
    pub(super) async fn open(
        stream: &'a mut S,
        buffer: &'a mut Vec<u8>,
        limit: usize,
        idle: Duration,
    ) -> Result<Self, FrameError> {
        buffer.clear();
        buffer.reserve(BUFFER_BYTES);
        let mut frame =
            Self { stream, buffer, at: 0, unread: 4, idle, wakes_at: 1, is_slow: false };
        let size = frame.i32().await?;
        let bytes = usize::try_from(size).map_err(|_| FrameError::Malformed("negative size"))?;
        if bytes > limit {
            return Err(FrameError::TooLarge { bytes, limit });
        }
        frame.unread = bytes;
        Ok(frame)
    }

    /// Bytes of the frame not consumed yet.
    pub(super) fn left(&self) -> usize {
        self.buffered().saturating_add(self.unread)
    }

    fn buffered(&self) -> usize {
        self.buffer.len().saturating_sub(self.at)
    }

    /// Makes `count` bytes available at once; `count` is at most the buffer's size.
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
        Err(FrameError::Malformed("a varint does not end"))
    }

    /// A length or count: `None` for null. Compact forms count from one.
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

    /// A string's length: two bytes in the older form.
    pub(super) async fn string_length(&mut self, flexible: bool) -> Result<usize, FrameError> {
        if flexible {
            return Ok(self.length(true).await?.unwrap_or(0));
        }
        let length = self.i16().await?;
        let length =
            usize::try_from(length).map_err(|_| FrameError::Malformed("a length is negative"))?;
        Ok(self.check(Some(length))?.unwrap_or(0))
    }

    /// A count can never exceed the bytes that are left: each element takes at least one.
    fn check(&self, length: Option<usize>) -> Result<Option<usize>, FrameError> {
        if length.is_some_and(|length| length > self.left()) {
            return Err(FrameError::Malformed("a length exceeds the response"));
        }
        Ok(length)
    }

    /// The next `length` bytes in a buffer of their own.
    pub(super) async fn bytes(&mut self, length: usize) -> Result<Vec<u8>, FrameError> {
        self.check(Some(length))?;
        self.read_into(Vec::with_capacity(length), length).await
    }

    /// The next `length` bytes in a buffer of their own, which is one of `pool`'s.
    pub(super) async fn record_set(
        &mut self,
        length: usize,
        pool: &BufferPool,
    ) -> Result<Bytes, FrameError> {
        self.check(Some(length))?;
        let own = self.read_into(pool.take(length), length).await?;
        Ok(pool.lend(own, length))
    }

    /// Reads `length` bytes, for which `own` has room.
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
    /// If what the stream was asked to wake at does not come for a while, this takes what has, as
    /// will all reads of the frame that follow: a stream that is slow is not silent.
    async fn read_some(&mut self, into: &mut (impl BufMut + Send)) -> Result<(), io::Error> {
        // Ahead of the read, though it may not have to wait: asked of a socket that was just read
        // empty, it had the broker pause for milliseconds in each response.
        let wanted = self.worth_waking_for();
        match self.set_receive_low_watermark(wanted) {
            Err(error) if wanted < self.wakes_at => return Err(error),
            // Not raised: the task is woken more often, and that is all.
            _ => {}
        }
        let sleep = LONGEST_SLEEP.min(self.idle / 2);
        let in_time = timeout(sleep, self.stream.read_buf(&mut *into)).await;
        let got = if let Ok(got) = in_time {
            got?
        } else {
            self.is_slow |= self.wakes_at > 1;
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

    /// A power of two, so that the end of a response of many small parts asks for less a few times
    /// and not with each of them.
    fn worth_waking_for(&self) -> usize {
        if self.is_slow || self.unread <= BUFFER_BYTES {
            return 1;
        }
        WAKE_BYTES.min(1 << self.unread.ilog2())
    }

    fn set_receive_low_watermark(&mut self, bytes: usize) -> Result<(), io::Error> {
        if bytes != self.wakes_at {
            self.stream.set_receive_low_watermark(bytes)?;
            self.wakes_at = bytes;
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

    /// Steps over the tagged fields that end every structure of a flexible version.
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

    /// Nothing may be left: the next response must start on its first byte.
    pub(super) fn close(mut self) -> Result<(), FrameError> {
        if self.left() > 0 {
            return Err(FrameError::Malformed("bytes are left behind the response"));
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
    async fn a_count_beyond_the_frame_is_refused() {
        let mut buffer = Vec::new();
        let mut stream = join(&[0, 0, 0, 6, 0x7f, 0xff, 0xff, 0xff, 0, 0][..], sink());
        let mut frame = open(&mut stream, &mut buffer).await.unwrap();
        assert!(frame.length(false).await.is_err());
    }

    #[tokio::test]
    async fn a_varint_that_never_ends_is_refused() {
        let mut buffer = Vec::new();
        let mut stream = join(&[0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], sink());
        let mut frame = open(&mut stream, &mut buffer).await.unwrap();
        assert!(frame.unsigned_varint().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_broker_ends_in_a_time_out() {
        let (mut near, _far) = tokio::io::duplex(64);
        let mut buffer = Vec::new();
        let error = FrameReader::open(&mut near, &mut buffer, 100, IDLE).await.unwrap_err();
        assert!(error.to_string().contains("1000 ms"), "{error}");
    }
}
