//! [`Port`]: a socket, and the runtime's watch on it if a runtime waits for it.
//!
//! It is watched for reading only. A socket that is also watched for writing wakes its thread whenever a
//! receiver has taken a datagram and the send buffer has room again. On loopback and with fast network cards
//! that happens for every datagram, and nothing waits for it. Room is waited for only when there was none.

use std::io;
use std::net::{SocketAddr, UdpSocket};
#[cfg(target_os = "linux")]
use std::pin::Pin;
use std::task::{Context, Poll};
#[cfg(target_os = "linux")]
use std::time::Duration;

#[cfg(target_os = "linux")]
use tokio::io::Interest;
#[cfg(target_os = "linux")]
use tokio::time::{Sleep, sleep};

use super::IoPath;
#[cfg(target_os = "linux")]
use super::sys::{self, watch};
use crate::base::Ecn;

/// The socket of one loop. All calls return at once.
pub(super) enum Port {
    /// The current runtime notifies its task when there may be datagrams.
    Watched(Watched),
    /// Its thread waits for it without a runtime.
    #[cfg(target_os = "linux")]
    Unwatched(UdpSocket),
}

/// Waits until a [`Port`] that had no room can send again.
#[derive(Default)]
pub(super) struct Room {
    #[cfg(target_os = "linux")]
    watched: Option<Watched>,
    /// The time until room is checked again, if it cannot be watched.
    #[cfg(target_os = "linux")]
    pause: Option<Pin<Box<Sleep>>>,
}

/// Interval between checks for room that cannot be watched.
#[cfg(target_os = "linux")]
const PAUSE: Duration = Duration::from_millis(1);

#[cfg(target_os = "linux")]
type Watched = tokio::io::unix::AsyncFd<UdpSocket>;
#[cfg(not(target_os = "linux"))]
type Watched = tokio::net::UdpSocket;

impl Port {
    /// Makes the current runtime watch a non-blocking socket.
    ///
    /// # Errors
    /// Those of the system.
    #[cfg(target_os = "linux")]
    pub(super) fn new(udp: UdpSocket) -> io::Result<Self> {
        watch(udp, Interest::READABLE).map(Self::Watched)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn new(udp: UdpSocket) -> io::Result<Self> {
        Watched::from_std(udp).map(Self::Watched)
    }

    /// Returns ready while there may be datagrams to read, otherwise wakes the task when there are.
    #[cfg(target_os = "linux")]
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Watched(watched) => watched.poll_read_ready(cx).map(|ready| {
                if let Ok(mut ready) = ready {
                    ready.retain_ready();
                }
            }),
            Self::Unwatched(_) => Poll::Ready(()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Self::Watched(watched) = self;
        watched.poll_recv_ready(cx).map(|_| ())
    }

    /// Receives one datagram.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::WouldBlock`] when none waits.
    #[cfg(target_os = "linux")]
    pub(super) fn receive(&self, slot: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_by(|udp| udp.recv_from(slot))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn receive(&self, slot: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let Self::Watched(watched) = self;
        watched.try_recv_from(slot)
    }

    /// Receives with `call`, which returns [`io::ErrorKind::WouldBlock`] when no datagram is left.
    ///
    /// # Errors
    /// Those of the call.
    #[cfg(target_os = "linux")]
    pub(super) fn receive_by<T>(&self, call: impl FnOnce(&UdpSocket) -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Watched(watched) => watched.try_io(Interest::READABLE, call),
            Self::Unwatched(udp) => call(udp),
        }
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::WouldBlock`] when there is no room.
    #[cfg(target_os = "linux")]
    pub(super) fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket().send_to(datagram, to)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        let Self::Watched(watched) = self;
        watched.try_send_to(datagram, to)
    }

    /// Returns the path to use here for `wanted`.
    pub(super) fn path(&self, wanted: IoPath) -> IoPath {
        #[cfg(target_os = "linux")]
        if wanted == IoPath::Batched && sys::has_batches(self.socket()) {
            return IoPath::Batched;
        }
        let _ = wanted;
        IoPath::Portable
    }

    /// Returns true if the system splits rows of datagrams.
    pub(super) fn can_split(&self) -> bool {
        #[cfg(target_os = "linux")]
        return sys::can_split(self.socket());
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Has the system mark all datagrams that do not specify a mark; returns this mark, or `None` if the
    /// system cannot.
    #[cfg(target_os = "linux")]
    pub(super) fn mark_sent(&self) -> Option<Ecn> {
        // The mark of most sent datagrams.
        let (socket, ecn) = (self.socket(), Ecn::Ect0);
        let is_ipv6 = socket.local_addr().is_ok_and(|addr| addr.is_ipv6());
        sys::mark_sent(socket, is_ipv6, ecn).then_some(ecn)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn mark_sent(&self) -> Option<Ecn> {
        None
    }

    /// Returns true if at least a quarter of the send buffer is taken by datagrams that have not left the
    /// machine, as far as the system reports it. Datagrams to neighbours that do not answer stay there for
    /// seconds (`unres_qlen_bytes` of Linux's arp(7)).
    pub(super) fn is_crowded(&self) -> bool {
        #[cfg(target_os = "linux")]
        return sys::unsent_share(self.socket()).is_some_and(|share| share >= 0.25);
        #[cfg(not(target_os = "linux"))]
        false
    }

    #[cfg(target_os = "linux")]
    pub(super) fn socket(&self) -> &UdpSocket {
        match self {
            Self::Watched(watched) => watched.get_ref(),
            Self::Unwatched(udp) => udp,
        }
    }
}

impl Room {
    /// Stops watching.
    pub(super) fn leave(&mut self) {
        *self = Self::default();
    }

    /// Returns ready when `port` may have room, otherwise wakes the task when it has.
    #[cfg(target_os = "linux")]
    pub(super) fn poll(&mut self, port: &Port, cx: &mut Context<'_>) -> Poll<()> {
        // This needs a second descriptor, because one that is watched for reading cannot be watched again.
        self.poll_by(cx, || watch(port.socket().try_clone()?, Interest::WRITABLE))
    }

    #[cfg(target_os = "linux")]
    fn poll_by(&mut self, cx: &mut Context<'_>, watch: impl FnOnce() -> io::Result<Watched>) -> Poll<()> {
        let watched = match self.watched.take().map_or_else(watch, Ok) {
            Ok(watched) => watched,
            Err(error) => return self.poll_pause(cx, &error),
        };
        if watched.poll_write_ready(cx).is_ready() {
            return Poll::Ready(());
        }
        self.watched = Some(watched);
        Poll::Pending
    }

    /// Pauses, because no descriptor is available to watch for room; a loop that retried at once would let
    /// nothing else run.
    #[cfg(target_os = "linux")]
    fn poll_pause(&mut self, cx: &mut Context<'_>, error: &io::Error) -> Poll<()> {
        let pause = self.pause.get_or_insert_with(|| {
            tracing::debug!(%error, "room to send cannot be watched");
            Box::pin(sleep(PAUSE))
        });
        let over = pause.as_mut().poll(cx);
        if over.is_ready() {
            self.pause = None;
        }
        over
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn poll(&mut self, port: &Port, cx: &mut Context<'_>) -> Poll<()> {
        let Port::Watched(watched) = port;
        watched.poll_send_ready(cx).map(|_| ())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn without_a_descriptor_room_is_waited_for_all_the_same() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut room, mut polls) = (Room::default(), 0);
            poll_fn(|cx| {
                polls += 1;
                room.poll_by(cx, || Err(io::ErrorKind::Other.into()))
            })
            .await;
            assert!(polls > 1, "ready at once, the loop would spin");
            assert!(room.pause.is_none(), "the next time it waits again");
        });
    }
}
