//! The low-water mark of a TCP socket: how many bytes wake its reader.
//!
//! A reader that is woken for whatever has come in reads a few packets and sleeps again; each time
//! costs two switches and a cache that has forgotten what the task works with, and meanwhile the
//! broker finds the window closed. See docs/adr/0014-low-water-mark.md.

use std::io;

use tokio::net::TcpStream;

/// Sets the mark, and sees to it that the kernel has room for what comes while the bytes up to it
/// are copied.
#[cfg(target_os = "linux")]
pub(crate) fn set(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    use nix::sys::socket::setsockopt;
    if !linux::wakes_when_lowered() {
        return Ok(());
    }
    let mark = i32::try_from(bytes).unwrap_or(i32::MAX);
    if mark > 1 {
        // The kernel makes the receive buffer large enough for any mark, and leaves it so. One that
        // is just as large as the mark has the broker wait until all of it is copied.
        setsockopt(stream, linux::LowWaterMark, &mark.saturating_mul(2))?;
    }
    Ok(setsockopt(stream, linux::LowWaterMark, &mark)?)
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
        sys::{socket::sockopt::SetStruct, utsname::uname},
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

    /// Linux 4.18 is the first that wakes a reader for whom a lowered mark makes enough of what is
    /// there already. On older ones, and on what claims to be one, it would sleep on.
    pub(super) fn wakes_when_lowered() -> bool {
        static KNOWN: OnceLock<bool> = OnceLock::new();
        *KNOWN.get_or_init(|| {
            uname().is_ok_and(|system| {
                system.release().to_str().and_then(version).is_some_and(|at| at >= (4, 18))
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
        assert!(version("4.9.337") < Some((4, 18)));
    }
}
