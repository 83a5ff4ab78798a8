//! An in-memory transport to the embedded broker that can be set to fail.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use kafka_direct::{Connecting, Transport, TransportStream};
use kafka_direct_broker::Broker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Faults of the transport, and the addresses that it tried.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Connecting to this address never completes.
    pub(super) silent: Option<String>,
    /// Whether writes never complete.
    pub(super) stuck: bool,
    /// Every address of a connection attempt, successful or not.
    pub(super) tried: Vec<String>,
}

/// Connects to a broker in memory, and identifies its nodes by host alone.
#[derive(Debug)]
pub(super) struct Memory {
    broker: Arc<Broker>,
    pub(super) state: Arc<Mutex<State>>,
}

impl Memory {
    pub(super) fn new(broker: &Arc<Broker>) -> Arc<Self> {
        Arc::new(Self { broker: Arc::clone(broker), state: Arc::default() })
    }
}

impl Transport for Memory {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let address = format!("{host}:{port}");
            let is_silent = {
                let mut state = self.state.lock();
                state.tried.push(address.clone());
                state.silent.as_ref() == Some(&address)
            };
            if is_silent {
                std::future::pending::<()>().await;
            }
            let nodes = self.broker.addresses();
            let node = nodes.iter().find_map(|node| node.strip_prefix(host)?.strip_prefix(':'));
            let port = node.ok_or(io::ErrorKind::NotFound)?.parse().unwrap();
            let stream = self.broker.connect_in_memory(host, port)?;
            let state = Arc::clone(&self.state);
            Ok(Box::new(Sticking { stream, state }) as Box<dyn TransportStream>)
        })
    }
}

/// A stream whose writes never complete while [`State::stuck`] is set.
struct Sticking {
    stream: DuplexStream,
    state: Arc<Mutex<State>>,
}

impl TransportStream for Sticking {}

impl AsyncRead for Sticking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Sticking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.state.lock().stuck {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
