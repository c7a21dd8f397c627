//! UDP sockets with large buffers, and waiting for one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use super::{check, check_uninterrupted, size, timespec};

/// Both buffers of a server's socket: what Rallypoint's server asks for by itself.
const SERVER_BUFFER: libc::c_int = 4 << 20;
/// Both buffers of a client's socket: what Rallypoint's client asks for by itself.
const CLIENT_BUFFER: libc::c_int = 1 << 20;

/// A server's socket on a free port of loopback; blocking.
///
/// # Errors
/// The system's.
pub fn udp_server() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    enlarge(socket.as_raw_fd(), SERVER_BUFFER)?;
    Ok(socket)
}

/// A client's socket, connected to `server`; not blocking.
///
/// # Errors
/// The system's.
pub fn udp_client(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = udp_unconnected()?;
    socket.connect(server)?;
    Ok(socket)
}

/// The same for a library that names the receiver of each datagram.
///
/// # Errors
/// The system's.
pub fn udp_unconnected() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    enlarge(socket.as_raw_fd(), CLIENT_BUFFER)?;
    Ok(socket)
}

/// Gives a server's socket that a library made the buffers of all others.
///
/// # Errors
/// The system's.
#[cfg(feature = "enet")]
pub fn enlarge_server_buffers(socket: &impl AsRawFd) -> io::Result<()> {
    enlarge(socket.as_raw_fd(), SERVER_BUFFER)
}

/// The same for a client's.
///
/// # Errors
/// The system's.
#[cfg(feature = "enet")]
pub fn enlarge_client_buffers(socket: &impl AsRawFd) -> io::Result<()> {
    enlarge(socket.as_raw_fd(), CLIENT_BUFFER)
}

/// What the system grants is at most its own limit, for every peer the same.
fn enlarge(fd: RawFd, bytes: libc::c_int) -> io::Result<()> {
    for option in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        let value = (&raw const bytes).cast();
        // SAFETY: `value` points to an integer of the size that is told.
        check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, value, size::<libc::c_int>()) })?;
    }
    Ok(())
}

/// Waits until the socket can be read, for `nanos` at most; whether it can.
///
/// # Errors
/// The system's.
pub fn wait_readable(fd: RawFd, nanos: u64) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let timeout = timespec(nanos);
    // SAFETY: `poll` is one entry, `timeout` is valid for reads, and no signal mask is given.
    let ready = unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) };
    check_uninterrupted(ready).map(|count| count > 0)
}
