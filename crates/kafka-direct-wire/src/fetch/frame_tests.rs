//! Tests that a raised receive low watermark never blocks a reader forever. The streams of these
//! tests return nothing until the low watermark is reached.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use kafka_direct_core::BufferPool;
use proptest::prelude::*;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, Join, ReadBuf, Sink,
        duplex, join, sink,
    },
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

use super::frame::{FrameError, FrameReader};
use crate::transport::TransportStream;

const IDLE: Duration = Duration::from_secs(10);
/// The timeout of tests with real sockets, on the machine's clock.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A size in bytes above the highest low watermark.
const LARGE: usize = 5 << 20;

/// A stream that applies the low watermark exactly: below it, only the end of the stream wakes a
/// reader.
struct Strict {
    from: DuplexStream,
    arrived: Vec<u8>,
    /// The low watermark, in bytes.
    mark: usize,
    /// The highest low watermark so far.
    highest: usize,
    ended: bool,
    /// Whether a change of the low watermark is refused, by its old and new value.
    refuses: fn(usize, usize) -> bool,
}

/// A [`TransportStream`] that reads from `from` and discards writes.
fn strict(from: DuplexStream) -> Join<Strict, Sink> {
    let arrived = Vec::new();
    join(Strict { from, arrived, mark: 1, highest: 1, ended: false, refuses: |_, _| false }, sink())
}

impl TransportStream for Join<Strict, Sink> {
    fn set_receive_low_watermark(&mut self, bytes: usize) -> io::Result<()> {
        let strict = self.reader_mut();
        if (strict.refuses)(strict.mark, bytes) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        strict.mark = bytes;
        strict.highest = strict.highest.max(bytes);
        Ok(())
    }
}

impl AsyncRead for Strict {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.ended {
            let mut some = [0; 64 << 10];
            let mut buffer = ReadBuf::new(&mut some);
            match Pin::new(&mut self.from).poll_read(cx, &mut buffer)? {
                Poll::Ready(()) if buffer.filled().is_empty() => self.ended = true,
                Poll::Ready(()) => self.arrived.extend_from_slice(buffer.filled()),
                Poll::Pending => break,
            }
        }
        if self.arrived.len() < self.mark && !self.ended {
            return Poll::Pending;
        }
        let count = into.remaining().min(self.arrived.len());
        into.put_slice(&self.arrived[..count]);
        self.arrived.drain(..count);
        Poll::Ready(Ok(()))
    }
}

/// A frame of record sets with these sizes in bytes, each after its length field.
fn frame(sets: &[usize]) -> Vec<u8> {
    let size: usize = sets.iter().map(|bytes| bytes + 4).sum();
    let mut wire = i32::try_from(size).unwrap().to_be_bytes().to_vec();
    for (number, bytes) in sets.iter().enumerate() {
        wire.extend(i32::try_from(*bytes).unwrap().to_be_bytes());
        wire.resize(wire.len() + bytes, u8::try_from(number % 251).unwrap());
    }
    wire
}

/// Reads a frame in the way a response is read, and returns its record sets.
async fn read<S: TransportStream>(
    stream: &mut S,
    pool: &BufferPool,
) -> Result<Vec<Bytes>, FrameError> {
    let mut buffer = Vec::new();
    let mut frame = FrameReader::open(stream, &mut buffer, LARGE * 4, IDLE).await?;
    let mut sets = Vec::new();
    while frame.left() > 0 {
        let length = frame.length(false).await?.unwrap();
        sets.push(frame.record_set(length, pool).await?);
    }
    frame.close()?;
    Ok(sets)
}

fn block_on_paused<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two frames on one stream, in packets of any size. A wait for bytes that never arrive would
    /// advance the paused clock.
    #[test]
    fn a_reader_never_waits_longer_than_the_bytes_of_its_frame_take(
        frames in prop::collection::vec(
            prop::collection::vec(prop_oneof![3 => 1usize..9000, 1 => 1usize..LARGE / 2], 0..8), 2),
        packet in prop_oneof![1usize..100, 1000usize..100_000, Just(4 << 20)],
    ) {
        let total: usize = frames.iter().flatten().sum();
        let packet = packet.max(total / 5_000);
        block_on_paused(async {
            let (near, mut far) = duplex(LARGE * 4);
            let wire: Vec<u8> = frames.iter().flat_map(|sets| frame(sets)).collect();
            let writing = tokio::spawn(async move {
                for packet in wire.chunks(packet) {
                    far.write_all(packet).await.unwrap();
                    tokio::task::yield_now().await;
                }
                far // stays open, so that the end of the stream does not wake the reader
            });
            let (mut stream, pool, began) =
                (strict(near), BufferPool::new(1 << 20), Instant::now());
            for sets in &frames {
                let got = read(&mut stream, &pool).await.unwrap();
                let lengths: Vec<usize> = got.iter().map(Bytes::len).collect();
                assert_eq!(&lengths, sets);
                for (number, set) in got.iter().enumerate() {
                    assert!(set.iter().all(|byte| usize::from(*byte) == number));
                }
            }
            assert_eq!((stream.reader().mark, began.elapsed()), (1, Duration::ZERO));
            drop(writing.await.unwrap());
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_response_sets_a_low_watermark_of_megabytes_and_a_small_one_of_one_byte() {
    for (bytes, expected) in [(3000, 1), (1 << 20, 1 << 20), (LARGE, 2 << 20)] {
        let (near, mut far) = duplex(1000);
        let mut stream = strict(near);
        let writing = tokio::spawn(async move { far.write_all(&frame(&[bytes])).await });
        read(&mut stream, &BufferPool::new(1 << 20)).await.unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!(stream.reader().highest, expected, "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_slow_before_a_response_is_not_treated_as_slow_within_it() {
    let (near, mut far) = duplex(1000);
    let mut stream = strict(near);
    let writing = tokio::spawn(async move {
        sleep(IDLE / 2).await;
        far.write_all(&frame(&[LARGE])).await
    });
    read(&mut stream, &BufferPool::new(1 << 20)).await.unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(stream.reader().highest, 2 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_arrives_slowly_is_read_whole() {
    let (near, mut far) = duplex(LARGE);
    let writing = tokio::spawn(async move {
        for packet in frame(&[20_000]).chunks(1000) {
            sleep(IDLE * 2 / 5).await;
            far.write_all(packet).await.unwrap();
        }
        far
    });
    let got = read(&mut strict(near), &BufferPool::new(1 << 20)).await.unwrap();
    assert_eq!(got[0].len(), 20_000);
    drop(writing.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_to_raise_the_low_watermark_is_ignored_and_a_refusal_to_lower_it_is_an_error() {
    for (refuses, is_read) in
        [((|from, to| to > from) as fn(usize, usize) -> bool, true), (|from, to| to < from, false)]
    {
        let (near, mut far) = duplex(LARGE);
        let writing = tokio::spawn(async move {
            for packet in frame(&[20_000]).chunks(9000) {
                sleep(IDLE / 2).await;
                far.write_all(packet).await?;
            }
            Ok::<_, io::Error>(far)
        });
        let (mut stream, began) = (strict(near), Instant::now());
        stream.reader_mut().refuses = refuses;
        let got = read(&mut stream, &BufferPool::new(1 << 20)).await;
        assert_eq!(got.is_ok(), is_read, "{got:?}");
        assert!(began.elapsed() < IDLE * 2, "{:?}", began.elapsed());
        drop(stream);
        drop(writing.await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_stops_in_the_middle_times_out_after_the_idle_timeout() {
    let (near, mut far) = duplex(LARGE);
    far.write_all(&frame(&[20_000])[..10_000]).await.unwrap();
    let began = Instant::now();
    let error = read(&mut strict(near), &BufferPool::new(1 << 20)).await.unwrap_err();
    assert!(error.to_string().contains("10000 ms"), "{error}");
    assert!(began.elapsed() <= IDLE + Duration::from_millis(1100), "{:?}", began.elapsed());
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// Tests the socket alone, because a [`FrameReader`] also reads after a timeout.
#[tokio::test]
async fn a_socket_that_closes_or_fails_below_the_low_watermark_wakes_its_reader() {
    for fails in [false, true] {
        let (mut near, mut far) = tcp().await;
        near.set_receive_low_watermark(1 << 20).unwrap();
        let reading = tokio::spawn(async move { near.read_to_end(&mut Vec::new()).await });
        far.write_all(&[7; 5000]).await.unwrap();
        for _ in 0..1000 {
            tokio::task::yield_now().await; // until the reader waits
        }
        if fails {
            far.set_zero_linger().unwrap();
        }
        drop(far);
        let ended =
            timeout(TEST_TIMEOUT, reading).await.expect("the reader was not woken").unwrap();
        assert_eq!(ended.is_err(), fails, "{ended:?}");
    }
}

/// Runs only on systems that have a receive low watermark.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_socket_waits_below_its_low_watermark_and_wakes_when_it_is_lowered() {
    let (mut near, mut far) = tcp().await;
    if !crate::low_water::is_new_enough() {
        eprintln!("skipped: this system has no usable low watermark");
        return;
    }
    near.set_receive_low_watermark(1 << 20).unwrap();
    far.write_all(b"few").await.unwrap();
    let mut few = [0; 3];
    let early = timeout(Duration::from_millis(50), near.read_exact(&mut few)).await;
    assert!(early.is_err(), "woken for three bytes");
    near.set_receive_low_watermark(1).unwrap();
    timeout(TEST_TIMEOUT, near.read_exact(&mut few))
        .await
        .expect("the reader was not woken")
        .unwrap();
    assert_eq!(&few, b"few");
}
