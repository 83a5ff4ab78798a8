//! Parses and prints broker addresses, `host:port`.

use std::sync::Arc;

use crate::WireError;

/// The port of a server that is given without one, as the other tools of Kafka take it.
const DEFAULT_PORT: u16 = 9092;

/// Adds the port 9092 to a host without one.
pub(crate) fn with_port(server: &str) -> String {
    let is_bare_host = !server.contains(':');
    if is_bare_host || (server.starts_with('[') && server.ends_with(']')) {
        return format!("{server}:{DEFAULT_PORT}");
    }
    server.to_owned()
}

/// Splits `host:port` into its parts. An IPv6 address must be in brackets.
pub(crate) fn host_and_port(server: &str) -> Result<(&str, u16), WireError> {
    let parsed = server.rsplit_once(':').and_then(|(host, port)| {
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => inner,
            None if host.contains(':') => return None,
            None => host,
        };
        let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then_some((host, port))
    });
    parsed.ok_or_else(|| WireError::Config {
        setting: "bootstrap servers",
        reason: format!("`{server}` is not `host:port`"),
    })
}

/// Prints an address in the form that [`host_and_port`] parses.
pub(crate) fn address(host: &str, port: u16) -> Arc<str> {
    if host.contains(':') {
        format!("[{host}]:{port}").into()
    } else {
        format!("{host}:{port}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_address_parses_to_the_same_address() {
        for server in ["host:9092", "[::1]:9092", "10.0.0.1:1"] {
            let (host, port) = host_and_port(server).unwrap();
            assert_eq!(&*address(host, port), server);
        }
    }

    #[test]
    fn a_host_without_a_port_has_port_9092() {
        for (given, expected) in [
            ("host", "host:9092"),
            ("10.0.0.1", "10.0.0.1:9092"),
            ("[::1]", "[::1]:9092"),
            ("host:1", "host:1"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(with_port(given), expected);
        }
        for ambiguous in ["::1", "::1:9092", "host:", "host:port"] {
            assert_eq!(with_port(ambiguous), ambiguous);
            host_and_port(ambiguous).unwrap_err();
        }
    }
}
