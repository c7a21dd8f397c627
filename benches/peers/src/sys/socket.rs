//! UDP sockets with large buffers, and waiting for one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use super::{check, check_uninterrupted, size, timespec};

/// Size of both buffers of a server's socket: what Rallypoint's server requests by itself.
const SERVER_BUFFER: libc::c_int = 4 << 20;
/// Size of both buffers of a client's socket: what Rallypoint's client requests by itself.
const CLIENT_BUFFER: libc::c_int = 1 << 20;

/// Returns a server's blocking socket on a free port of loopback.
///
/// # Errors
/// The system's errors.
pub fn udp_server() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    enlarge(socket.as_raw_fd(), SERVER_BUFFER)?;
    Ok(socket)
}

/// Returns a client's non-blocking socket, connected to `server`.
///
/// # Errors
/// The system's errors.
pub fn udp_client(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = udp_unconnected()?;
    socket.connect(server)?;
    Ok(socket)
}

/// Returns an unconnected client's socket, for a library that names the receiver of each datagram.
///
/// # Errors
/// The system's errors.
pub fn udp_unconnected() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    enlarge(socket.as_raw_fd(), CLIENT_BUFFER)?;
    Ok(socket)
}

/// Gives a server's socket made by a library the same buffers as all others.
///
/// # Errors
/// The system's errors.
#[cfg(feature = "enet")]
pub fn enlarge_server_buffers(socket: &impl AsRawFd) -> io::Result<()> {
    enlarge(socket.as_raw_fd(), SERVER_BUFFER)
}

/// Does the same for a client's socket.
///
/// # Errors
/// The system's errors.
#[cfg(feature = "enet")]
pub fn enlarge_client_buffers(socket: &impl AsRawFd) -> io::Result<()> {
    enlarge(socket.as_raw_fd(), CLIENT_BUFFER)
}

/// Requests buffer sizes; the system grants at most its own limit, the same for every peer.
fn enlarge(fd: RawFd, bytes: libc::c_int) -> io::Result<()> {
    for option in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        let value = (&raw const bytes).cast();
        // SAFETY: `value` points to an integer of the size that is passed.
        check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, value, size::<libc::c_int>()) })?;
    }
    Ok(())
}

/// Waits until the socket is readable, for at most `nanos`; returns whether it is.
///
/// # Errors
/// The system's errors.
pub fn wait_readable(fd: RawFd, nanos: u64) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let timeout = timespec(nanos);
    // SAFETY: `poll` is one entry, `timeout` is valid for reads, and no signal mask is given.
    let ready = unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) };
    check_uninterrupted(ready).map(|count| count > 0)
}
