//! Datagrams received and sent in batches: [`ReceiveBatch`] and [`SendBatch`].
//!
//! | file | what it is |
//! |---|---|
//! | `receive` | receives, and hands up one batch at a time |
//! | `send` | sends one batch at a time |

mod receive;
mod send;

#[cfg(target_os = "linux")]
pub(super) use self::receive::Arrival;
#[cfg(test)]
pub(super) use self::receive::MIN_ASKED;
pub(super) use self::receive::ReceiveBatch;
pub(super) use self::send::{Flushed, SendBatch};

use std::io;

/// Maximum number of datagrams handed up or sent at once.
pub(super) const BATCH: usize = 64;

/// Returns true for an error that concerns one datagram or one moment; false if the socket itself is broken.
fn is_transient(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(code) = error.raw_os_error() {
        return ![libc::EBADF, libc::ENOTSOCK, libc::EFAULT, libc::EOPNOTSUPP].contains(&code);
    }
    !matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_the_path_or_the_moment_is_not_the_end_of_a_socket() {
        let moments = [
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::ENETDOWN,
            libc::ENOBUFS,
            libc::EPERM,
            libc::EMSGSIZE,
            libc::ECONNREFUSED,
            libc::EADDRNOTAVAIL,
        ];
        for code in moments {
            assert!(is_transient(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [libc::EBADF, libc::ENOTSOCK] {
            assert!(!is_transient(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
