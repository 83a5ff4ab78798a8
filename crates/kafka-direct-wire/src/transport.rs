//! [`Transport`] opens connections to brokers; [`TcpTransport`] opens them over plain TCP.
//!
//! Contract: only the caller of [`Transport::connect`] reads and writes the returned stream.
//! Encryption, fault injection and the in-memory simulation are transports of their own.

use std::{
    collections::HashMap, fmt::Debug, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpStream, lookup_host},
};

use crate::{
    low_water,
    race::{connect_first, in_order},
};

/// A connected byte stream of a [`Transport`].
///
/// A stream that uses the default method needs only `impl TransportStream for MyStream {}`. For a
/// stream type of another crate, implement it for your own type around that stream.
pub trait TransportStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Sets how many bytes must be readable before a task that waits to read wakes up.
    ///
    /// - The end and an error of the stream also wake the task. Fewer bytes may wake it.
    /// - Every stream starts with 1.
    /// - The caller must lower a raised value before it waits for fewer bytes. It must not rely on
    ///   the value if it does not know how many bytes will come.
    /// - A call takes effect also while the stream has unread bytes.
    ///
    /// The default does nothing, which is correct for every stream. A stream that buffers bytes
    /// itself, as encryption does, cannot do more.
    ///
    /// # Errors
    /// The value is not changed.
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
    /// Sets the low-water mark of the socket on Linux from 5.10; does nothing on other systems.
    fn set_receive_low_watermark(&mut self, bytes: usize) -> io::Result<()> {
        low_water::set(self, bytes)
    }
}

/// A future that returns a connected stream.
pub type Connecting<'a> =
    Pin<Box<dyn Future<Output = io::Result<Box<dyn TransportStream>>> + Send + 'a>>;

/// Opens connections to brokers.
///
/// Dropping the returned future cancels the attempt. The caller bounds it with its own timeout.
pub trait Transport: Send + Sync + Debug {
    /// Opens one connection to `host:port`.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a>;
}

/// Plain TCP with `TCP_NODELAY`.
///
/// The addresses that a host name resolves to are tried 250 ms apart (RFC 8305), so that one that
/// drops packets does not use up the connect timeout. The address that accepted last is tried first.
#[derive(Debug, Clone, Default)]
pub struct TcpTransport {
    preferred: Arc<Mutex<HashMap<(String, u16), SocketAddr>>>,
}

impl Transport for TcpTransport {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let name = (host.to_owned(), port);
            let preferred = self.preferred.lock().get(&name).copied();
            let addresses = in_order(lookup_host((host, port)).await?, preferred);
            let (address, stream) = connect_first(addresses, TcpStream::connect).await?;
            self.preferred.lock().insert(name, address);
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn TransportStream>)
        })
    }
}
