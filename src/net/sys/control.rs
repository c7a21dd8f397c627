//! Control messages: data about a datagram in addition to its bytes. `cmsg(3)`.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use super::batch::set_option;
use crate::base::{Ecn, Route};

/// All control messages of one slot, as the kernel lays them out, in words of its alignment.
#[repr(C)]
pub(super) struct Controls {
    words: [usize; Self::ROOM / WORD],
    bytes: usize,
}

/// The kernel's data about a received slot.
#[derive(Default)]
pub(super) struct Ancillary {
    /// Length of each datagram of a row except the last; `None` for a single datagram.
    pub(super) datagram_bytes: Option<usize>,
    pub(super) ecn: Ecn,
    /// The address of this host that it came to.
    pub(super) local: Option<IpAddr>,
}

const WORD: usize = size_of::<usize>();

/// Has the kernel report the mark of each received datagram (RFC 3168). A failure is ignored; all datagrams
/// then appear to arrive unmarked.
pub(in crate::net) fn read_marks(socket: &impl AsFd) {
    // A socket of both families takes both options, one of IPv4 only the first.
    set_option(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1);
    set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1);
}

/// Has the kernel report which address of this host each received datagram came to. A failure is ignored; no
/// address is then reported.
pub(in crate::net) fn read_local_addresses(socket: &impl AsFd, is_ipv6: bool) {
    // An IPv6 socket also reports it for IPv4 senders, with mapped addresses.
    let (level, option) = if is_ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    set_option(socket, level, option, 1);
}

impl Controls {
    /// Room for all possible messages: two integers and an address.
    pub(super) const ROOM: usize =
        2 * space(size_of::<libc::c_int>()) + space(size_of::<libc::in6_pktinfo>());

    /// Creates a buffer without messages.
    pub(super) const fn new() -> Self {
        Self { words: [0; _], bytes: 0 }
    }

    /// Returns the location of the messages and their length in bytes.
    pub(super) fn as_raw(&mut self) -> (*mut libc::c_void, usize) {
        (self.words.as_mut_ptr().cast(), self.bytes)
    }

    /// Has the kernel split what it is given into datagrams of `datagram_bytes`.
    pub(super) fn split(&mut self, datagram_bytes: usize) {
        #[allow(clippy::cast_possible_truncation, reason = "a row of two datagrams fits a packet")]
        let value = datagram_bytes as u16;
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, value);
    }

    /// Has the kernel mark datagrams on this route.
    pub(super) fn mark(&mut self, route: &Route, ecn: Ecn) {
        // An IPv6 socket also sends IPv4 packets.
        let (level, kind) = match route.remote.ip().to_canonical() {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        };
        self.push(level, kind, libc::c_int::from(ecn.bits()));
    }

    /// Has the kernel send from this address, one of those that it has reported.
    pub(super) fn leave_from(&mut self, local: IpAddr) {
        match local {
            IpAddr::V4(ip) => {
                let address = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                let any = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: any };
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(ip) => {
                let address = libc::in6_addr { s6_addr: ip.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }

    /// Appends a message with one C value, or nothing if there is no room for it.
    fn push<T>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let end = self.bytes + space(size_of::<T>());
        debug_assert!(end <= Self::ROOM, "as many as are counted there");
        if end > Self::ROOM {
            return;
        }
        // SAFETY: a header is integers, for which zeros are valid values. It and the value lie within the
        // words, as just checked, and each is written without regard to its alignment.
        unsafe {
            let mut header: libc::cmsghdr = MaybeUninit::zeroed().assume_init();
            (header.cmsg_level, header.cmsg_type) = (level, kind);
            header.cmsg_len = (HEADER + size_of::<T>()) as _;
            let at = self.words.as_mut_ptr().byte_add(self.bytes);
            at.cast::<libc::cmsghdr>().write_unaligned(header);
            at.byte_add(HEADER).cast::<T>().write_unaligned(value);
        }
        self.bytes = end;
    }
}

/// Returns the kernel's data about a received message.
pub(super) fn ancillary(header: &libc::msghdr) -> Ancillary {
    debug_assert_eq!(header.msg_flags & libc::MSG_CTRUNC, 0, "there is room for all that were asked for");
    let mut ancillary = Ancillary::default();
    // SAFETY: the kernel has filled the header's control buffer, which still lives, and its length.
    let mut next: *const libc::cmsghdr = unsafe { libc::CMSG_FIRSTHDR(header) };
    // A pointer, not a reference, because the data that is read lies behind the header.
    while !next.is_null() {
        // SAFETY: `next` is the header of a message in the buffer. Each of these kinds holds a value of the
        // type that is read here, which the kernel wrote whole (of IPv4's mark it writes one byte).
        unsafe {
            let value = libc::CMSG_DATA(next);
            match ((*next).cmsg_level, (*next).cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    ancillary.datagram_bytes =
                        usize::try_from(value.cast::<libc::c_int>().read_unaligned()).ok();
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => ancillary.ecn = Ecn::from_bits(value.read()),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    let [low, ..] = value.cast::<libc::c_int>().read_unaligned().to_le_bytes();
                    ancillary.ecn = Ecn::from_bits(low);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    // Not the destination, which may be a broadcast address.
                    let info = value.cast::<libc::in_pktinfo>().read_unaligned();
                    ancillary.local = Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = value.cast::<libc::in6_pktinfo>().read_unaligned();
                    ancillary.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
        }
        // SAFETY: as for the first one, which this one follows.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    ancillary
}

/// Length of the part of a message before its value.
const HEADER: usize = size_of::<libc::cmsghdr>().next_multiple_of(WORD);

/// Returns the length of a message whose value has `value_bytes`.
const fn space(value_bytes: usize) -> usize {
    HEADER + value_bytes.next_multiple_of(WORD)
}
