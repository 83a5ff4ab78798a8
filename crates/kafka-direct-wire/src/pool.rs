//! Control connections, kept per broker between calls.
//!
//! A call takes a connection from the pool or opens one, and returns it only after a success. A
//! future that is dropped in the middle therefore drops its connection, and no later call uses a
//! connection with half a request on it.

use std::{collections::HashMap, sync::Arc};

use kafka_protocol::{messages::ApiKey, protocol::Encodable};
use parking_lot::Mutex;

use crate::{
    ClusterConfig, WireError,
    address::address,
    connection::{Connection, closed_after_handshake},
    response::Response,
    versions,
};

/// How many unused connections to one broker are kept.
const IDLE_PER_BROKER: usize = 4;

/// A decoded response and the address of its broker.
#[derive(Debug)]
pub(crate) struct BrokerResponse<A> {
    pub(crate) body: A,
    pub(crate) version: i16,
    pub(crate) from: Arc<str>,
    api: ApiKey,
}

impl<A> BrokerResponse<A> {
    /// The error for an error code inside this response.
    pub(crate) fn error(&self, code: i16) -> WireError {
        WireError::Broker {
            address: Arc::clone(&self.from),
            api: versions::name(self.api),
            code,
            topic_partition: None,
        }
    }

    /// The error for an impossible value inside this response; `reason` names it.
    pub(crate) fn invalid(&self, reason: String) -> WireError {
        WireError::Protocol {
            address: Arc::clone(&self.from),
            api: versions::name(self.api),
            reason: reason.into(),
        }
    }
}

/// Idle control connections by address.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Arc<str>, Vec<Connection>>>,
}

impl Pool {
    /// Sends a request to the broker at `host:port` and awaits its response.
    ///
    /// `request` builds the request for the version that both sides support. If a kept connection
    /// breaks, because the broker closed it meanwhile, the request is sent once more on a new one.
    /// Sending it twice is safe for every control request.
    pub(crate) async fn call<Q, A>(
        &self,
        config: &ClusterConfig,
        (host, port): (&str, u16),
        api: ApiKey,
        request: impl Fn(i16) -> Q + Send + Sync,
    ) -> Result<BrokerResponse<A>, WireError>
    where
        Q: Encodable + Send + Sync,
        A: Response + Send,
    {
        let address = address(host, port);
        if let Some(kept) = self.take(&address) {
            match self.call_on(kept, api, &request).await {
                Err(WireError::Connection { source, .. })
                    if source.kind() != std::io::ErrorKind::TimedOut =>
                {
                    self.discard(&address);
                }
                done => return done,
            }
        }
        let opened = Connection::open(config, host, port).await?;
        self.call_on(opened, api, &request).await.map_err(closed_after_handshake)
    }

    async fn call_on<Q, A>(
        &self,
        mut connection: Connection,
        api: ApiKey,
        request: &(impl Fn(i16) -> Q + Send + Sync),
    ) -> Result<BrokerResponse<A>, WireError>
    where
        Q: Encodable + Send + Sync,
        A: Response + Send,
    {
        let version = connection.version(api)?;
        let body = connection.call(api, version, &request(version)).await?;
        let from = Arc::clone(connection.address());
        self.keep(connection);
        Ok(BrokerResponse { body, version, from, api })
    }

    fn take(&self, address: &str) -> Option<Connection> {
        self.idle.lock().get_mut(address)?.pop()
    }

    /// Drops all idle connections to `address`: if one is broken, the others are likely broken too.
    fn discard(&self, address: &str) {
        self.idle.lock().remove(address);
    }

    pub(crate) fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        let kept = idle.entry(Arc::clone(connection.address())).or_default();
        if kept.len() < IDLE_PER_BROKER {
            kept.push(connection);
        }
    }
}
