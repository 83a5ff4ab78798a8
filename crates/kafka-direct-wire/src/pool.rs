//! Control connections, kept per broker between calls.
//!
//! A call takes a connection out, or opens one, and puts it back only after it succeeded. A future
//! that is dropped half-way therefore drops its connection, and nobody ever finds half a request.

use std::{collections::HashMap, sync::Arc};

use kafka_protocol::{messages::ApiKey, protocol::Encodable};
use parking_lot::Mutex;

use crate::{
    ClusterConfig, WireError, address::address, connection::Connection, response::Response,
    versions,
};

/// How many unused connections to one broker are kept.
const IDLE_PER_BROKER: usize = 4;

/// A decoded response and where it came from.
#[derive(Debug)]
pub(crate) struct BrokerResponse<A> {
    pub(crate) body: A,
    pub(crate) version: i16,
    pub(crate) from: Arc<str>,
    api: ApiKey,
}

impl<A> BrokerResponse<A> {
    /// An error code inside this response.
    pub(crate) fn error(&self, code: i16) -> WireError {
        WireError::Broker {
            address: Arc::clone(&self.from),
            api: versions::name(self.api),
            code,
            topic_partition: None,
        }
    }

    /// Something inside this response that cannot be.
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
    /// Asks the broker at `host:port`; `request` builds the question for the version agreed on.
    ///
    /// A kept connection may have been closed by the broker meanwhile: if it breaks, the question is
    /// asked once more on a new one. Every control request may be asked twice.
    pub(crate) async fn ask<Q, A>(
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
            match self.ask_on(kept, api, &request).await {
                Err(WireError::Connection { source, .. })
                    if source.kind() != std::io::ErrorKind::TimedOut =>
                {
                    self.forget(&address);
                }
                done => return done,
            }
        }
        let opened = Connection::open(config, host, port).await?;
        self.ask_on(opened, api, &request).await
    }

    async fn ask_on<Q, A>(
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
        let question = request(version);
        let body = connection.call(api, version, &question).await?;
        let from = Arc::clone(connection.address());
        self.keep(connection);
        Ok(BrokerResponse { body, version, from, api })
    }

    fn take(&self, address: &str) -> Option<Connection> {
        self.idle.lock().get_mut(address)?.pop()
    }

    /// Drops what is kept to `address`: if one connection broke, its neighbours did too.
    fn forget(&self, address: &str) {
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
