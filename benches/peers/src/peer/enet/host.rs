//! [`Host`]: an ENet host, behind a safe interface.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::marker::{PhantomData, PhantomPinned};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;

use crate::error::{Error, Result};

/// ENet's host structure, accessed only in C.
#[repr(C)]
struct RawHost {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// ENet's packet structure, accessed only in C.
#[repr(C)]
struct RawPacket {
    _data: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

unsafe extern "C" {
    fn peers_enet_start() -> c_int;
    fn peers_enet_listen(peers: usize) -> *mut RawHost;
    fn peers_enet_connect(port: c_int) -> *mut RawHost;
    fn peers_enet_keep_open(host: *mut RawHost, peer: usize);
    fn peers_enet_set_timeout(host: *mut RawHost, peer: usize, least_ms: u32);
    fn peers_enet_port(host: *mut RawHost) -> c_int;
    fn peers_enet_socket(host: *mut RawHost) -> c_int;
    fn peers_enet_take_traffic(host: *mut RawHost, datagrams: *mut u64, bytes: *mut u64);
    fn peers_enet_next(
        host: *mut RawHost,
        wait_ms: u32,
        only_queued: c_int,
        packet: *mut *mut RawPacket,
        peer: *mut usize,
    ) -> c_int;
    fn peers_enet_bytes(packet: *const RawPacket, length: *mut usize) -> *const u8;
    fn peers_enet_packet(bytes: *const u8, length: usize) -> *mut RawPacket;
    fn peers_enet_send(host: *mut RawHost, peer: usize, packet: *mut RawPacket) -> c_int;
    fn peers_enet_release(packet: *mut RawPacket);
    fn peers_enet_destroy(packet: *mut RawPacket);
    fn peers_enet_flush(host: *mut RawHost);
    fn peers_enet_end(host: *mut RawHost);
}

/// An ENet host: a socket and its peers, which are identified by number.
pub struct Host {
    raw: NonNull<RawHost>,
    peers: usize,
}

/// An event at a host.
pub enum Happening {
    /// This peer is connected.
    Connected(usize),
    /// This peer is gone.
    Gone,
    /// This peer has sent a message.
    Message(usize, Message),
}

/// A received message.
pub struct Message(NonNull<RawPacket>);

/// How to wait for an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Sends, then receives, waiting for at most this many milliseconds.
    Serve(u32),
    /// Takes only what has already been received.
    Queued,
}

/// Prepares the library; called once per process.
///
/// # Errors
/// ENet's errors.
pub fn start() -> Result<()> {
    // SAFETY: takes nothing.
    if unsafe { peers_enet_start() } == 0 { Ok(()) } else { Err(Error::bound("ENet does not start")) }
}

impl Host {
    /// Returns a server for `peers` peers, on a free port of loopback.
    ///
    /// # Errors
    /// ENet's errors.
    pub fn listen(peers: usize) -> Result<Self> {
        // SAFETY: takes only a number.
        Self::of(unsafe { peers_enet_listen(peers) }, peers)
    }

    /// Returns a client that begins to connect to a port of loopback.
    ///
    /// # Errors
    /// ENet's errors.
    pub fn connect(port: u16) -> Result<Self> {
        // SAFETY: takes only a number.
        Self::of(unsafe { peers_enet_connect(port.into()) }, 1)
    }

    fn of(raw: *mut RawHost, peers: usize) -> Result<Self> {
        let raw = NonNull::new(raw).ok_or_else(|| Error::bound("ENet makes no host"))?;
        Ok(Self { raw, peers })
    }

    /// Returns the port that it is bound to.
    ///
    /// # Errors
    /// ENet's errors.
    pub fn port(&self) -> Result<u16> {
        // SAFETY: the host lives.
        let port = unsafe { peers_enet_port(self.raw.as_ptr()) };
        u16::try_from(port).map_err(Error::while_doing("asking for the port"))
    }

    /// Returns the datagrams and bytes since the last call, both directions together.
    pub fn take_traffic(&mut self) -> (u64, u64) {
        let (mut datagrams, mut bytes) = (0, 0);
        // SAFETY: the host lives, and both numbers are valid for writes.
        unsafe { peers_enet_take_traffic(self.raw.as_ptr(), &raw mut datagrams, &raw mut bytes) };
        (datagrams, bytes)
    }

    /// Returns the next event, or nothing when the wait is over.
    ///
    /// # Errors
    /// ENet's errors.
    pub fn next(&mut self, wait: Wait) -> Result<Option<Happening>> {
        let (mut packet, mut peer) = (std::ptr::null_mut(), 0);
        let (wait_ms, only_queued) = match wait {
            Wait::Serve(millis) => (millis, 0),
            Wait::Queued => (0, 1),
        };
        // SAFETY: the host lives, and both results are valid for writes.
        let kind = unsafe {
            peers_enet_next(self.raw.as_ptr(), wait_ms, only_queued, &raw mut packet, &raw mut peer)
        };
        match (kind, NonNull::new(packet)) {
            (0, _) => Ok(None),
            (1, _) => Ok(Some(Happening::Connected(peer))),
            (2, _) => Ok(Some(Happening::Gone)),
            (3, Some(packet)) => Ok(Some(Happening::Message(peer, Message(packet)))),
            _ => Err(Error::bound("ENet fails to serve its socket")),
        }
    }

    /// Queues a reliable message for all of these peers, which share one packet.
    ///
    /// # Errors
    /// ENet's errors, such as for a peer that is gone.
    pub fn send(&mut self, peers: &[usize], message: &[u8]) -> Result<()> {
        // SAFETY: `message` is valid for reads of its length, which ENet copies.
        let packet = unsafe { peers_enet_packet(message.as_ptr(), message.len()) };
        if packet.is_null() {
            return Err(Error::bound("ENet makes no packet"));
        }
        let mut sent = true;
        for peer in peers.iter().filter(|peer| **peer < self.peers) {
            // SAFETY: the host lives and has such a peer; the packet lives until it is released below.
            sent &= unsafe { peers_enet_send(self.raw.as_ptr(), *peer, packet) } == 0;
        }
        // SAFETY: the reference from making the packet is released exactly once.
        unsafe { peers_enet_release(packet) };
        if sent { Ok(()) } else { Err(Error::bound("ENet does not take a message")) }
    }

    /// Turns off the throttle of both ends of a connection.
    pub fn keep_open(&mut self, peer: usize) {
        if peer < self.peers {
            // SAFETY: the host lives and has such a peer.
            unsafe { peers_enet_keep_open(self.raw.as_ptr(), peer) };
        }
    }

    /// Keeps a peer for at least `least_ms` without an ack.
    pub fn set_timeout(&mut self, peer: usize, least_ms: u32) {
        if peer < self.peers {
            // SAFETY: the host lives and has such a peer.
            unsafe { peers_enet_set_timeout(self.raw.as_ptr(), peer, least_ms) };
        }
    }

    /// Sends what is queued.
    pub fn flush(&mut self) {
        // SAFETY: the host lives.
        unsafe { peers_enet_flush(self.raw.as_ptr()) };
    }
}

impl AsRawFd for Host {
    fn as_raw_fd(&self) -> RawFd {
        // SAFETY: the host lives.
        unsafe { peers_enet_socket(self.raw.as_ptr()) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: the host lives, and is not used afterwards.
        unsafe { peers_enet_end(self.raw.as_ptr()) };
    }
}

impl Message {
    /// Returns the message's bytes.
    pub fn bytes(&self) -> &[u8] {
        let mut len = 0;
        // SAFETY: the packet lives as long as this message, and ENet does not change it any more.
        unsafe {
            let bytes = peers_enet_bytes(self.0.as_ptr(), &raw mut len);
            if len == 0 { &[] } else { std::slice::from_raw_parts(bytes, len) }
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the packet lives, and is not used afterwards.
        unsafe { peers_enet_destroy(self.0.as_ptr()) };
    }
}
