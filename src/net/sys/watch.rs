//! Descriptors watched by the runtime.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A type that owns one descriptor.
///
/// # Safety
/// The descriptor is open and stays the same for as long as a value of the type lives.
pub(in crate::net) unsafe trait Owned: AsRawFd {}

// SAFETY: a socket is closed when it is dropped, and never replaced.
unsafe impl Owned for UdpSocket {}
// SAFETY: as above; it holds an `OwnedFd`.
unsafe impl Owned for super::TimerFd {}

/// Makes the current runtime watch a descriptor that it does not watch yet.
///
/// # Errors
/// Those of the system.
pub(in crate::net) fn watch<T: Owned>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor is open as long as the value lives, and always the same, by `Owned`.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}
