//! The seam for the network: how a connection to a broker comes to be.
//!
//! Contract: [`Transport::connect`] gives a stream on which the caller alone reads and writes.
//! Encryption, fault injection and the in-memory simulation each are a transport.

use std::{fmt::Debug, future::Future, io, pin::Pin};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpStream, lookup_host},
};

use crate::low_water;

/// A connected byte stream, as any transport gives it.
///
/// One that has nothing to say about waking is a stream by `impl TransportStream for Mine {}`; one of another
/// crate by a type of yours around it.
pub trait TransportStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Asks that a task that waits to read sleep until `bytes` bytes can be read, or the stream
    /// ends or fails; 1 is how every stream begins. Fewer bytes may wake it nevertheless.
    ///
    /// Whoever raises it lowers it again before it waits for fewer bytes, and does not rely on it
    /// where nothing is known of what will come. A call takes effect also while bytes are there
    /// that nobody has read.
    ///
    /// Does nothing by default: right for every stream, and the most that one can do that holds
    /// bytes back itself, as encryption does.
    ///
    /// # Errors
    /// The stream sleeps as it did before.
    fn set_receive_low_watermark(&mut self, bytes: usize) -> io::Result<()> {
        let _ = bytes;
        Ok(())
    }
}

impl<S: TransportStream + ?Sized> TransportStream for Box<S> {
    fn set_receive_low_watermark(&mut self, bytes: usize) -> io::Result<()> {
        (**self).set_receive_low_watermark(bytes)
    }
}

impl TransportStream for DuplexStream {}

impl TransportStream for TcpStream {
    /// Sets the low-water mark of the socket, where the system has a usable one: Linux from 5.10.
    fn set_receive_low_watermark(&mut self, bytes: usize) -> io::Result<()> {
        low_water::set(self, bytes)
    }
}

/// A future that yields a connected stream.
pub type Connecting<'a> =
    Pin<Box<dyn Future<Output = io::Result<Box<dyn TransportStream>>> + Send + 'a>>;

/// Opens connections to brokers.
///
/// Dropping the returned future abandons the attempt; the caller bounds it with its own time-out.
pub trait Transport: Send + Sync + Debug {
    /// Opens one connection to `host:port`.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a>;
}

/// Plain TCP with `TCP_NODELAY`. Every address that the host name resolves to is tried in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpTransport;

impl Transport for TcpTransport {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let mut failure = None;
            for address in lookup_host((host, port)).await? {
                match TcpStream::connect(address).await {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        return Ok(Box::new(stream) as Box<dyn TransportStream>);
                    }
                    Err(error) => failure = Some(error),
                }
            }
            Err(failure.unwrap_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, "the host name resolves to no address")
            }))
        })
    }
}
