//! Connects to one of several addresses of a host, so that one that drops packets delays the others
//! by a quarter of a second and not by the whole connect timeout.
//!
//! Contract: the attempts start in the order given, the next one 250 ms after the one before or as
//! soon as one fails; the first connection that is established is returned and the others are dropped.
//!
//! # References
//! RFC 8305 (Happy Eyeballs): the delay between attempts, and address families in turns.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt as _};

/// Time between the starts of two attempts.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that accepts.
///
/// # Errors
/// That of the first attempt that failed, if all fail; `NotFound` without an address.
pub(crate) async fn connect_first<S, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F + Sync,
) -> io::Result<(SocketAddr, S)>
where
    S: Send,
    F: Future<Output = io::Result<S>> + Send,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    let start = |address| {
        let connecting = connect(address);
        async move { (address, connecting.await) }
    };
    attempts.extend(waiting.next().map(&start));
    while !attempts.is_empty() {
        let is_last = waiting.len() == 0;
        tokio::select! {
            Some((address, result)) = attempts.next() => match result {
                Ok(stream) => return Ok((address, stream)),
                Err(error) => {
                    failure.get_or_insert(error);
                    attempts.extend(waiting.next().map(&start));
                }
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if !is_last => {
                attempts.extend(waiting.next().map(&start));
            }
        }
    }
    Err(failure.unwrap_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "the host name resolves to no address")
    }))
}

/// The addresses with `preferred` first, then the address families in turns.
pub(crate) fn in_order(
    addresses: impl Iterator<Item = SocketAddr>,
    preferred: Option<SocketAddr>,
) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = addresses.collect();
    let first_is_v6 = all.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = all.drain(..).partition(|a| a.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair.iter().all(Option::is_none) {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    if let Some(at) = ordered.iter().position(|address| Some(*address) == preferred) {
        let address = ordered.remove(at);
        ordered.insert(0, address);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::time::Instant;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Connects where port 1 drops packets, port 2 refuses at once and port 3 accepts after 10 ms;
    /// returns the port that accepted, the ports in the order of their attempts, and the time it took.
    async fn race(ports: &[u16]) -> (io::Result<u16>, Vec<u16>, Duration) {
        let tried = Arc::new(Mutex::new(Vec::new()));
        let (log, began) = (Arc::clone(&tried), Instant::now());
        let addresses = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port)));
        let connect = |address: SocketAddr| {
            log.lock().push(address.port());
            async move {
                match address.port() {
                    1 => std::future::pending().await,
                    2 => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                    _ => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        Ok(())
                    }
                }
            }
        };
        let limit = Duration::from_secs(10);
        let connecting = connect_first(addresses.collect(), connect);
        let result = tokio::time::timeout(limit, connecting).await;
        let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let result = result.map(|(address, ())| address.port());
        (result, tried.lock().clone(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_drops_packets_delays_the_next_by_a_quarter_of_a_second() {
        let (port, tried, took) = race(&[1, 3]).await;
        assert_eq!((port.unwrap(), tried), (3, vec![1, 3]));
        assert_eq!(took, Duration::from_millis(260));
        let (port, _, took) = race(&[1, 1, 1, 3]).await;
        assert_eq!((port.unwrap(), took), (3, Duration::from_millis(760)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_refuses_delays_nothing() {
        let (port, tried, took) = race(&[2, 2, 3]).await;
        assert_eq!((port.unwrap(), tried), (3, vec![2, 2, 3]));
        assert_eq!(took, Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn no_other_address_is_tried_once_one_accepts_in_time() {
        let (port, tried, _) = race(&[3, 1]).await;
        assert_eq!((port.unwrap(), tried), (3, vec![3]));
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_address_that_accepts_the_first_failure_is_returned() {
        assert_eq!(race(&[2, 2]).await.0.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(race(&[]).await.0.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(race(&[1, 2]).await.0.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn families_take_turns_and_the_preferred_address_is_first() {
        let all = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"].map(address);
        let ordered = in_order(all.into_iter(), None);
        assert_eq!(ordered, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(address));
        let ordered = in_order(all.into_iter(), Some(address("[::2]:1")));
        assert_eq!(ordered, ["[::2]:1", "[::1]:1", "1.1.1.1:1", "[::3]:1"].map(address));
        assert_eq!(in_order(all.into_iter(), Some(address("9.9.9.9:1")))[0], all[0]);
    }
}
