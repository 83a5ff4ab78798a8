//! Parses and prints broker addresses, `host:port`.

use std::sync::Arc;

use crate::WireError;

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
}
