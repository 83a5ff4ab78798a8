//! Recognises ports that are no Kafka listener of plain TCP by what they send to the first request.
//!
//! Such a port is a wrong address, so the error is `Invalid`: the same request cannot succeed later.

use std::sync::Arc;

use crate::WireError;

const CHECK_PORT: &str = "check host and port against the broker's advertised.listeners";

/// The error for a port whose first response begins with `first` and is not one of Kafka.
pub(crate) fn wrong(address: &Arc<str>, first: [u8; 4]) -> WireError {
    let (what, next) = match first {
        // An alert or a handshake record of SSL 3.0 to TLS 1.3 (RFC 8446, section 5.1).
        [0x15 | 0x16, 3, 0..=4, _] => {
            ("a TLS listener", "this client does not encrypt: use the port of a PLAINTEXT listener")
        }
        [b'H', b'T', b'T', b'P'] => ("an HTTP server", CHECK_PORT),
        [b'S', b'S', b'H', b'-'] => ("an SSH server", CHECK_PORT),
        _ => ("no Kafka listener: its first response is not one of Kafka", CHECK_PORT),
    };
    WireError::WrongListener { address: Arc::clone(address), what, next }
}

/// The error for a server that supports ApiVersions but not Metadata.
pub(crate) fn controller(address: &Arc<str>) -> WireError {
    WireError::WrongListener {
        address: Arc::clone(address),
        what: "a KRaft controller: it serves no metadata to clients",
        next: "use the address of a broker",
    }
}

#[cfg(test)]
mod tests {
    use kafka_direct_core::ErrorKind;

    use super::*;

    #[test]
    fn what_answers_is_named_with_the_next_step() {
        let address = Arc::from("h:1");
        for (first, expected) in [
            ([0x15, 3, 3, 0], "a TLS listener"),
            ([0x16, 3, 1, 2], "a TLS listener"),
            (*b"HTTP", "an HTTP server"),
            (*b"SSH-", "an SSH server"),
            (*b"220 ", "no Kafka listener"),
            ([0x15, 9, 9, 9], "no Kafka listener"),
        ] {
            let error = wrong(&address, first);
            let text = error.to_string();
            assert!(text.starts_with("h:1 is ") && text.contains(expected), "{text}");
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}
