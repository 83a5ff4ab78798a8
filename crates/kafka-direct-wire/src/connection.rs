//! One connection to one broker: handshake, framing, throttling, one request at a time.
//!
//! Contract:
//! - The size field of a frame is checked before anything is allocated. The buffer grows as bytes
//!   arrive, not by the size field.
//! - Nothing is read ahead: after [`Connection::receive`] the stream is at the start of the next
//!   frame.
//! - **Cancel safety:** none. A future of `send`, `receive` or `call` that is dropped in the
//!   middle, or that fails, leaves the connection unusable; its owner drops it.

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader},
    protocol::{Decodable, Encodable, StrBytes},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    ClusterConfig, WireError,
    address::address,
    code, guard, listener,
    response::Response,
    transport::TransportStream,
    versions::{self, BrokerVersions},
};

/// Minimum growth of a response's buffer beyond the bytes that arrived.
const READ_STEP_BYTES: usize = 64 * 1024;
/// Longest throttle that is waited for; brokers throttle for seconds.
const LONGEST_THROTTLE: Duration = Duration::from_secs(600);
/// Largest response to ApiVersions: brokers send about 600 bytes. The first bytes of other protocols
/// are larger sizes.
const HANDSHAKE_BYTES: usize = 1 << 20;
/// Size of the correlation id, the smallest possible frame.
const CORRELATION_BYTES: usize = 4;

/// A connection to one broker after the handshake.
pub(crate) struct Connection {
    /// The raw stream, for a reader that parses a response itself, from the frame size on.
    pub(crate) stream: Box<dyn TransportStream>,
    address: Arc<str>,
    client_id: StrBytes,
    versions: BrokerVersions,
    next_correlation: i32,
    awaited: Option<i32>,
    throttled_until: Option<Instant>,
    sent_bytes: usize,
    max_frame_bytes: usize,
    request_timeout: Duration,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and requests the broker's API versions, both within the connect timeout.
    pub(crate) async fn open(
        config: &ClusterConfig,
        host: &str,
        port: u16,
    ) -> Result<Self, WireError> {
        let address = address(host, port);
        let (began, limit) = (Instant::now(), config.get_connect_timeout());
        tracing::debug!(%address, "connecting");
        let stream = timeout(limit, config.get_transport().connect(host, port))
            .await
            .map_err(|_| WireError::timeout(&address, "connect", limit))?
            .map_err(|source| WireError::Connection {
                address: Arc::clone(&address),
                action: "connect",
                source,
            })?;
        let mut connection = Self {
            stream,
            address: Arc::clone(&address),
            client_id: StrBytes::from_string(config.get_client_id().to_owned()),
            versions: BrokerVersions::default(),
            next_correlation: 0,
            awaited: None,
            throttled_until: None,
            sent_bytes: 0,
            max_frame_bytes: config.get_max_frame_bytes(),
            request_timeout: config.get_request_timeout(),
        };
        let left = limit.saturating_sub(began.elapsed());
        timeout(left, connection.handshake())
            .await
            .unwrap_or_else(|_| Err(silent(&address, limit)))?;
        tracing::debug!(%address, took = ?began.elapsed(), "connected");
        Ok(connection)
    }

    /// Requests the broker's API versions.
    ///
    /// A broker that does not support the request's version responds with error 35 in version 0.
    /// The request is then sent once more in version 0.
    async fn handshake(&mut self) -> Result<(), WireError> {
        let mut version = versions::ours(ApiKey::ApiVersions).max;
        loop {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request = request
                    .with_client_software_name(StrBytes::from_static_str("kafka-direct"))
                    .with_client_software_version(StrBytes::from_static_str(env!(
                        "CARGO_PKG_VERSION"
                    )));
            }
            self.send(ApiKey::ApiVersions, version, &request).await.map_err(closed)?;
            let mut body = self.receive(ApiKey::ApiVersions, version).await.map_err(closed)?;
            let refused = body
                .first_chunk::<2>()
                .is_some_and(|code| i16::from_be_bytes(*code) == code::UNSUPPORTED_VERSION);
            if refused && version > 0 {
                version = 0;
                continue;
            }
            let response: ApiVersionsResponse =
                self.decode(ApiKey::ApiVersions, version, &mut body)?;
            if response.error_code != code::NONE {
                return Err(self.broker_error(ApiKey::ApiVersions, response.error_code));
            }
            self.throttle(response.throttle_time_ms);
            self.versions = BrokerVersions::new(
                response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)),
            );
            return Ok(());
        }
    }

    /// `host:port` of the broker.
    pub(crate) const fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Returns the highest version of `api` that both sides support.
    pub(crate) fn version(&self, api: ApiKey) -> Result<i16, WireError> {
        self.versions.agree(api).ok_or_else(|| {
            if api == ApiKey::Metadata && self.versions.range(api).is_none() {
                return listener::controller(&self.address);
            }
            let ours = versions::ours(api);
            WireError::UnsupportedVersion {
                address: Arc::clone(&self.address),
                api: versions::name(api),
                broker: self.versions.range(api),
                ours: (ours.min, ours.max),
            }
        })
    }

    /// Bytes of all requests sent so far.
    pub(crate) const fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// Delays the next request by the throttle time of a response (KIP-219).
    pub(crate) fn throttle(&mut self, throttle_time_ms: i32) {
        if let Ok(ms @ 1..) = u64::try_from(throttle_time_ms) {
            // Bounded, so that no broker can block a reader for days.
            let wait = Duration::from_millis(ms).min(LONGEST_THROTTLE);
            self.throttled_until = Some(Instant::now() + wait);
        }
    }

    /// Whether a throttle is still in effect.
    pub(crate) fn is_throttled(&self) -> bool {
        self.throttled_until.is_some_and(|until| until > Instant::now())
    }

    /// The end of the last throttle that no request has waited for.
    pub(crate) const fn throttled_until(&self) -> Option<Instant> {
        self.throttled_until
    }

    /// Waits until a throttle ends, then sends one request. Returns the request's correlation id.
    pub(crate) async fn send<R: Encodable + Sync>(
        &mut self,
        api: ApiKey,
        version: i16,
        body: &R,
    ) -> Result<i32, WireError> {
        self.wait_out_throttle().await;
        let correlation = self.next_correlation;
        self.next_correlation = self.next_correlation.wrapping_add(1);
        let frame = self.frame(api, version, correlation, body)?;
        self.stream
            .write_all(&frame)
            .await
            .map_err(|source| self.broken(versions::name(api), source))?;
        self.stream.flush().await.map_err(|source| self.broken(versions::name(api), source))?;
        tracing::trace!(
            address = %self.address,
            api = versions::name(api),
            version,
            correlation,
            bytes = frame.len(),
            "sent"
        );
        self.sent_bytes = self.sent_bytes.saturating_add(frame.len());
        self.awaited = Some(correlation);
        Ok(correlation)
    }

    /// Reads the response to the last request and returns its body, without the response header.
    pub(crate) async fn receive(&mut self, api: ApiKey, version: i16) -> Result<Bytes, WireError> {
        let action = versions::name(api);
        let mut size = [0; 4];
        let read = self.stream.read_exact(&mut size).await;
        read.map_err(|source| self.broken(action, source))?;
        let (claimed, first) = (i32::from_be_bytes(size), size);
        let most = match api {
            ApiKey::ApiVersions => HANDSHAKE_BYTES.min(self.max_frame_bytes),
            _ => self.max_frame_bytes,
        };
        let size = usize::try_from(claimed)
            .ok()
            .filter(|size| (CORRELATION_BYTES..=most).contains(size))
            .ok_or_else(|| match api {
                // The first response on a connection.
                ApiKey::ApiVersions => listener::wrong(&self.address, first),
                _ => {
                    let limit = self.max_frame_bytes;
                    let why = format!("its size of {claimed} bytes is outside 4 to {limit} bytes");
                    self.invalid(api, why)
                }
            })?;
        let mut frame = BytesMut::new();
        while frame.len() < size {
            let missing = size.saturating_sub(frame.len());
            frame.reserve(missing.min(READ_STEP_BYTES.max(frame.len())));
            let room = missing.min(frame.capacity().saturating_sub(frame.len()));
            let read = self.stream.read_buf(&mut (&mut frame).limit(room)).await;
            if read.map_err(|source| self.broken(action, source))? == 0 {
                return Err(self.broken(action, io::ErrorKind::UnexpectedEof.into()));
            }
        }
        self.response_header(api, version, frame.freeze())
    }

    /// Checks the correlation id and skips the header.
    fn response_header(
        &mut self,
        api: ApiKey,
        version: i16,
        mut frame: Bytes,
    ) -> Result<Bytes, WireError> {
        tracing::trace!(
            address = %self.address,
            api = versions::name(api),
            bytes = frame.len(),
            "received"
        );
        let awaited = self.awaited.take();
        let correlation = frame.try_get_i32().ok();
        if correlation != awaited {
            if api == ApiKey::ApiVersions {
                return Err(listener::wrong(&self.address, [0; 4]));
            }
            return Err(self.invalid(
                api,
                format!("its correlation id is {correlation:?} instead of {awaited:?}"),
            ));
        }
        if api.response_header_version(version) > 0 {
            let body = guard::skip_tagged(&frame).map_err(|why| self.invalid(api, why))?.len();
            frame.advance(frame.len().saturating_sub(body));
        }
        Ok(frame)
    }

    /// Sends a request and awaits its response, both within the request timeout.
    ///
    /// The throttle of the response applies to the next request.
    pub(crate) async fn call<Q: Encodable + Sync, A: Response>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<A, WireError> {
        self.wait_out_throttle().await;
        let limit = self.request_timeout;
        let exchange = async {
            self.send(api, version, request).await?;
            self.receive(api, version).await
        };
        let Ok(received) = timeout(limit, exchange).await else {
            return Err(WireError::timeout(&self.address, versions::name(api), limit));
        };
        let response: A = self.decode(api, version, &mut received?)?;
        self.throttle(response.throttle_time_ms());
        Ok(response)
    }

    /// The error for an error code in a response of this broker.
    pub(crate) fn broker_error(&self, api: ApiKey, code: i16) -> WireError {
        WireError::Broker {
            address: Arc::clone(&self.address),
            api: versions::name(api),
            code,
            topic_partition: None,
        }
    }

    /// The error for an invalid response of this broker.
    pub(crate) fn invalid(
        &self,
        api: ApiKey,
        reason: impl Into<std::borrow::Cow<'static, str>>,
    ) -> WireError {
        WireError::Protocol {
            address: Arc::clone(&self.address),
            api: versions::name(api),
            reason: reason.into(),
        }
    }

    /// The error for a stream that failed during `action`.
    pub(crate) fn broken(&self, action: &'static str, source: io::Error) -> WireError {
        WireError::Connection { address: Arc::clone(&self.address), action, source }
    }

    pub(crate) async fn wait_out_throttle(&mut self) {
        if let Some(until) = self.throttled_until {
            sleep_until(until).await;
            self.throttled_until = None;
        }
    }

    fn frame<R: Encodable>(
        &self,
        api: ApiKey,
        version: i16,
        correlation: i32,
        body: &R,
    ) -> Result<BytesMut, WireError> {
        let header = RequestHeader::default()
            .with_request_api_key(api as i16)
            .with_request_api_version(version)
            .with_correlation_id(correlation)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let encoded = header
            .encode(&mut frame, api.request_header_version(version))
            .and_then(|()| body.encode(&mut frame, version));
        let size = encoded
            .map_err(|error| format!("{error:#}"))
            .and_then(|()| {
                i32::try_from(frame.len().saturating_sub(4))
                    .map_err(|_| "larger than 2 GiB".to_owned())
            })
            .map_err(|reason| WireError::Config {
                setting: versions::name(api),
                reason: format!("the request cannot be encoded in version {version}: {reason}"),
            })?;
        if let Some(size_field) = frame.first_chunk_mut::<4>() {
            *size_field = size.to_be_bytes();
        }
        Ok(frame)
    }

    fn decode<A: Decodable>(
        &self,
        api: ApiKey,
        version: i16,
        body: &mut Bytes,
    ) -> Result<A, WireError> {
        guard::check(api, version, body).map_err(|why| self.invalid(api, why))?;
        A::decode(body, version).map_err(|error| self.invalid(api, format!("{error:#}")))
    }
}

/// The error for a port that accepted a connection and did not respond to the first request.
fn silent(address: &Arc<str>, limit: Duration) -> WireError {
    let text = format!(
        "connected, but no response to the first request in {limit:?}; the broker may be overloaded, \
         or the port is no Kafka listener of plain TCP"
    );
    let source = io::Error::new(io::ErrorKind::TimedOut, text);
    WireError::Connection { address: Arc::clone(address), action: "ApiVersions", source }
}

/// Adds a hint to the error of a connection that the other side closed on the first request.
///
/// A listener that expects another protocol than plain Kafka does that.
fn closed(error: WireError) -> WireError {
    explained(
        error,
        "the other side closed the connection on the first request; it may be stopping, or the port \
         is no Kafka listener of plain TCP",
    )
}

/// Adds a hint to the error of a connection that was closed on the first request after the handshake.
///
/// Kafka's listeners with SASL respond to ApiVersions of everybody and close on every other request.
pub(crate) fn closed_after_handshake(error: WireError) -> WireError {
    explained(
        error,
        "the other side closed the connection on the first request after ApiVersions; it may be \
         stopping, or the listener requires SASL, which this client does not speak",
    )
}

fn explained(error: WireError, hint: &str) -> WireError {
    match error {
        WireError::Connection { address, action, source }
            if source.kind() == io::ErrorKind::UnexpectedEof =>
        {
            let source = io::Error::new(source.kind(), hint);
            WireError::Connection { address, action, source }
        }
        other => other,
    }
}
