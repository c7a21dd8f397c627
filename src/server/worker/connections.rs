//! New connections, replaced connections, and the effect of a connection's end on sessions.

use std::net::SocketAddr;

use bytes::BytesMut;
use tracing::debug;

use super::Worker;
use super::client::Client;
use crate::base::{ConnectionId, Envelope, Now, Timestamp, UnixTime, WorkerId};
use crate::rudp::{Closed, ForOwner, Incoming};
use crate::secure::Claims;
use crate::server::mail::{Mail, Post, Word};
use crate::server::observer::ServerEvent;
use crate::wire::{CloseCode, LeaveReason, Reason, RejectCode, UserEvent};

impl Worker {
    /// Handles a client with a valid token that wants to connect.
    pub(super) fn incoming(&mut self, now: Now, incoming: Box<Incoming>) {
        // spec: LIM-5
        if !self.shared.directory.has_place(&incoming.claims().user) {
            self.counters().handshakes_refused.add(1);
            self.clients.endpoint.refuse(now, &incoming, RejectCode::Full);
        } else if let Some((code, _)) = self.admits(incoming.claims(), incoming.from()).refusal() {
            self.counters().handshakes_refused.add(1);
            self.clients.endpoint.refuse(now, &incoming, code);
        } else {
            self.clients.endpoint.accept(now, incoming);
        }
    }

    /// Handles a user that is now connected: it replaces its older connection and receives its open invites.
    // spec: HSK-15, INV-6
    pub(super) fn connected(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        claims: &Claims,
        from: SocketAddr,
    ) {
        let user = claims.user.clone();
        if self.is_draining() {
            return self.clients.close(now, connection, CloseCode::ShuttingDown);
        }
        let Some(login) = self.shared.directory.connect(&user, connection) else {
            // Other users have taken the last places since its handshake was answered.
            // spec: LIM-5
            self.counters().handshakes_refused.add(1);
            return self.clients.close(now, connection, CloseCode::Full);
        };
        self.shared.population.enter(self.id);
        debug!(%connection, user = user.as_str(), "has a connection");
        let data = claims.data.as_ref();
        // Before another worker learns that the user's older connection is over.
        self.shared.tell(&ServerEvent::Connected { user: &user, data, address: from, login: login.number });
        if let Some(old) = login.replaced {
            Post::new(&self.shared.mailboxes, &mut self.to_wake).to_user(old, Word::Replaced);
        }
        self.clients.add(connection, user, login.number);
        self.counters().connections_opened.add(1);
        for invite in login.invites {
            let event = UserEvent::Invited(invite.invitation(now));
            self.clients.tell(now, connection, &event);
        }
        // A kick before this point found no connection to end, but by then `admit` already refused the user.
        if let Some((_, code)) = self.admits(claims, from).refusal() {
            self.kicked(now, connection, code, &Reason::none());
        }
    }

    /// Counts that a client is at another address.
    pub(super) fn address_changed(&self, connection: ConnectionId, to: SocketAddr) {
        self.counters().address_changes.add(1);
        if let Some(client) = self.clients.get(connection) {
            debug!(%connection, user = client.user.as_str(), address = %to, "is at another address");
        }
    }

    /// Handles the end of a connection, whatever its cause.
    pub(super) fn closed(&mut self, now: Timestamp, connection: ConnectionId, why: &Closed) {
        let (why, code) = match why {
            Closed::ByPeer { code, reason } => {
                debug!(%connection, %code, reason, "closed by its client");
                self.counters().connections_left.add(1);
                (LeaveReason::Left, *code)
            }
            Closed::TimedOut => {
                self.counters().connections_timed_out.add(1);
                (LeaveReason::TimedOut, CloseCode::IdleTimeout)
            }
            // If the worker closed the connection, it has removed the user before. This counts only for a
            // close by the transport.
            Closed::Local { code, .. } => (LeaveReason::Dropped, *code),
            Closed::Violation(violation) => {
                debug!(%connection, %violation, "protocol violation");
                self.counters().protocol_violations.add(1);
                (LeaveReason::Dropped, CloseCode::ProtocolViolation)
            }
            Closed::KeyLimit(limit) => {
                debug!(%connection, %limit, "limit of the keys");
                self.counters().connections_at_key_limit.add(1);
                (LeaveReason::Dropped, limit.code())
            }
        };
        self.part(now, connection, why, code);
    }

    /// Ends a connection whose user has connected again.
    pub(super) fn replaced(&mut self, now: Timestamp, connection: ConnectionId) {
        if self.part(now, connection, LeaveReason::Replaced, CloseCode::Replaced) {
            self.counters().connections_replaced.add(1);
            self.clients.close(now, connection, CloseCode::Replaced);
        }
    }

    /// Closes the connections that do not take their messages.
    // spec: SES-17
    pub(super) fn close_lagging(&mut self, now: Timestamp) {
        for connection in self.clients.take_overdue(now) {
            if self.part(now, connection, LeaveReason::Lagging, CloseCode::Lagging) {
                self.counters().connections_lagging.add(1);
                self.clients.close(now, connection, CloseCode::Lagging);
            }
        }
    }

    /// Ends a connection whose client did what no correct client does.
    pub(super) fn violated(&mut self, now: Timestamp, connection: ConnectionId, what: &str) {
        if self.part(now, connection, LeaveReason::Dropped, CloseCode::ProtocolViolation) {
            debug!(%connection, what, "protocol violation");
            self.counters().protocol_violations.add(1);
            self.clients.close_because(now, connection, CloseCode::ProtocolViolation, what);
        }
    }

    /// Removes the user of a connection from its sessions and from the directory; false if that was done
    /// before.
    // spec: SES-15
    pub(super) fn part(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        why: LeaveReason,
        code: CloseCode,
    ) -> bool {
        let Some(client) = self.disconnect(connection, why, code) else { return false };
        for (_, seat) in client.seats() {
            // A refusal means that the session or the membership has ended; its mail is on its way.
            if let Ok(departed) = self.with_table(|table, port| table.leave(now, seat.member, why, port)) {
                self.departed(now, seat.member.session, &departed);
            }
        }
        true
    }

    /// Forgets the user of a connection, which may stay open to send the reason; `None` if that was done
    /// before.
    pub(super) fn disconnect(
        &mut self,
        connection: ConnectionId,
        why: LeaveReason,
        code: CloseCode,
    ) -> Option<Box<Client>> {
        let client = self.clients.remove(connection)?;
        self.shared.population.leave(self.id);
        self.shared.tell(&ServerEvent::Disconnected { user: &client.user, why, code, login: client.login });
        self.shared.directory.disconnect(&client.user, connection);
        Some(client)
    }

    /// Forwards a datagram to the worker that has its connection, or knows which one has it.
    pub(super) fn forward(&mut self, to: WorkerId, from: Envelope, datagram: BytesMut) {
        let mailbox = self.shared.mailboxes.get(to).filter(|_| to != self.id);
        let posted = mailbox.is_some_and(|mailbox| {
            // A copy, so that it does not keep the rest of its batch in memory while it waits.
            let datagram = BytesMut::from(datagram.as_ref());
            mailbox.post_droppable(Mail::Forwarded { from, datagram }).is_ok()
        });
        if posted {
            self.to_wake.insert(to);
            self.counters().datagrams_forwarded.add(1);
        } else {
            self.counters().datagrams_not_forwarded.add(1);
        }
    }

    /// Handles a datagram that another worker has forwarded.
    pub(super) fn forwarded(&mut self, now: Timestamp, from: Envelope, datagram: BytesMut) {
        // Only sealed packets are forwarded, and those need no wall time.
        let now = Now { mono: now, wall: UnixTime::from_millis(0) };
        match self.clients.endpoint.handle_datagram(now, from, datagram) {
            // From the worker that the client's address now leads to, through the connection's home.
            Some(ForOwner::Moved(to, datagram)) => self.forward(to, from, datagram),
            // From the home of a connection that has ended here; it must not go back and forth.
            Some(ForOwner::Foreign(..)) => self.counters().datagrams_not_forwarded.add(1),
            Some(ForOwner::Incoming(_)) | None => {}
        }
    }
}
