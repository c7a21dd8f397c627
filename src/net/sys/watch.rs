//! Descriptors that the runtime watches.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A type that owns one descriptor, open and the same for as long as a value of it lives.
pub(in crate::net) trait Owned: AsRawFd {}

impl Owned for UdpSocket {}
impl Owned for super::TimerFd {}

/// Has the current runtime watch a descriptor that is not watched yet.
///
/// # Errors
/// Those of the system.
pub(in crate::net) fn watch<T: Owned>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor is open as long as the value lives, and always the same, by `Owned`.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}
