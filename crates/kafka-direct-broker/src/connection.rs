//! Serves one client connection: one request at a time, in order, with faults applied.
//!
//! While a request is served, the next one (at most one) is already read. The read detects a client
//! that disconnects, which ends a long poll.
//!
//! A socket that is idle, or accepts no bytes, for ten minutes is closed, as Apache Kafka does. No
//! task outlives its client for long. A connection in memory always detects that its client is
//! gone. It has no idle limit, because a limit would disturb tests with paused time.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{messages::ResponseHeader, protocol::Encodable};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{sleep, timeout},
};

use crate::{
    ApiKey,
    api::{self, Call, Mode, NoResponse},
    faults::Fault,
    frame::{self, FrameReader},
    guard,
    shared::Shared,
};

/// How long a socket may be idle before it is closed.
pub(crate) const SOCKET_IDLE: Duration = Duration::from_secs(600);

/// What is sent back to the client.
#[derive(Debug)]
enum Reply {
    /// The parts of a frame, without its size prefix.
    Frame(Vec<Bytes>),
    /// These bytes as they are; `Then` decides whether the connection closes afterwards.
    Bytes(Bytes, Then),
    /// The client wants no response.
    Nothing,
}

/// What happens to the connection after a reply.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Close,
}

/// Serves `stream` as node `node` until either side closes it, or until no read or write finishes
/// within `idle`.
pub(crate) async fn serve<S>(shared: &Shared, node: i32, stream: S, idle: Option<Duration>)
where
    S: AsyncRead + AsyncWrite + Send,
{
    let (from, to) = tokio::io::split(stream);
    let reader = FrameReader::new(from, shared.settings.max_frame_bytes);
    if let Err(NoResponse(reason)) = run(shared, node, idle, reader, to).await {
        tracing::debug!(node, reason, "connection closed");
    }
}

async fn run<R, W>(
    shared: &Shared,
    node: i32,
    idle: Option<Duration>,
    mut reader: FrameReader<R>,
    mut to: W,
) -> Result<(), NoResponse>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    let mut queued = None;
    loop {
        let frame = match queued.take() {
            Some(frame) => frame,
            None => match within(idle, reader.read()).await {
                Some(Ok(Some(frame))) => frame,
                Some(Ok(None)) | None => return Ok(()),
                Some(Err(error)) => return Err(lost(&error)),
            },
        };
        let mut served = Box::pin(reply(shared, node, frame));
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut served => break reply?,
                next = reader.read(), if queued.is_none() => match next {
                    Ok(Some(frame)) => queued = Some(frame),
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(lost(&error)),
                },
            }
        };
        let written = async {
            match reply {
                Reply::Nothing => Ok(Then::GoOn),
                Reply::Frame(parts) => frame::write(&mut to, &parts).await.map(|()| Then::GoOn),
                Reply::Bytes(bytes, then) => {
                    to.write_all(&bytes).await?;
                    to.flush().await?;
                    Ok(then)
                }
            }
        };
        match within(idle, written).await {
            Some(Ok(Then::GoOn)) => {}
            Some(Ok(Then::Close)) | None => return Ok(()),
            Some(Err(error)) => return Err(lost(&error)),
        }
    }
}

/// Runs `work` for at most `limit`; returns `None` if it takes longer.
async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T> + Send) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

fn lost(error: &io::Error) -> NoResponse {
    NoResponse(error.to_string())
}

/// The fixed first fields of a request header.
#[derive(Debug, Clone, Copy)]
struct Head {
    api: ApiKey,
    version: i16,
    correlation: i32,
}

impl Head {
    fn read(frame: &[u8]) -> Option<Self> {
        let (key, rest) = frame.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        Some(Self {
            api: ApiKey::from_number(i16::from_be_bytes(*key))?,
            version: i16::from_be_bytes(*version),
            correlation: i32::from_be_bytes(*rest.first_chunk()?),
        })
    }
}

/// Serves one request and applies its fault, if any.
async fn reply(shared: &Shared, node: i32, frame: Bytes) -> Result<Reply, NoResponse> {
    let head = Head::read(&frame)
        .ok_or_else(|| NoResponse("the request is cut or of an unserved API".to_owned()))?;
    shared.count(head.api);
    tracing::trace!(node, api = ?head.api, version = head.version, "request");
    let mut call = Call { shared, node, version: head.version, mode: Mode::Serve, throttle_ms: 0 };
    let fault = shared.faults.take(head.api);
    match &fault {
        None | Some(Fault::CutAfter(_) | Fault::Corrupt(_)) => {}
        Some(Fault::Delay(time)) => sleep(*time).await,
        Some(Fault::ErrorCode(code)) => call.mode = Mode::Refuse(code.0),
        Some(Fault::Empty) => call.mode = Mode::Empty,
        Some(Fault::Throttle(time)) => {
            call.throttle_ms = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        }
        Some(Fault::Cut) => return Ok(Reply::Bytes(Bytes::new(), Then::Close)),
        Some(Fault::Raw(bytes)) => return Ok(Reply::Bytes(bytes.clone(), Then::GoOn)),
    }
    let Some(parts) = response(&call, head, frame).await? else {
        return Ok(match fault {
            Some(Fault::CutAfter(_)) => Reply::Bytes(Bytes::new(), Then::Close),
            _ => Reply::Nothing,
        });
    };
    match fault {
        Some(Fault::Corrupt(change)) => {
            let mut whole = parts.concat();
            change(&mut whole);
            Ok(Reply::Frame(vec![Bytes::from(whole)]))
        }
        Some(Fault::CutAfter(bytes)) => {
            let mut whole = Vec::new();
            // A write into memory fails only for a response of more than 2 GiB.
            frame::write(&mut whole, &parts).await.map_err(|error| lost(&error))?;
            whole.truncate(bytes);
            Ok(Reply::Bytes(Bytes::from(whole), Then::Close))
        }
        _ => Ok(Reply::Frame(parts)),
    }
}

/// The parts of the response frame, header included; `None` if the client wants no response.
async fn response(
    call: &Call<'_>,
    head: Head,
    frame: Bytes,
) -> Result<Option<Vec<Bytes>>, NoResponse> {
    let Head { api, version, correlation } = head;
    let served = call.shared.versions.of(api).contains(&version);
    let (body, header_version) = if served {
        let header = guard::header_bytes(api.request_header_version(version), &frame)
            .map_err(|refused| NoResponse(format!("invalid request header: {refused}")))?;
        let body = call.response(api, frame.slice(header..)).await?;
        (body, api.response_header_version(version))
    } else if api == ApiKey::ApiVersions {
        (api::unknown_api_versions(call.shared)?, 0)
    } else {
        return Err(NoResponse(format!("{api:?} v{version} is not served")));
    };
    let Some(mut parts) = body else { return Ok(None) };
    let mut first = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(correlation)
        .encode(&mut first, header_version)
        .map_err(|error| NoResponse(error.to_string()))?;
    if let Some(head) = parts.first_mut() {
        first.extend_from_slice(head);
        *head = first.freeze();
    }
    Ok(Some(parts))
}
