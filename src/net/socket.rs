//! Sockets with sized kernel buffers.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};
use tracing::warn;

use super::Counters;
use crate::base::sync::Mutex;
use crate::wire::MAX_RECEIVED_DATAGRAM_BYTES;

/// A bound UDP socket, not yet part of a runtime; it may be moved to the thread that drives it.
#[derive(Debug)]
pub struct Socket {
    pub(super) udp: UdpSocket,
    pub(super) path: IoPath,
    pub(super) busy_poll: Duration,
    pub(super) shares_timer: bool,
    /// See [`Self::with_local_addresses`].
    pub(super) names_local: bool,
    forbids_fragments: bool,
    counters: Arc<Counters>,
}

/// Kernel buffer sizes to request, in bytes per socket. If the kernel grants less, a warning is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSizes {
    /// Receive buffer, for datagrams that arrive while the thread is busy.
    pub receive_bytes: usize,
    /// Send buffer, for datagrams that a turn of the loop sends faster than the interface takes them.
    pub send_bytes: usize,
}

/// How datagrams are exchanged with the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IoPath {
    /// Many datagrams per system call, and rows of equally long ones as one, where the system supports it
    /// (Linux: `recvmmsg`, `sendmmsg`, `UDP_SEGMENT`, `UDP_GRO`), with their marks (ECN). Anything else is
    /// done as with [`IoPath::Portable`].
    #[default]
    Batched,
    /// One datagram per system call, on every system. All leave, and appear to arrive, without marks.
    Portable,
}

/// Sockets bound to one address.
#[derive(Debug)]
pub struct Group {
    /// The sockets, in the order that [`Steering`] refers to.
    pub sockets: Vec<Socket>,
    /// False if the kernel distributes all datagrams by their senders.
    pub is_steered: bool,
}

/// How a datagram selects its socket in a group, if its sender specifies one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steering {
    /// Bits that are set in the first byte of such a datagram.
    pub mark: u8,
    /// Position of the byte that holds the index of the socket, counted from 0 in the order of the group.
    pub at: u8,
}

/// Binds to `addr`; for port 0 the system chooses one.
///
/// # Errors
/// Those of the system: the address is in use, not of this machine, or not allowed.
pub fn bind(addr: SocketAddr, buffers: BufferSizes) -> io::Result<Socket> {
    let (socket, forbids_fragments) = unbound(addr, buffers)?;
    socket.bind(&addr.into())?;
    Ok(Socket::from_bound(socket, forbids_fragments))
}

/// Binds `count` sockets to `addr`, over which the kernel distributes the senders; for port 0 the system
/// chooses one. Datagrams that match `steering` go to the socket that they specify, where the system supports
/// this (Linux 4.5).
///
/// # Errors
/// Those of [`bind`], or the system cannot share a port.
pub fn bind_group(
    addr: SocketAddr,
    buffers: BufferSizes,
    count: NonZeroU8,
    steering: Steering,
) -> io::Result<Group> {
    let first = bind(addr, buffers)?;
    let addr = first.local_addr()?;
    let mut group = vec![first];
    if count.get() > 1 {
        // Only now: sockets that share from the beginning do not detect those of another group, and the
        // system may give them the port of one for port 0.
        group.iter().try_for_each(|first| share_port(&SockRef::from(&first.udp)))?;
    }
    for _ in 1..count.get() {
        let (socket, forbids_fragments) = unbound(addr, buffers)?;
        share_port(&SockRef::from(&socket))?;
        socket.bind(&addr.into())?;
        group.push(Socket::from_bound(socket, forbids_fragments));
    }
    let is_steered = match &group[..] {
        [first, _, ..] => steer(&first.udp, steering),
        _ => true,
    };
    Ok(Group { sockets: group, is_steered })
}

#[cfg(target_os = "linux")]
fn steer(socket: &UdpSocket, Steering { mark, at }: Steering) -> bool {
    let steered = super::sys::steer(socket, mark, at);
    steered.inspect_err(|error| warn!(%error, "datagrams are spread by their senders alone")).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn steer(_: &UdpSocket, _: Steering) -> bool {
    false
}

/// Creates a socket; returns it and whether it keeps IP from fragmenting datagrams.
fn unbound(addr: SocketAddr, buffers: BufferSizes) -> io::Result<(socket2::Socket, bool)> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        // `[::]` also serves IPv4; a system that cannot do that still serves IPv6.
        let _ = socket.set_only_v6(false);
    }
    size_buffers(&socket, buffers);
    let forbids_fragments = never_fragment(&socket, addr);
    Ok((socket, forbids_fragments))
}

#[cfg(target_os = "linux")]
fn never_fragment(socket: &socket2::Socket, addr: SocketAddr) -> bool {
    super::sys::never_fragment(socket, addr)
}

#[cfg(not(target_os = "linux"))]
fn never_fragment(_: &socket2::Socket, _: SocketAddr) -> bool {
    false
}

/// The largest datagram that the link towards `remote` takes, UDP payload in bytes, according to the system's routes;
/// `None` where the system does not know. Sends nothing. Leaves room for the headers of IPv6 also on IPv4, since a gateway
/// may translate.
///
/// # Errors
/// That of the system when it has no route to `remote`.
pub fn link_datagram_bytes(remote: SocketAddr) -> io::Result<Option<usize>> {
    #[cfg(target_os = "linux")]
    return Ok(super::sys::link_mtu(remote)?.and_then(|mtu| mtu.checked_sub(IPV6_AND_UDP_BYTES)));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = remote;
        Ok(None)
    }
}

/// Length of the headers of IPv6 (RFC 8200) and UDP.
#[cfg(target_os = "linux")]
const IPV6_AND_UDP_BYTES: usize = 40 + 8;

/// Raises this process's limit of open sockets as far as the system allows, for callers that need thousands;
/// returns the new limit. `None` if it is unknown, in which case nothing changes.
pub fn allow_many_sockets() -> Option<u64> {
    #[cfg(target_os = "linux")]
    match super::sys::raise_open_files() {
        Ok(limit) => return Some(limit),
        Err(error) => warn!(%error, "the limit of open files stays as it is"),
    }
    None
}

/// Returns true if `receive_bytes` is room for 2,000 small datagrams, each of which the kernel counts as
/// about 1 KiB. That is what arrives in 20 ms at 100,000 per second.
fn is_roomy(receive_bytes: usize) -> bool {
    receive_bytes >= 2 << 20
}

impl Socket {
    /// Longest datagram that is received, in bytes; longer ones are dropped and counted.
    pub const MAX_DATAGRAM_BYTES: usize = MAX_RECEIVED_DATAGRAM_BYTES as usize;

    fn from_bound(socket: socket2::Socket, forbids_fragments: bool) -> Self {
        Self {
            udp: socket.into(),
            forbids_fragments,
            path: IoPath::default(),
            busy_poll: Duration::ZERO,
            shares_timer: false,
            names_local: false,
            counters: Arc::default(),
        }
    }

    /// Returns the bound address, including its port.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Returns true if the socket keeps IP from fragmenting datagrams, as on Linux. Otherwise, the arrival of
    /// a datagram proves nothing about the path, since it may have arrived in fragments, and no datagram
    /// should be sent that is larger than every path takes.
    // spec: MTU-1
    pub fn forbids_fragments(&self) -> bool {
        self.forbids_fragments
    }

    /// Returns the requested way of exchanging datagrams with the kernel.
    pub fn path(&self) -> IoPath {
        self.path
    }

    /// Sets how datagrams are exchanged with the kernel.
    pub fn with_path(mut self, path: IoPath) -> Self {
        self.path = path;
        self
    }

    /// Sets the time after a datagram for which the loop looks for the next one without sleeping. A datagram
    /// that arrives in this time is not delayed by the wakeup of a core; the price is a busy core. Default:
    /// zero.
    pub fn with_busy_poll(mut self, time: Duration) -> Self {
        self.busy_poll = time;
        self
    }

    /// Makes a socket that is bound to all addresses of this host report which of them each datagram came to,
    /// and send each datagram from the address that its route names ([`Route::local`](crate::base::Route)),
    /// where the system supports this (Linux, [`IoPath::Batched`]); elsewhere the loop warns that it does
    /// not. For a server, whose clients accept no answer from an address other than the one that they
    /// contacted.
    pub fn with_local_addresses(mut self) -> Self {
        if let Ok(addr) = self.udp.local_addr()
            && addr.ip().is_unspecified()
        {
            self.names_local = true;
            #[cfg(target_os = "linux")]
            super::sys::read_local_addresses(&self.udp, addr.is_ipv6());
        }
        self
    }

    /// Makes the loop's timer share one descriptor with other such loops on the same runtime. With many loops
    /// this also saves system calls; with a single one, the timer is slightly later.
    pub fn with_shared_timer(mut self) -> Self {
        self.shares_timer = true;
        self
    }

    /// Returns true if the receive buffer holds what arrives while a loop sends for a long time or rests.
    pub(super) fn is_roomy(&self) -> bool {
        SockRef::from(&self.udp).recv_buffer_size().is_ok_and(is_roomy)
    }

    /// Returns the socket's totals, which remain readable while and after it is driven.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl Default for BufferSizes {
    /// Returns 4 MiB each: 50 ms of 100,000 datagrams per second, counted as the kernel does.
    fn default() -> Self {
        Self { receive_bytes: 4 << 20, send_bytes: 4 << 20 }
    }
}

#[cfg(unix)]
fn share_port(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn share_port(_: &SockRef<'_>) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system cannot share a port"))
}

/// Sizes both buffers as far as the kernel allows.
fn size_buffers(socket: &socket2::Socket, buffers: BufferSizes) {
    let socket = SockRef::from(socket);
    let asked = socket.set_recv_buffer_size(buffers.receive_bytes.min(MAX_BUFFER_BYTES));
    warn_when_capped("receive", buffers.receive_bytes, asked.and_then(|()| socket.recv_buffer_size()));
    let asked = socket.set_send_buffer_size(buffers.send_bytes.min(MAX_BUFFER_BYTES));
    warn_when_capped("send", buffers.send_bytes, asked.and_then(|()| socket.send_buffer_size()));
}

/// The system call takes a C `int`; of a larger value it would see the lower bits alone.
const MAX_BUFFER_BYTES: usize = i32::MAX as usize;

/// Logs a warning if a busy socket would lose datagrams because of a small buffer: once per process, which may have
/// thousands of sockets.
fn warn_when_capped(which: &'static str, asked_bytes: usize, granted: io::Result<usize>) {
    static SAID: LazyLock<Mutex<Vec<&str>>> = LazyLock::new(Mutex::default);
    if granted.as_ref().is_ok_and(|bytes| usable(*bytes) >= asked_bytes) {
        return;
    }
    let mut said = SAID.lock();
    if said.contains(&which) {
        return;
    }
    said.push(which);
    match granted {
        Ok(bytes) => warn!(
            which,
            asked_bytes,
            granted_bytes = usable(bytes),
            "the kernel caps the socket's buffer (Linux: net.core.rmem_max, net.core.wmem_max)"
        ),
        Err(error) => warn!(which, asked_bytes, %error, "the socket's buffer could not be sized"),
    }
}

/// Returns the usable part. Linux doubles the requested size to have room for its bookkeeping, and reports
/// the double.
const fn usable(reported_bytes: usize) -> usize {
    if cfg!(target_os = "linux") { reported_bytes / 2 } else { reported_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEERING: Steering = Steering { mark: 0x80, at: 1 };

    fn loopback() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    #[test]
    fn port_0_asks_the_system_for_one() {
        let socket = bind(loopback(), BufferSizes::default()).unwrap();
        assert_ne!(socket.local_addr().unwrap().port(), 0);
    }

    // spec-test: MTU-1
    #[test]
    fn sockets_know_whether_they_keep_ip_from_cutting_datagrams() {
        for address in ["127.0.0.1:0", "[::]:0", "[::1]:0"] {
            let Ok(socket) = bind(address.parse().unwrap(), BufferSizes::default()) else { continue };
            assert_eq!(socket.forbids_fragments(), cfg!(target_os = "linux"), "{address}");
        }
    }

    /// Loopback packets have up to 65,536 bytes.
    // spec-test: HSK-16
    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_says_what_a_link_takes() {
        let bytes = link_datagram_bytes(loopback()).unwrap().unwrap();
        assert!((1_232..=65_488).contains(&bytes), "{bytes}");
        let is_reached = UdpSocket::bind("[::1]:0").is_ok();
        assert_eq!(link_datagram_bytes("[::1]:9".parse().unwrap()).is_ok(), is_reached);
        // A broadcast address: not permitted, or without a route where loopback is the only interface.
        assert!(link_datagram_bytes(([255; 4], 9).into()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_port_is_shared_only_on_request() {
        let three = NonZeroU8::new(3).unwrap();
        let group = bind_group(loopback(), BufferSizes::default(), three, STEERING).unwrap().sockets;
        let addr = group[0].local_addr().unwrap();
        assert!(group.len() == 3 && group.iter().all(|socket| socket.local_addr().unwrap() == addr));
        assert!(bind(addr, BufferSizes::default()).is_err());
        assert!(bind_group(addr, BufferSizes::default(), three, STEERING).is_err());
    }

    /// With sockets that share from the beginning, about one in 200 pairs had the port of another pair.
    #[cfg(unix)]
    #[test]
    fn groups_get_ports_of_their_own() {
        let two = NonZeroU8::new(2).unwrap();
        let groups: Vec<_> = (0..300)
            .map(|_| bind_group(loopback(), BufferSizes::default(), two, STEERING).unwrap().sockets)
            .collect();
        let ports = groups.iter().map(|group| group[0].local_addr().unwrap().port());
        assert_eq!(ports.collect::<std::collections::BTreeSet<_>>().len(), groups.len());
    }

    #[test]
    fn a_small_buffer_is_not_roomy() {
        let small = BufferSizes { receive_bytes: 1 << 16, send_bytes: 1 << 16 };
        assert!(!bind(loopback(), small).unwrap().is_roomy());
        assert!(is_roomy(4 << 20) && !is_roomy(425_984), "what a stock Linux grants");
    }

    #[test]
    fn an_absurd_buffer_is_capped_not_fatal() {
        let granted = |bytes| {
            let socket = bind(loopback(), BufferSizes { receive_bytes: bytes, send_bytes: bytes }).unwrap();
            let socket = SockRef::from(&socket.udp);
            (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap())
        };
        assert_eq!(granted(usize::MAX), granted(1 << 30));
    }

    /// Three sockets of a group and twelve senders, so that the kernel would distribute them over all
    /// sockets.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_datagram_goes_to_the_socket_that_it_says() {
        let three = NonZeroU8::new(3).unwrap();
        let Group { sockets: group, is_steered } =
            bind_group(loopback(), BufferSizes::default(), three, STEERING).unwrap();
        assert!(is_steered);
        let to = group[0].local_addr().unwrap();
        let senders: Vec<_> = (0..12).map(|_| UdpSocket::bind(loopback()).unwrap()).collect();
        let received = || -> Vec<Vec<u8>> {
            let of = |socket: &Socket| {
                let mut first_bytes = Vec::new();
                let mut datagram = [0; 4];
                while let Ok((bytes, _)) = socket.udp.recv_from(&mut datagram) {
                    first_bytes.push(datagram[bytes.min(2) - 1]);
                }
                first_bytes
            };
            group.iter().map(of).collect()
        };
        for place in [2, 0, 1] {
            senders.iter().for_each(|sender| assert_eq!(sender.send_to(&[0xc0, place, 9], to).unwrap(), 3));
            let mut expected = vec![vec![]; 3];
            expected[usize::from(place)] = vec![place; 12];
            assert_eq!(received(), expected);
        }
        // Without the mark, with an index that does not exist, or too short to contain one.
        for datagram in [&[0x40, 2, 9][..], &[0x80, 3, 9], &[0x80]] {
            senders
                .iter()
                .for_each(|sender| assert_eq!(sender.send_to(datagram, to).unwrap(), datagram.len()));
            let spread = received();
            assert_eq!(spread.concat().len(), 12, "{datagram:?}");
            assert!(
                spread.iter().filter(|socket| !socket.is_empty()).count() > 1,
                "{datagram:?}: {spread:?}"
            );
        }
    }
}
