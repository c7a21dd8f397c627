//! The end of the server: every client is notified; once all workers have done so, they are finished.

use super::Worker;
use crate::base::{ConnectionId, Timestamp};
use crate::wire::{CloseCode, LeaveReason};

/// How far the end of the server has come at one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Drain {
    /// The server serves, or has to carry out decisions of the operator first.
    NotYet,
    /// It begins once this many mails have been handled, among them what the decisions have caused here.
    After(u64),
    /// No user has a connection any more, and no new ones are let in.
    Begun {
        since: Timestamp,
        /// Connections that are closed once their clients have taken what was sent before.
        waiting: Vec<ConnectionId>,
        /// This worker has nobody left to notify.
        is_done: bool,
    },
}

impl Worker {
    /// Begins to drain when the server does, once its clients know what the operator had decided before.
    /// Sessions end with the process, so members get no leave events: the end of each connection is enough.
    // spec: CON-8
    pub(super) fn start_drain(&mut self, now: Timestamp) {
        if self.settle_drain(now) {
            self.shared.begin_drain();
            self.clients.endpoint.set_draining(true);
            let waiting = self.clients.connections();
            for connection in &waiting {
                self.disconnect(*connection, LeaveReason::Dropped, CloseCode::ShuttingDown);
            }
            self.drain = Drain::Begun { since: now, waiting, is_done: false };
        }
    }

    /// Returns true if the drain must begin now: the server drains, every decision of the operator has been
    /// carried out, and the mail that this has caused here is handled. The others are not waited for beyond
    /// the end of the drain, nor is that mail once there are no decisions.
    // spec: SES-18
    pub(super) fn settle_drain(&mut self, now: Timestamp) -> bool {
        let (is_over, has_decisions) = (self.is_drain_over(now), self.shared.has_decisions());
        if self.drain == Drain::NotYet && self.drain_deadline().is_some() && (is_over || !has_decisions) {
            self.drain = Drain::After(self.mails_so_far());
        }
        let Drain::After(mails) = self.drain else { return false };
        mails <= self.clients.answer_turns.handled() || (is_over && !has_decisions)
    }

    /// Closes the connections whose clients have taken what was sent before, which a CLOSE would overtake, or
    /// that were given half of the drain's time for it.
    // spec: CON-8
    pub(super) fn close_waiting(&mut self, now: Timestamp) {
        let is_late = self.waiting_ends().is_some_and(|at| at <= now);
        let Drain::Begun { waiting, .. } = &mut self.drain else { return };
        let clients = &mut self.clients;
        waiting.retain(|connection| {
            let waits = !is_late && clients.endpoint.queued_reliable_bytes(*connection) > 0;
            if !waits {
                clients.close(now, *connection, CloseCode::ShuttingDown);
            }
            waits
        });
    }

    /// Returns when the connections that still wait are closed; `None` if none does.
    pub(super) fn waiting_ends(&self) -> Option<Timestamp> {
        let Drain::Begun { since, waiting, .. } = &self.drain else { return None };
        let until = self.drain_deadline().filter(|_| !waiting.is_empty())?;
        Some(*since + until.since(*since) / 2)
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self.drain, Drain::Begun { .. })
    }

    /// Ends the connection of a user who arrives during the drain like those of the others.
    pub(super) fn join_drain(&mut self, connection: ConnectionId) {
        self.disconnect(connection, LeaveReason::Dropped, CloseCode::ShuttingDown);
        if let Drain::Begun { waiting, .. } = &mut self.drain {
            waiting.push(connection);
        }
    }

    /// Returns the latest end of the drain.
    pub(super) fn drain_deadline(&self) -> Option<Timestamp> {
        self.shared.drain_until()
    }

    fn is_drain_over(&self, now: Timestamp) -> bool {
        self.drain_deadline().is_some_and(|until| until <= now)
    }

    /// Tells the other workers once this one has nobody left to notify. Until all have told so, it forwards
    /// what comes for them: with its socket's end, the kernel would spread their clients' answers anew.
    pub(super) fn note_all_told(&mut self) {
        let are_told = self.is_draining() && self.all_told();
        if let Drain::Begun { is_done, .. } = &mut self.drain
            && are_told
            && !std::mem::replace(is_done, true)
        {
            self.shared.end_drain();
        }
    }

    /// Returns true if no worker has a client left to notify, or no time is left for it.
    pub(super) fn is_drained(&self) -> bool {
        self.is_draining() && (self.shared.all_drained() || self.is_drain_over(self.now))
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
