//! The seam for the network: how a connection to a broker comes to be.
//!
//! Contract: [`Transport::connect`] gives a stream on which the caller alone reads and writes.
//! Encryption, fault injection and the in-memory simulation each are a transport.

use std::{fmt::Debug, future::Future, io, pin::Pin};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};

/// A connected byte stream, as any transport gives it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A future that yields a connected stream.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

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
                        return Ok(Box::new(stream) as Box<dyn Stream>);
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
