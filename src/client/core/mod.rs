//! [`Core`]: a client without a socket, clock or task.
//!
//! The calling contract is that of everything sans-IO here: inputs are `handle_*(now, …)` and the commands,
//! outputs are `poll_*`. After any input, call [`Core::poll_output`] until it is empty, then
//! [`Core::poll_transmit`] likewise, then wait no longer than [`Core::poll_timeout`] states. Given the same
//! inputs at the same times, and connections with the same seed, two cores behave the same. The owner states
//! with [`ConnectionConfig::on_socket`](crate::rudp::ConnectionConfig::on_socket) whether the socket lets IP
//! fragment datagrams, and with `link_datagram_bytes` what datagrams the link takes, if larger than
//! Ethernet's.
//!
//! Read the socket every few milliseconds, in a thread if a frame takes longer. A packet that waits in the
//! socket is acked late, so that the path looks as if it had a queue: a client that reads once in 33 ms takes
//! only some 600 KB a second (LIM-3).
//!
//! Datagrams and payloads are `Bytes` and `BytesMut` of `bytes` 1, and [`Connecting`] takes the `StdRng` of
//! `rand` 0.9. The crate re-exports both ([`crate::bytes`], [`crate::rand`]), so that an engine need not
//! match the versions.
//!
//! Of several cores that try the addresses of one server with one token, the first that returns
//! [`Output::Connected`] continues. The others are dropped, or ended by [`Core::abandon`], before
//! [`Core::poll_transmit`] is called on them again; [`Core::close`] would send a packet that spends the
//! token. [`Connecting::new`] states the rule.
//!
//! | file | what it does |
//! |---|---|
//! | `send` | outgoing commands and hot-path messages |
//! | `dialogue` | incoming messages of the server |
//! | `pending` | commands that wait for results |
//! | `slots` | sessions, from the first message about one to its end |
//! | `mirror` | the known state of one session |
//! | `event`, `error`, `violation` | what is reported to the owner |

mod dialogue;
mod error;
mod event;
mod mirror;
mod pending;
mod send;
mod slots;
#[cfg(test)]
mod tests;
mod violation;

pub use dialogue::Output;
pub use error::{Disconnected, RequestError, SendError};
pub use event::Event;
pub use mirror::Mirror;
pub use pending::MAX_PENDING;
pub use send::Sent;
pub use violation::ServerViolation;

pub use crate::rudp::Sent as SendFate;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use self::dialogue::Dialogue;
use crate::base::{Envelope, Host, Slot, Timestamp, Writer};
use crate::rudp::{self, Closed, Connecting, Connection, Stats};
use crate::wire::CloseCode;

/// A client of one server, sans-IO. An engine may share it between threads, for example as a resource of its
/// world.
pub struct Core {
    server: SocketAddr,
    link: Link,
    dialogue: Dialogue,
    /// The violation for which this end closes the connection, if any.
    violation: Option<ServerViolation>,
    /// Of a connection whose socket is gone.
    last_stats: Option<Box<Stats>>,
    /// Reusable buffer for the bytes before a payload.
    scratch: Writer,
}

enum Link {
    Connecting(Box<Connecting>),
    Open(Box<Connection>),
    /// No connection was ever established, or its socket is gone.
    Dead,
}

impl Core {
    /// Creates a client that connects to `server` through a handshake that has just begun.
    pub fn new(server: SocketAddr, connecting: Connecting) -> Self {
        Self {
            server,
            link: Link::Connecting(Box::new(connecting)),
            dialogue: Dialogue::default(),
            violation: None,
            last_stats: None,
            scratch: Writer::new(),
        }
    }

    /// Creates a client whose handshake is over.
    #[cfg(fuzzing)]
    #[doc(hidden)]
    pub fn connected(server: SocketAddr, connection: Connection) -> Self {
        let mut dialogue = Dialogue::default();
        dialogue.on_connected();
        Self {
            server,
            link: Link::Open(Box::new(connection)),
            dialogue,
            violation: None,
            last_stats: None,
            scratch: Writer::new(),
        }
    }

    /// Handles a datagram; one that is not from the server is dropped.
    pub fn handle_datagram(&mut self, now: Timestamp, from: Envelope, datagram: BytesMut) {
        if !is_of(self.server, from.route.remote) {
            return;
        }
        match &mut self.link {
            Link::Connecting(connecting) => connecting.handle_datagram(now, datagram),
            // Dropped packets are counted in the connection's statistics.
            Link::Open(connection) => drop(connection.handle_packet(now, from, datagram)),
            Link::Dead => {}
        }
        self.settle(now);
    }

    /// Does what is due; must be called at the time that [`Core::poll_timeout`] returns.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        match &mut self.link {
            Link::Connecting(connecting) => connecting.handle_timeout(now),
            Link::Open(connection) => connection.handle_timeout(now),
            Link::Dead => {}
        }
        self.settle(now);
    }

    /// Closes the connection; every membership ends with it. `reason` is for the server's log, at most 128
    /// bytes. A second call does nothing.
    pub fn close(&mut self, now: Timestamp, reason: &str) {
        match &mut self.link {
            Link::Connecting(_) => self.abandon(Disconnected::ByClient),
            Link::Open(connection) if !connection.is_closed() => {
                connection.close(now, CloseCode::None, reason);
            }
            Link::Open(_) | Link::Dead => {}
        }
        self.settle(now);
    }

    /// Gives up the connection because the path to the server is gone: nothing more is sent, and the outcome
    /// of open commands is reported as unknown.
    pub fn abandon(&mut self, why: Disconnected) {
        let link = std::mem::replace(&mut self.link, Link::Dead);
        if let Link::Open(connection) = link {
            self.last_stats = Some(Box::new(connection.stats()));
        }
        self.dialogue.on_disconnected(why);
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.dialogue.poll_output()
    }

    /// Appends one datagram to the empty `out` and returns its receiver and its ECN mark; `None` if there is
    /// nothing to send now.
    pub fn poll_transmit(&mut self, now: Timestamp, out: &mut BytesMut) -> Option<Envelope> {
        debug_assert!(out.is_empty(), "one datagram at a time");
        match &mut self.link {
            Link::Connecting(connecting) => connecting.poll_transmit(now, out).then_some(self.server.into()),
            Link::Open(connection) => connection.poll_transmit(now, out),
            Link::Dead => None,
        }
    }

    /// Returns when [`Core::handle_timeout`] must be called next.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.link {
            Link::Connecting(connecting) => connecting.poll_timeout(),
            Link::Open(connection) => connection.poll_timeout(),
            Link::Dead => None,
        }
    }

    /// Returns true when nothing will be sent or reported any more except what can be polled now.
    pub fn is_finished(&self) -> bool {
        match &self.link {
            Link::Connecting(_) => false,
            Link::Open(connection) => connection.is_drained(),
            Link::Dead => true,
        }
    }

    /// Returns true between [`Output::Connected`] and [`Event::Disconnected`].
    pub fn is_connected(&self) -> bool {
        matches!(&self.link, Link::Open(connection) if !connection.is_closed())
    }

    /// Returns the bytes waiting to be sent or acked, plus 64 for each message: how far the server is behind.
    pub fn queued_bytes(&self) -> usize {
        match &self.link {
            Link::Open(connection) => connection.queued_bytes(),
            Link::Connecting(_) | Link::Dead => 0,
        }
    }

    /// Returns the newest mirror of the session at `slot`, which may include events not yet polled.
    pub fn mirror(&self, slot: Slot) -> Option<&Arc<Mirror>> {
        self.dialogue.mirror(slot)
    }

    /// Returns the newest mirror of every session, by slot.
    pub fn mirrors(&self) -> impl Iterator<Item = &Arc<Mirror>> {
        self.dialogue.slots.mirrors()
    }

    /// Returns the statistics of the connection, once it exists.
    pub fn stats(&self) -> Option<Stats> {
        match &self.link {
            Link::Open(connection) => Some(connection.stats()),
            Link::Connecting(_) | Link::Dead => self.last_stats.as_deref().copied(),
        }
    }

    /// Returns the smoothed round-trip time; `None` before it was measured, and after the connection has
    /// ended.
    pub fn rtt(&self) -> Option<Duration> {
        match &self.link {
            Link::Open(connection) if !connection.is_closed() => connection.measured_rtt(),
            Link::Open(_) | Link::Connecting(_) | Link::Dead => None,
        }
    }

    /// Passes the link's events to the dialogue, and the dialogue's requests back to the connection.
    fn settle(&mut self, now: Timestamp) {
        if let Link::Connecting(connecting) = &mut self.link {
            match connecting.poll_outcome() {
                None => {}
                Some(Ok(connection)) => {
                    self.link = Link::Open(connection);
                    self.dialogue.on_connected();
                }
                Some(Err(error)) => self.abandon(Disconnected::ConnectFailed(error)),
            }
        }
        let Link::Open(connection) = &mut self.link else { return };
        while let Some(event) = connection.poll_event() {
            match event {
                rudp::Event::Established | rudp::Event::AddressChanged(_) => {}
                rudp::Event::Message { stream, delivery, payload } => {
                    // After a violation, nothing from the server is trusted any more.
                    if self.violation.is_some() {
                        continue;
                    }
                    if let Err(violation) = self.dialogue.on_message(stream, delivery, payload) {
                        connection.close(now, CloseCode::ProtocolViolation, &violation.to_string());
                        self.violation = Some(violation);
                    }
                }
                rudp::Event::Closed(closed) => {
                    self.dialogue.on_disconnected(why(closed, self.violation.take()));
                }
            }
            if let Some(id) = self.dialogue.poll_rehomed() {
                connection.rename(id);
            }
            while let Some(stream) = self.dialogue.poll_finished() {
                connection.finish_stream(stream);
            }
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("server", &self.server)
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

/// Returns true if `from` is the server's address.
fn is_of(server: SocketAddr, from: SocketAddr) -> bool {
    server.port() == from.port() && Host::from(server).includes(from.into())
}

/// Returns the reason that is reported to the app for the end of a connection.
fn why(closed: Closed, violation: Option<ServerViolation>) -> Disconnected {
    match (closed, violation) {
        (_, Some(violation)) => Disconnected::ServerViolation(violation),
        (Closed::Local { .. }, None) => Disconnected::ByClient,
        (Closed::ByPeer { code, reason }, None) => Disconnected::ByServer { code, reason },
        (Closed::TimedOut, None) => Disconnected::TimedOut,
        (Closed::Violation(violation), None) => Disconnected::TransportViolation(violation),
        (Closed::KeyLimit(limit), None) => Disconnected::KeyLimit(limit),
    }
}
