//! One node: a task that accepts connections, over TCP and in memory, and owns them.
//!
//! When the node is stopped, or its handle is dropped, the listener and all connections close.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};

use crate::{BrokerError, connection, shared::Shared};

/// The backoff after a failed accept, for example with too many open files, so that the loop does
/// not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A running node.
#[derive(Debug)]
pub(crate) struct NodeHandle {
    /// Stops the node when dropped.
    stop: oneshot::Sender<()>,
    inbox: mpsc::UnboundedSender<DuplexStream>,
    task: JoinHandle<()>,
}

impl NodeHandle {
    /// Starts node `id`; without a listener it accepts only connections in memory.
    pub(crate) fn start(
        runtime: &Handle,
        shared: Arc<Shared>,
        id: i32,
        listener: Option<TcpListener>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (inbox, connects) = mpsc::unbounded_channel();
        let task = runtime.spawn(run(shared, id, listener, connects, stopped));
        Self { stop, inbox, task }
    }

    /// Passes the node its end of a connection in memory.
    pub(crate) fn connect(&self, stream: DuplexStream) -> io::Result<()> {
        self.inbox.send(stream).map_err(|_| io::ErrorKind::ConnectionRefused.into())
    }

    /// Stops the node and waits until its listener and connections are closed.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // An error means that the runtime cancelled the task, which closes everything as well.
        drop(self.task.await);
    }
}

/// Opens a listener and returns it with its port.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, u16), BrokerError> {
    let refused = |source| BrokerError::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let port = listener.local_addr().map_err(refused)?.port();
    Ok((listener, port))
}

async fn run(
    shared: Arc<Shared>,
    id: i32,
    listener: Option<TcpListener>,
    mut connects: mpsc::UnboundedReceiver<DuplexStream>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Some(stream) = connects.recv() => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move { connection::serve(&shared, id, stream, None).await });
            }
            stream = accept(listener.as_ref()) => {
                let shared = Arc::clone(&shared);
                let idle = Some(connection::SOCKET_IDLE);
                connections.spawn(async move { connection::serve(&shared, id, stream, idle).await });
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Waits for the next connection; without a listener it never returns.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small responses would wait for acknowledgements otherwise. A failure is harmless.
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}
