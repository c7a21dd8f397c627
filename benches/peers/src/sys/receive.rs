//! [`ReceiveBatch`]: many datagrams with one `recvmmsg`.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use super::{check_uninterrupted, size};

/// Buffers for the datagrams of one call.
pub struct ReceiveBatch {
    buffers: Vec<[u8; BYTES]>,
    senders: Vec<libc::sockaddr_in>,
    parts: Vec<libc::iovec>,
    heads: Vec<libc::mmsghdr>,
}

/// Maximum length of a datagram.
const BYTES: usize = 2_048;

impl ReceiveBatch {
    /// Returns buffers for `datagrams` datagrams per call.
    pub fn new(datagrams: usize) -> Self {
        // SAFETY: zeros are a valid address, which names nothing.
        let nobody: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        Self {
            buffers: vec![[0; BYTES]; datagrams],
            senders: vec![nobody; datagrams],
            parts: Vec::with_capacity(datagrams),
            heads: Vec::with_capacity(datagrams),
        }
    }

    /// Receives the waiting datagrams, at least one if `may_wait`; returns their number.
    ///
    /// # Errors
    /// The system's errors.
    pub fn receive(&mut self, socket: &UdpSocket, may_wait: bool) -> io::Result<usize> {
        self.parts.clear();
        self.heads.clear();
        for (buffer, sender) in self.buffers.iter_mut().zip(&mut self.senders) {
            self.parts.push(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: BYTES });
            // SAFETY: zeros are a valid head, without parts and address.
            let mut head: libc::mmsghdr = unsafe { std::mem::zeroed() };
            head.msg_hdr.msg_name = (&raw mut *sender).cast();
            head.msg_hdr.msg_namelen = size::<libc::sockaddr_in>();
            head.msg_hdr.msg_iovlen = 1;
            self.heads.push(head);
        }
        for (head, part) in self.heads.iter_mut().zip(&mut self.parts) {
            head.msg_hdr.msg_iov = &raw mut *part;
        }
        let flags = if may_wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: each head points to one part and one address of this batch, which live longer than the call
        // and are not touched meanwhile; parts state the size of their buffers.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.heads.as_mut_ptr(),
                self.heads.len() as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        match check_uninterrupted(count) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Returns a datagram of the last call by its index, and its sender.
    pub fn get(&self, index: usize) -> (SocketAddrV4, &[u8]) {
        let sender = &self.senders[index];
        let ip = Ipv4Addr::from(u32::from_be(sender.sin_addr.s_addr));
        let len = (self.heads[index].msg_len as usize).min(BYTES);
        (SocketAddrV4::new(ip, u16::from_be(sender.sin_port)), &self.buffers[index][..len])
    }
}
