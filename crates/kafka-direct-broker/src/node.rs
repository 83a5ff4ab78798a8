//! One node: a task that takes connections, from its listener and from memory, and owns them.
//!
//! When the task is told to stop, or its handle is dropped, the listener closes and every
//! connection is cut.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};

use crate::{BrokerError, connection, shared::Shared};

/// How long to wait after the system refused a connection (too many open files), so that the
/// listener does not spin.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// A running node.
#[derive(Debug)]
pub(crate) struct NodeHandle {
    /// Dropping it stops the node.
    stop: oneshot::Sender<()>,
    inbox: mpsc::UnboundedSender<DuplexStream>,
    task: JoinHandle<()>,
}

impl NodeHandle {
    /// Starts node `id`; without a listener it takes connections from memory only.
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

    /// Hands the node its end of a connection in memory.
    pub(crate) fn connect(&self, stream: DuplexStream) -> io::Result<()> {
        self.inbox.send(stream).map_err(|_| io::ErrorKind::ConnectionRefused.into())
    }

    /// Stops the node and waits until listener and connections are closed.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // A task that was cancelled with its runtime has closed everything as well.
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

/// The next connection; never, without a listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it small responses wait for acknowledgements; it works either way.
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}
