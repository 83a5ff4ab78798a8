//! The receive low-water mark of a TCP socket: how many bytes wake its reader.
//!
//! Without a mark, a reader wakes for every few packets. Each wake-up costs two context switches
//! and a cold CPU cache, and meanwhile the broker finds the TCP window closed. See
//! docs/adr/0014-low-water-mark.md.

use std::io;

use tokio::net::TcpStream;

#[cfg(target_os = "linux")]
pub(crate) use self::linux::is_new_enough;

/// Sets the low-water mark of `stream` to `bytes`, or to half the receive buffer if that is less.
///
/// Does nothing on Linux before 5.10.
#[cfg(target_os = "linux")]
pub(crate) fn set(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    use linux::LowWaterMark;
    use nix::sys::socket::{getsockopt, setsockopt};

    if !is_new_enough() {
        return Ok(());
    }
    let mut mark = i32::try_from(bytes).unwrap_or(i32::MAX);
    if mark > 1 && mark > getsockopt(stream, LowWaterMark)? {
        // The kernel grows the receive buffer for any mark that `tcp_rmem` and `SO_RCVBUF` allow,
        // and does not shrink it again. The buffer must be larger than the mark: otherwise the
        // broker waits until the reader has copied all received bytes.
        setsockopt(stream, LowWaterMark, &mark.saturating_mul(2))?;
        let room = getsockopt(stream, LowWaterMark).unwrap_or(1);
        mark = mark.min(room / 2).max(1);
    }
    Ok(setsockopt(stream, LowWaterMark, &mark)?)
}

/// Does nothing: on this system any received byte wakes the reader.
#[cfg(not(target_os = "linux"))]
pub(crate) fn set(_: &TcpStream, _: usize) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::OnceLock;

    use nix::{
        libc,
        sys::{
            socket::sockopt::{GetStruct, SetStruct},
            utsname::uname,
        },
    };

    /// The socket option `SO_RCVLOWAT`, see socket(7).
    #[derive(Debug, Clone, Copy)]
    pub(super) struct LowWaterMark;

    nix::setsockopt_impl!(
        LowWaterMark,
        libc::SOL_SOCKET,
        libc::SO_RCVLOWAT,
        i32,
        SetStruct<'_, i32>
    );
    nix::getsockopt_impl!(LowWaterMark, libc::SOL_SOCKET, libc::SO_RCVLOWAT, i32, GetStruct<i32>);

    /// Whether the kernel is Linux 5.10 or later, whose low-water mark is reliable.
    ///
    /// Before 4.18 a lowered mark does not wake a reader that already has enough bytes. Before a
    /// later version of 5.10 a reader may sleep until its request timeout, if its socket has less
    /// room than the mark.
    pub(crate) fn is_new_enough() -> bool {
        static NEW_ENOUGH: OnceLock<bool> = OnceLock::new();
        *NEW_ENOUGH.get_or_init(|| {
            uname().is_ok_and(|system| {
                system.release().to_str().and_then(version).is_some_and(|at| at >= (5, 10))
            })
        })
    }

    /// The major and minor number of a kernel release such as `6.18.44-amd64`.
    pub(super) fn version(release: &str) -> Option<(u32, u32)> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::linux::version;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(version("6.18.44-amd64"), Some((6, 18)));
        assert_eq!(version("4.4.0"), Some((4, 4)));
        assert_eq!(version("5.10-rc1"), Some((5, 10)));
        assert_eq!(version("unknown"), None);
        assert!(version("5.9.16") < version("5.10.0"));
    }
}
