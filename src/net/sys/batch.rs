//! `recvmmsg` and `sendmmsg`: many datagrams a system call.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use bytes::BytesMut;
use socket2::SockAddr;

use crate::net::batch::{Arrival, BATCH};

/// Receives into `slots`, at most [`BATCH`] of them, without waiting. Appends length and sender for
/// each slot that was filled, in order; a datagram longer than its slot fills it.
pub(in crate::net) fn receive_batch<'a>(
    socket: &impl AsFd,
    slots: impl Iterator<Item = &'a mut [u8]>,
    arrivals: &mut Vec<Arrival>,
) -> io::Result<()> {
    // SAFETY: these C structures are integers and pointers, for which all zeros are valid values.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    let mut vectors: [libc::iovec; BATCH] = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut count: libc::c_uint = 0;
    let places = headers.iter_mut().zip(&mut names).zip(&mut vectors).zip(slots);
    for (((header, name), vector), slot) in places {
        vector.iov_base = slot.as_mut_ptr().cast();
        vector.iov_len = slot.len();
        header.msg_hdr.msg_name = ptr::from_mut(name).cast();
        header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_storage>();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` headers are filled above with pointers to names, vectors and slots
    // that live, mutably borrowed, until after the call, each with its own length. No control
    // buffers, no timeout.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (header, name) in headers.iter().zip(&names).take(received) {
        // A length in `u32` always fits Linux' `usize`; a sender of another family cannot be.
        let bytes = usize::try_from(header.msg_len).unwrap_or(usize::MAX);
        arrivals.push((bytes, address(name).unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into())));
    }
    Ok(())
}

/// Sends datagrams from the front of `unsent`, at most [`BATCH`]; how many the kernel took.
///
/// # Errors
/// That of the first datagram; when a later one fails, those before it are counted and the error
/// shows on the next call.
pub(in crate::net) fn send_batch(socket: &impl AsFd, unsent: &[(SocketAddr, BytesMut)]) -> io::Result<usize> {
    // SAFETY: these C structures are integers and pointers, for which all zeros are valid values.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    let mut vectors: [libc::iovec; BATCH] = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut names: [MaybeUninit<SockAddr>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    let mut count: libc::c_uint = 0;
    let places = headers.iter_mut().zip(&mut names).zip(&mut vectors).zip(unsent);
    for (((header, name), vector), (to, datagram)) in places {
        // `SockAddr` needs no drop, so the array may stay half written.
        let name = name.write(SockAddr::from(*to));
        vector.iov_base = datagram.as_ptr().cast_mut().cast();
        vector.iov_len = datagram.len();
        header.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = name.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` headers are filled above with pointers to names, vectors and
    // datagrams that live until after the call, each with its own length. The kernel only reads
    // names and datagrams. No control buffers.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Forbids fragments on the way, without believing the kernel's own idea of the path's MTU: the
/// protocol finds out how long a datagram may be by probing (RFC 8899). What cannot be set is left.
pub(in crate::net) fn never_fragment(socket: &impl AsFd, addr: SocketAddr) {
    let (level, option, value) = match addr {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    };
    set_option(socket, level, option, value);
    if addr.is_ipv6() {
        // For IPv4 senders on a socket of both families.
        set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE);
    }
}

fn set_option(socket: &impl AsFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    // SAFETY: the option's value is one `c_int`, which lives until after the call.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            ptr::from_ref(&value).cast(),
            length_of::<libc::c_int>(),
        )
    };
}

/// The address that the kernel wrote.
fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let name = ptr::from_ref(name);
    // SAFETY: `sockaddr_storage` begins with the family, is aligned and long enough for every
    // address, and was zeroed before the kernel wrote: each field read is initialised.
    unsafe {
        match libc::c_int::from((*name).ss_family) {
            libc::AF_INET => {
                let v4 = *name.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let v6 = *name.cast::<libc::sockaddr_in6>();
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// The size of `T` as C wants it.
const fn length_of<T>() -> libc::socklen_t {
    #[allow(clippy::cast_possible_truncation, reason = "a C structure's size always fits")]
    let bytes = size_of::<T>() as libc::socklen_t;
    bytes
}
