//! [`Worker`]: one thread's share of a server, sans-IO.
//!
//! A worker owns its connections, of which each may move to another worker once, and shares sessions and
//! users with the others. What a datagram causes takes this way: endpoint → `dispatch` (a command) →
//! session table → mail → `fanout` (events) → endpoint. Its own mail goes the same way as that of the
//! others, so that all rosters see one order.
//!
//! | file | what it does |
//! |---|---|
//! | `bodies` | memory for what members send |
//! | `clients` | the connected users: their slots, budgets and queues |
//! | `connections` | who connects, second connections of a user, the end of a connection |
//! | `dispatch` | from a message to the command in it, and to its answer |
//! | `requests` | the commands that are answered |
//! | `invites` | what touches invites and so the user directory |
//! | `operator` | what the program around the server decides |
//! | `placement` | which worker serves a user: the members of a session gather |
//! | `held` | results that wait for the snapshot before them |
//! | `answers` | what is said to commands about sessions, and waits for the events before it |
//! | `lagging` | for whom too much waits, and for how long |
//! | `fanout` | mail to members: events, snapshots |
//! | `deadlines` | what is due without a datagram |
//! | `drain` | the end of the server |
//!
//! The calling contract is that of [`Driven`]. Time comes in as [`Now`], randomness as a seeded
//! generator; nothing here depends on the order of a hash map.

mod answers;
mod bodies;
mod clients;
mod connections;
mod deadlines;
mod dispatch;
mod drain;
mod fanout;
mod held;
mod invites;
mod lagging;
mod operator;
mod placement;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use rand::rngs::StdRng;

pub use self::placement::Mover;

use self::bodies::Bodies;
use self::clients::Clients;
use super::counters::WorkerCounters;
use super::mail::{Mail, Post, WorkerSet};
use super::roster::Rosters;
use super::shared::Shared;
use crate::base::{Envelope, Now, Timestamp, WorkerId, Writer};
use crate::net::Driven;
use crate::rudp::{Endpoint, EndpointConfig, EndpointEvent, Input};
use crate::session::{Outbox, SessionTable};

/// One worker of a server. See the [module](self).
pub struct Worker {
    id: WorkerId,
    shared: Arc<Shared>,
    clients: Clients,
    rosters: Rosters,
    /// Datagrams of a batch that are not handled yet; between turns only memory.
    arrived: VecDeque<(Envelope, BytesMut)>,
    /// Mail taken from the mailbox and not yet handled; between turns only what the next one begins with.
    mail: VecDeque<Mail>,
    bodies: Bodies,
    /// Where heads of events are written; keeps its memory.
    scratch: Writer,
    /// Workers that this turn has written to.
    to_wake: WorkerSet,
    /// The latest time that came in.
    now: Timestamp,
    /// The turn ended with mail left: the next one begins at once.
    behind: bool,
    draining: bool,
}

/// Rounds of events and mail in one turn. A round may cause mail to this worker itself; what is
/// left waits for the next turn, so that sending is never put off for long.
const ROUNDS: usize = 8;

/// Messages to clients that the mail of one turn leads to; the last mail may exceed it. However much mail there is,
/// datagrams are received and sent in between.
const SENDS_A_TURN: u64 = 4_096;

/// What a batch of datagrams has led to is carried out before more of it is taken in, once it is so much.
const EVENTS_AT_ONCE: usize = 1_024;

impl Worker {
    /// Worker `id` of a server with the state `shared`. `config` is the same for all of them.
    pub fn new(shared: Arc<Shared>, config: Arc<EndpointConfig>, id: WorkerId, rng: StdRng) -> Self {
        let endpoint = Endpoint::new(config, id, Arc::clone(&shared.ledger), rng);
        Self {
            id,
            clients: Clients::new(endpoint, &shared.limits),
            shared,
            rosters: Rosters::default(),
            arrived: VecDeque::new(),
            mail: VecDeque::new(),
            bodies: Bodies::default(),
            scratch: Writer::new(),
            to_wake: WorkerSet::default(),
            now: Timestamp::ZERO,
            behind: false,
            draining: false,
        }
    }

    /// The next datagram of a batch; has the memory that those behind it need fetched meanwhile.
    fn next_arrived(&self, arrived: &mut VecDeque<(Envelope, BytesMut)>) -> Option<(Envelope, BytesMut)> {
        let (endpoint, [far, near]) = (&self.clients.endpoint, Endpoint::AHEAD);
        if let Some((_, datagram)) = arrived.get(far) {
            endpoint.prefetch_receiver(datagram);
        }
        if let Some((_, datagram)) = arrived.get(near) {
            endpoint.prefetch_to_receive(datagram);
        }
        arrived.pop_front()
    }

    /// After any input: carries out what it has caused, here and by mail.
    fn settle(&mut self, now: Now) {
        self.now = self.now.max(now.mono);
        let now = now.mono;
        self.start_drain(now);
        self.handle_events(now);
        // From here on: the mail gets its share, however much the datagrams have led to.
        let enough = self.clients.sends() + SENDS_A_TURN;
        for _ in 0..ROUNDS {
            self.wake_others();
            self.expire(now);
            self.close_lagging(now);
            self.tell_homes();
            // Last: without mail this round has left nothing to do.
            self.behind = self.handle_mail(now, enough);
            if !self.behind || self.clients.sends() >= enough {
                break;
            }
            self.handle_events(now);
        }
        // Whom the last round has refused a message is told no later one.
        // spec: SES-12
        self.close_lagging(now);
        // What that has told this worker's own members is for its next turn.
        self.behind |= !self.has_no_mail();
        self.wake_others();
        // Asked again behind the mail: from there on a drain wakes this worker anew.
        self.start_drain(now);
        self.publish_counters();
    }

    fn handle_events(&mut self, now: Timestamp) {
        while let Some(event) = self.clients.endpoint.poll_event() {
            match event {
                EndpointEvent::Connected { connection, claims, from } => {
                    self.connected(now, connection, &claims, from);
                }
                EndpointEvent::Message { connection, stream, payload, .. } => {
                    self.dispatch(now, connection, stream, payload);
                }
                EndpointEvent::Closed { connection, why } => self.closed(now, connection, &why),
            }
        }
    }

    /// Handles the mail that is there, and sends the answers behind it, until `enough` has been sent; true when there was
    /// some, so that more may be.
    fn handle_mail(&mut self, now: Timestamp, enough: u64) -> bool {
        let mut waiting = std::mem::take(&mut self.mail);
        if let Some(mailbox) = self.shared.mailboxes.of(self.id).filter(|_| waiting.is_empty()) {
            mailbox.take_all(&mut waiting);
        }
        let (count, mut handled) = (waiting.len(), 0);
        // Those of the last turn have not all left.
        let mut more_answers = self.clients.send_answers(now, enough);
        while self.clients.sends() < enough
            && let Some(mail) = waiting.pop_front()
        {
            let deliveries = mail.deliveries();
            match mail {
                // From a turn that began later than this one. For a connection, time does not run backwards.
                Mail::Moved(mover) if mover.at() > now => {
                    waiting.push_front(Mail::Moved(mover));
                    break;
                }
                Mail::Forwarded { from, datagram } => self.forwarded(now, from, datagram),
                Mail::Moved(mover) => self.move_in(now, *mover),
                Mail::Ended(connection) => self.clients.endpoint.forget(now, connection),
                _ if self.draining => {}
                Mail::Fanout(fanout) => self.fan_out(now, fanout),
                Mail::ToUser { connection, word } => self.pass_word(now, connection, word),
                Mail::CloseSession { session, reason } => self.close_session(now, session, reason),
                Mail::RemoveMember { session, user, reason } => {
                    self.remove_member(now, session, &user, reason);
                }
            }
            handled += deliveries;
            self.clients.answer_turns.mail_handled();
            more_answers = self.clients.send_answers(now, enough);
        }
        if let Some(mailbox) = self.shared.mailboxes.of(self.id) {
            mailbox.handled(handled);
        }
        self.counters().mails.add((count - waiting.len()) as u64);
        self.mail = waiting;
        count > 0 || more_answers
    }

    /// Calls into the session table with a port that posts to all workers.
    fn with_table<T>(&mut self, call: impl FnOnce(&SessionTable, &mut dyn Outbox) -> T) -> T {
        let mut post = Post::new(&self.shared.mailboxes, &mut self.to_wake);
        call(&self.shared.sessions, &mut post)
    }

    fn wake_others(&mut self) {
        let to_wake = std::mem::take(&mut self.to_wake);
        for worker in self.shared.mailboxes.workers() {
            if worker != self.id
                && to_wake.contains(worker)
                && let Some(mailbox) = self.shared.mailboxes.of(worker)
            {
                mailbox.wake();
            }
        }
    }

    fn counters(&self) -> &WorkerCounters {
        self.shared.counters(self.id)
    }

    fn publish_counters(&self) {
        let (counters, endpoint) = (self.counters(), self.clients.endpoint.counters());
        counters.connections.set(self.clients.len() as u64);
        counters.unproven_bytes_in.set(endpoint.unproven_bytes_received);
        counters.unproven_bytes_out.set(endpoint.unproven_bytes_sent);
        for (counter, (_, count)) in counters.dropped.iter().zip(endpoint.dropped_by_reason()) {
            counter.set(count);
        }
    }

    /// What changes when the last word of a connection has left, too.
    fn publish_gauges(&self) {
        let (counters, endpoint) = (self.counters(), &self.clients.endpoint);
        counters.connections_half_open.set(endpoint.half_open_count() as u64);
        counters
            .connections_closing
            .set(endpoint.connection_count().saturating_sub(self.clients.len()) as u64);
    }
}

impl Driven for Worker {
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.extend(batch);
        while let Some((from, datagram)) = self.next_arrived(&mut arrived) {
            match self.clients.endpoint.handle_datagram(now, from, datagram) {
                None => {}
                Some(Input::Incoming(incoming)) => self.incoming(now, incoming),
                Some(Input::Foreign(to, datagram) | Input::Moved(to, datagram)) => {
                    self.forward(to, from, datagram);
                }
            }
            if self.clients.endpoint.waiting_events() >= EVENTS_AT_ONCE {
                self.handle_events(now.mono);
            }
        }
        self.arrived = arrived;
        self.settle(now);
    }

    fn handle_wake(&mut self, now: Now) {
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.clients.endpoint.handle_timeout(now.mono);
        self.settle(now);
    }

    fn poll_transmit(&mut self, now: Now, out: &mut BytesMut) -> Option<Envelope> {
        let next = self.clients.endpoint.poll_transmit(now.mono, out);
        if next.is_none() {
            self.publish_gauges();
        }
        next
    }

    fn has_answers(&self) -> bool {
        self.clients.endpoint.has_answers()
    }

    fn drop_answers(&mut self) -> usize {
        self.clients.endpoint.drop_answers()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let due = [
            self.clients.endpoint.poll_timeout(),
            self.next_expiry(),
            self.clients.lagging_due(),
            (self.behind || self.clients.endpoint.has_ended()).then_some(Timestamp::ZERO),
            self.drain_deadline(),
        ];
        due.into_iter().flatten().min()
    }

    fn is_finished(&self) -> bool {
        self.is_drained()
    }
}
