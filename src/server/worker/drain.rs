//! The end of the server: every client is notified, then the worker is finished.

use super::Worker;
use crate::base::{ConnectionId, Timestamp};
use crate::wire::{CloseCode, LeaveReason};

/// How far the end of the server has come at one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    /// The server serves, or has to carry out decisions of the operator first.
    NotYet,
    /// It begins once this many mails have been handled, among them what the decisions have caused here, and
    /// what these cause has been sent.
    After { mails: u64, is_sent: bool },
    /// The clients have been notified, and no new ones are let in.
    Begun,
}

impl Worker {
    /// Begins to drain when the server does, once its clients know what the operator had decided before.
    /// Sessions end with the process, so members get no leave events: the end of each connection is enough.
    // spec: CON-8
    pub(super) fn start_drain(&mut self, now: Timestamp) {
        if !(self.settle_drain(now) && self.has_sent_decisions(now)) {
            return;
        }
        self.drain = Drain::Begun;
        self.shared.begin_drain();
        self.clients.endpoint.set_draining(true);
        for connection in self.clients.connections() {
            self.send_off(now, connection);
        }
    }

    /// Returns true if the drain must begin as soon as everything has been sent: the server drains, every decision
    /// of the operator has been carried out, and the mail that this has caused here is handled. The others are
    /// not waited for beyond the end of the drain, nor is that mail once there are no decisions.
    // spec: SES-18
    pub(super) fn settle_drain(&mut self, now: Timestamp) -> bool {
        let (is_over, has_decisions) = (self.is_drain_over(now), self.shared.has_decisions());
        if self.drain == Drain::NotYet && self.shared.drain_until().is_some() && (is_over || !has_decisions) {
            self.drain = Drain::After { mails: self.mails_so_far(), is_sent: false };
        }
        let Drain::After { mails, .. } = self.drain else { return false };
        mails <= self.clients.answer_turns.handled() || (is_over && !has_decisions)
    }

    /// Notes that all that this worker had to send has left.
    pub(super) fn on_all_sent(&mut self) {
        let handled = self.clients.answer_turns.handled();
        if let Drain::After { mails, is_sent } = &mut self.drain {
            *is_sent |= *mails <= handled;
        }
    }

    /// Returns true if what the decisions have caused here was sent, which a CLOSE would overtake, or if no time is
    /// left for it.
    fn has_sent_decisions(&self, now: Timestamp) -> bool {
        matches!(self.drain, Drain::After { is_sent: true, .. }) || self.is_drain_over(now)
    }

    fn is_drain_over(&self, now: Timestamp) -> bool {
        self.drain_deadline().is_some_and(|until| until <= now)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain == Drain::Begun
    }

    /// Notifies a client that the server shuts down.
    pub(super) fn send_off(&mut self, now: Timestamp, connection: ConnectionId) {
        self.disconnect(connection, LeaveReason::Dropped, CloseCode::ShuttingDown);
        self.clients.close(now, connection, CloseCode::ShuttingDown);
    }

    /// Returns the latest end of the drain.
    pub(super) fn drain_deadline(&self) -> Option<Timestamp> {
        self.shared.drain_until()
    }

    /// Returns true if no client is left to notify, or no time is left for it.
    pub(super) fn is_drained(&self) -> bool {
        self.is_draining() && (self.all_told() || self.is_drain_over(self.now))
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
