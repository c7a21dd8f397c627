//! The end of the server: every client is told, then the worker is done.

use super::Worker;
use crate::base::{ConnectionId, Timestamp};
use crate::server::observer::ServerEvent;
use crate::wire::{CloseCode, LeaveReason};

impl Worker {
    /// Begins to drain when the server does. Sessions end with the process, so nobody is told of
    /// members that leave: each connection's own end says it all.
    // spec: CON-8
    pub(super) fn start_drain(&mut self, now: Timestamp) {
        if self.draining || self.shared.drain_until().is_none() {
            return;
        }
        self.draining = true;
        self.shared.begin_drain();
        self.clients.endpoint.set_draining(true);
        for connection in self.clients.connections() {
            self.send_off(now, connection);
        }
    }

    /// Tells a client that the server shuts down.
    pub(super) fn send_off(&mut self, now: Timestamp, connection: ConnectionId) {
        let code = CloseCode::ShuttingDown;
        if let Some(client) = self.take_out(connection) {
            let why = LeaveReason::Dropped;
            self.shared.tell(&ServerEvent::Disconnected {
                user: &client.user,
                why,
                code,
                login: client.login,
            });
        }
        self.clients.close(now, connection, code);
    }

    /// When the drain ends at the latest.
    pub(super) fn drain_deadline(&self) -> Option<Timestamp> {
        self.shared.drain_until().filter(|_| self.draining)
    }

    /// True when every client knows, or there is no time left to tell.
    pub(super) fn is_drained(&self) -> bool {
        self.all_told() || self.drain_deadline().is_some_and(|until| until <= self.now)
    }

    /// True when no client of this worker's is left or about to be, none that has moved away, for which datagrams still come
    /// here, and none on its way here.
    fn all_told(&self) -> bool {
        let endpoint = &self.clients.endpoint;
        let counts = [endpoint.connection_count(), endpoint.moved_count()];
        let is_empty = counts == [0; 2] && !endpoint.awaits_clients() && !endpoint.has_ended();
        // In this order: once all drain, nobody is sent here any more.
        self.draining && is_empty && self.shared.all_drain() && self.mail.is_empty() && self.has_no_mail()
    }

    pub(super) fn has_no_mail(&self) -> bool {
        self.shared.mailboxes.of(self.id).is_none_or(|mailbox| mailbox.is_empty())
    }
}
