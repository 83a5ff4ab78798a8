//! The low-water mark of a TCP socket: how many bytes wake its reader.
//!
//! A reader that is woken for whatever has come in reads a few packets and sleeps again; each time
//! costs two switches and a cache that has forgotten what the task works with, and meanwhile the
//! broker finds the window closed. See docs/adr/0014-low-water-mark.md.

use std::io;

use tokio::net::TcpStream;

#[cfg(target_os = "linux")]
pub(crate) use self::linux::is_new_enough;

/// Sets the mark, or a lower one if the kernel has less than twice as much room.
#[cfg(target_os = "linux")]
pub(crate) fn set(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    use linux::LowWaterMark;
    use nix::sys::socket::{getsockopt, setsockopt};

    if !is_new_enough() {
        return Ok(());
    }
    let mut mark = i32::try_from(bytes).unwrap_or(i32::MAX);
    if mark > 1 && mark > getsockopt(stream, LowWaterMark)? {
        // The kernel makes the receive buffer large enough for any mark that `tcp_rmem` and
        // `SO_RCVBUF` allow, and leaves it so. With no more room than the mark the broker would wait
        // until all that came is copied.
        setsockopt(stream, LowWaterMark, &mark.saturating_mul(2))?;
        let room = getsockopt(stream, LowWaterMark).unwrap_or(1);
        mark = mark.min(room / 2).max(1);
    }
    Ok(setsockopt(stream, LowWaterMark, &mark)?)
}

/// Readers are woken for whatever has come in.
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

    /// `SO_RCVLOWAT`, see socket(7).
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

    /// Linux 4.18 is the first that wakes a reader for whom a lowered mark makes enough of what is
    /// there; before some later version of 5.10 one may sleep whose socket has no room for as much
    /// as the mark, until its reader's patience ends.
    pub(crate) fn is_new_enough() -> bool {
        static KNOWN: OnceLock<bool> = OnceLock::new();
        *KNOWN.get_or_init(|| {
            uname().is_ok_and(|system| {
                system.release().to_str().and_then(version).is_some_and(|at| at >= (5, 10))
            })
        })
    }

    /// Major and minor number of a release such as `6.18.44-amd64`.
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
