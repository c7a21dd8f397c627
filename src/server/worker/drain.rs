//! The end of the server: every client is notified, then the worker is finished.

use super::Worker;
use crate::base::{ConnectionId, Timestamp};
use crate::server::observer::ServerEvent;
use crate::wire::{CloseCode, LeaveReason};

impl Worker {
    /// Begins to drain when the server does, once its clients know what the operator had decided before.
    /// Sessions end with the process, so members get no leave events: the end of each connection is enough.
    // spec: CON-8
    pub(super) fn start_drain(&mut self, now: Timestamp) {
        if self.draining || !self.has_carried_out_decisions(now) {
            return;
        }
        self.draining = true;
        self.shared.begin_drain();
        self.clients.endpoint.set_draining(true);
        for connection in self.clients.connections() {
            self.send_off(now, connection);
        }
    }

    /// Returns true if the server drains, every decision of the operator has been carried out, and the mail
    /// that this has caused here is handled. The others are not waited for beyond the end of the drain.
    // spec: SES-18
    pub(super) fn has_carried_out_decisions(&mut self, now: Timestamp) -> bool {
        let Some(until) = self.shared.drain_until() else { return false };
        if now < until && self.shared.has_decisions() {
            return false;
        }
        let mails_so_far = self.mails_so_far();
        *self.drain_after.get_or_insert(mails_so_far) <= self.clients.answer_turns.handled()
    }

    /// Notifies a client that the server shuts down.
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
            self.shared.directory.disconnect(&client.user, connection);
        }
        self.clients.close(now, connection, code);
    }

    /// Returns the latest end of the drain.
    pub(super) fn drain_deadline(&self) -> Option<Timestamp> {
        self.shared.drain_until()
    }

    /// Returns true if no client is left to notify, or no time is left for it.
    pub(super) fn is_drained(&self) -> bool {
        self.draining && (self.all_told() || self.drain_deadline().is_some_and(|until| until <= self.now))
    }

    /// Returns true if this worker has no client left or about to connect, none that has moved away and whose
    /// datagrams still come here, and none on its way here.
    fn all_told(&self) -> bool {
        let endpoint = &self.clients.endpoint;
        let counts = [endpoint.connection_count(), endpoint.moved_count()];
        let is_empty = counts == [0; 2] && !endpoint.awaits_clients() && !endpoint.has_ended();
        // In this order: once all workers drain, no user is sent here any more.
        is_empty && self.shared.all_drain() && self.mail.is_empty() && self.has_no_mail()
    }

    pub(super) fn has_no_mail(&self) -> bool {
        self.shared.mailboxes.get(self.id).is_none_or(|mailbox| mailbox.is_empty())
    }
}
