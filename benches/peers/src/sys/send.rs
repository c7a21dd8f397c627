//! [`SendBatch`]: many datagrams with one `sendmmsg`.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use super::{check, size};

/// Datagrams that are sent together.
#[derive(Default)]
pub struct SendBatch {
    bytes: Vec<u8>,
    queued: Vec<Queued>,
    addresses: Vec<libc::sockaddr_in>,
    parts: Vec<libc::iovec>,
    heads: Vec<libc::mmsghdr>,
    /// Number of bytes sent.
    pub sent_bytes: u64,
    /// Number of datagrams sent.
    pub sent: u64,
    /// Number of datagrams that the system did not accept, which are lost.
    pub refused: u64,
}

struct Queued {
    to: SocketAddrV4,
    begin: usize,
    end: usize,
}

/// Maximum number of datagrams per call.
const DATAGRAMS: usize = 1_024;

impl SendBatch {
    /// Queues one datagram.
    pub fn push(&mut self, to: SocketAddrV4, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.push_again(to, datagram.len());
    }

    /// Queues the last datagram, of `len` bytes, for another receiver, without a copy.
    pub fn push_again(&mut self, to: SocketAddrV4, len: usize) {
        let end = self.bytes.len();
        self.queued.push(Queued { to, begin: end - len, end });
    }

    /// Sends everything that is queued. Datagrams that the system does not accept are lost and counted, as is
    /// normal for UDP.
    pub fn flush(&mut self, socket: &UdpSocket) {
        if self.queued.is_empty() {
            return;
        }
        self.lay_out();
        let mut next = 0;
        while next < self.heads.len() {
            let count = (self.heads.len() - next).min(DATAGRAMS);
            let heads = &mut self.heads[next..next + count];
            // SAFETY: each head points to one part and one address of this batch, which live longer than
            // the call and are not touched meanwhile; parts lie within `bytes`.
            let sent =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), heads.as_mut_ptr(), count as libc::c_uint, 0) };
            match check(sent) {
                Ok(sent) => {
                    self.sent += sent as u64;
                    let bytes = self.queued[next..next + sent].iter().map(|one| one.end - one.begin);
                    self.sent_bytes += bytes.sum::<usize>() as u64;
                    next += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.refused += 1;
                    next += 1;
                }
            }
        }
        self.queued.clear();
        self.bytes.clear();
    }

    fn lay_out(&mut self) {
        self.addresses.clear();
        self.parts.clear();
        self.heads.clear();
        for one in &self.queued {
            // SAFETY: zeros are a valid address, which names nothing.
            let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_port = one.to.port().to_be();
            address.sin_addr.s_addr = u32::from(*one.to.ip()).to_be();
            self.addresses.push(address);
            let bytes = &mut self.bytes[one.begin..one.end];
            self.parts.push(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() });
        }
        for (address, part) in self.addresses.iter_mut().zip(&mut self.parts) {
            // SAFETY: zeros are a valid head, without parts and address.
            let mut head: libc::mmsghdr = unsafe { std::mem::zeroed() };
            head.msg_hdr.msg_name = (&raw mut *address).cast();
            head.msg_hdr.msg_namelen = size::<libc::sockaddr_in>();
            head.msg_hdr.msg_iov = &raw mut *part;
            head.msg_hdr.msg_iovlen = 1;
            self.heads.push(head);
        }
    }
}
