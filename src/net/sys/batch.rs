//! `recvmmsg` and `sendmmsg`: many datagrams per system call, rows of them as one (GSO, GRO), and their marks
//! (ECN).

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use bytes::BytesMut;
use socket2::SockAddr;

use super::control::{Ancillary, Controls, ancillary};
use crate::base::{Ecn, Envelope, Route};
use crate::net::batch::{Arrival, BATCH};

// Types are left to the compiler (`as _`) where C libraries differ.

/// Returns true if the kernel has the calls for batches, which some sandboxes do not.
pub(in crate::net) fn has_batches(socket: &impl AsFd) -> bool {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: both calls get no messages, so there is nothing to read or to write.
    let done = unsafe {
        [
            libc::recvmmsg(fd, ptr::null_mut(), 0, libc::MSG_DONTWAIT as _, ptr::null_mut()),
            libc::sendmmsg(fd, ptr::null_mut(), 0, libc::MSG_DONTWAIT as _),
        ]
    };
    done.iter().all(|done| *done >= 0)
}

/// Lets the kernel hand up consecutive datagrams of one sender that are equally long as one row (`UDP_GRO`).
/// A failure is ignored.
pub(in crate::net) fn join_received(socket: &impl AsFd) {
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
}

/// Returns true if the kernel splits rows (`UDP_SEGMENT`, Linux 4.18). A kernel without support would
/// silently send each row as one datagram.
pub(in crate::net) fn can_split(socket: &impl AsFd) -> bool {
    set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0)
}

/// Has the kernel mark datagrams that do not specify a mark; returns false if it does not.
pub(in crate::net) fn mark_sent(socket: &impl AsFd, is_ipv6: bool, ecn: Ecn) -> bool {
    let mark = libc::c_int::from(ecn.bits());
    set_option(socket, libc::IPPROTO_IP, libc::IP_TOS, mark)
        && (!is_ipv6 || set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, mark))
}

/// Receives into `slots`, at most [`BATCH`] of them, without waiting. Appends an arrival for each slot that
/// was filled, in order.
pub(in crate::net) fn receive_batch<'a>(
    socket: &impl AsFd,
    slots: impl Iterator<Item = &'a mut [u8]>,
    arrivals: &mut Vec<Arrival>,
) -> io::Result<()> {
    // Usually only a few of these are written; the others are not even touched.
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; BATCH];
    let mut controls = [const { MaybeUninit::<Controls>::uninit() }; BATCH];
    let mut count: libc::c_uint = 0;
    let places = headers.iter_mut().zip(&mut vectors).zip(&mut names).zip(&mut controls).zip(slots);
    for ((((header, vector), name), control), slot) in places {
        let header = header.write(blank());
        let vector = vector.write(libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() });
        header.msg_hdr.msg_name = name.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_storage>();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = Controls::ROOM as _;
        count += 1;
    }
    // SAFETY: the first `count` headers are filled above with pointers to names, vectors, controls and
    // slots that live, mutably borrowed, until after the call, each with its own length. No timeout.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (header, name) in headers.iter().zip(&names).take(received) {
        // SAFETY: the kernel fills no more headers than it was given, and those were written above.
        let header = unsafe { header.assume_init_ref() };
        // A length in `u32` always fits Linux's `usize`; a sender of another address family is impossible.
        let bytes = usize::try_from(header.msg_len).unwrap_or(usize::MAX);
        let remote = address(name, header.msg_hdr.msg_namelen).unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let Ancillary { datagram_bytes, ecn, local } = ancillary(&header.msg_hdr);
        let from = Envelope { route: Route { remote, local }, ecn };
        arrivals.push(Arrival { bytes, datagram_bytes: datagram_bytes.unwrap_or(bytes), from });
    }
    Ok(())
}

/// Sends datagrams from the front of `unsent`, at most [`BATCH`], and returns how many the kernel took.
/// `row_length` returns how many from the front of its argument leave as one row (`UDP_SEGMENT`), at least
/// one; all datagrams of a row have one envelope. `default_mark` is the mark of datagrams that do not specify
/// one ([`mark_sent`]); without it there are no marks.
///
/// # Errors
/// That of the first row. When a later row fails, the rows before it are counted and the error occurs on the
/// next call.
pub(in crate::net) fn send_batch(
    socket: &impl AsFd,
    mut unsent: &[(Envelope, BytesMut)],
    default_mark: Option<Ecn>,
    row_length: impl Fn(&[(Envelope, BytesMut)]) -> usize,
) -> io::Result<usize> {
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut names = [const { MaybeUninit::<SockAddr>::uninit() }; BATCH];
    let mut controls = [const { MaybeUninit::<Controls>::uninit() }; BATCH];
    let mut free_vectors = &mut vectors[..];
    let mut count: libc::c_uint = 0;
    for ((header, name), control) in headers.iter_mut().zip(&mut names).zip(&mut controls) {
        let length = row_length(unsent).min(free_vectors.len());
        let (row, rest) = unsent.split_at(length);
        let Some((to, first)) = row.first() else { break };
        let (vectors, free) = free_vectors.split_at_mut(length);
        for (vector, (_, datagram)) in vectors.iter_mut().zip(row) {
            let (iov_base, iov_len) = (datagram.as_ptr().cast_mut().cast(), datagram.len());
            vector.write(libc::iovec { iov_base, iov_len });
        }
        let header = header.write(blank());
        // `SockAddr` needs no drop, so the array may stay half written.
        let name = name.write(SockAddr::from(to.route.remote));
        header.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = name.len();
        header.msg_hdr.msg_iov = vectors.as_mut_ptr().cast();
        header.msg_hdr.msg_iovlen = length as _;
        let marks = default_mark.is_some_and(|mark| mark != to.ecn);
        if length > 1 || marks || to.route.local.is_some() {
            let control = control.write(Controls::new());
            if length > 1 {
                control.split(first.len());
            }
            if marks {
                control.mark(&to.route, to.ecn);
            }
            if let Some(local) = to.route.local {
                control.leave_from(local);
            }
            let (place, bytes) = control.as_raw();
            header.msg_hdr.msg_control = place;
            header.msg_hdr.msg_controllen = bytes as _;
        }
        (unsent, free_vectors) = (rest, free);
        count += 1;
    }
    // SAFETY: the first `count` headers are filled above with pointers to names, vectors, controls and
    // datagrams that live until after the call, each with its own length. The kernel only reads them.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel takes no more headers than it was given, and those were written above.
    let taken = headers.iter().take(sent).map(|header| unsafe { header.assume_init_ref() });
    #[allow(clippy::unnecessary_cast, reason = "not every C library counts in `usize`")]
    Ok(taken.map(|header| header.msg_hdr.msg_iovlen as usize).sum())
}

fn blank() -> libc::mmsghdr {
    // SAFETY: the C structure is integers and pointers, for which all zeros are valid values.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Forbids fragmentation on the path, without using the kernel's own estimate of the path's MTU: the protocol
/// finds the longest possible datagram by probing (RFC 8899). Returns false if the kernel does not support
/// it.
pub(in crate::net) fn never_fragment(socket: &impl AsFd, addr: SocketAddr) -> bool {
    let (level, option, value) = match addr {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    };
    // On a socket of both families, this also applies to IPv4 datagrams.
    let by_ipv4 = || set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE);
    set_option(socket, level, option, value) && (addr.is_ipv4() || by_ipv4())
}

/// Returns the longest IP packet that the link towards `remote` takes, according to the system's routes or to
/// a router on the path. Nothing is sent for it.
///
/// # Errors
/// That of the system when no route leads there.
pub(in crate::net) fn link_mtu(remote: SocketAddr) -> io::Result<Option<usize>> {
    let (any, level, option) = match remote {
        SocketAddr::V4(_) => ((Ipv4Addr::UNSPECIFIED, 0).into(), libc::IPPROTO_IP, libc::IP_MTU),
        SocketAddr::V6(_) => ((Ipv6Addr::UNSPECIFIED, 0).into(), libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let socket = UdpSocket::bind::<SocketAddr>(any)?;
    socket.connect(remote)?;
    let mut mtu: libc::c_int = 0;
    let mut bytes = length_of::<libc::c_int>();
    // SAFETY: the option's value is one `c_int`, which lives until after the call, as its length does.
    let told =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut mtu).cast(), &raw mut bytes) };
    Ok(if told == 0 { usize::try_from(mtu).ok() } else { None })
}

/// Returns the share of the send buffer that is taken by datagrams that have not left the machine. The kernel
/// counts them with its overhead for each datagram.
pub(in crate::net) fn unsent_share(socket: &impl AsFd) -> Option<f32> {
    let mut unsent: libc::c_int = 0;
    // SAFETY: the kernel writes one `c_int`, which lives until after the call. For UDP this request is
    // SIOCOUTQ of udp(7), which does that.
    let told = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ as _, &raw mut unsent) };
    let room = socket2::SockRef::from(socket).send_buffer_size().ok()?;
    #[allow(clippy::cast_precision_loss, reason = "a share need not be exact")]
    (told == 0).then(|| unsent as f32 / room.max(1) as f32)
}

/// Sets an option; returns false if the kernel refuses.
pub(super) fn set_option(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> bool {
    // SAFETY: the option's value is one `c_int`, which lives until after the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            ptr::from_ref(&value).cast(),
            length_of::<libc::c_int>(),
        )
    };
    set == 0
}

/// Returns the address that the kernel wrote, which has `bytes` bytes.
fn address(name: &MaybeUninit<libc::sockaddr_storage>, bytes: libc::socklen_t) -> Option<SocketAddr> {
    let name = name.as_ptr();
    if bytes < length_of::<libc::sockaddr_in>() {
        return None;
    }
    // SAFETY: `sockaddr_storage` begins with the family, is aligned and long enough for every address. The
    // kernel wrote a whole address of the length that it reported, so each field that is read is initialised.
    unsafe {
        match libc::c_int::from((&raw const (*name).ss_family).read()) {
            libc::AF_INET => {
                let v4 = name.cast::<libc::sockaddr_in>().read();
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 if bytes >= length_of::<libc::sockaddr_in6>() => {
                let v6 = name.cast::<libc::sockaddr_in6>().read();
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// Returns the size of `T` as C expects it.
const fn length_of<T>() -> libc::socklen_t {
    #[allow(clippy::cast_possible_truncation, reason = "a C structure's size always fits")]
    let bytes = size_of::<T>() as libc::socklen_t;
    bytes
}
