//! [`Worker`]: one thread's share of a server, sans-IO.
//!
//! A worker owns its connections, each of which may move to another worker once, and shares sessions and
//! users with the others. The effects of a datagram take this path: endpoint → `dispatch` (a command) →
//! session table → mail → `fanout` (events) → endpoint. A worker's own mail takes the same path as that of
//! the others, so that all rosters see one order.
//!
//! | file | what it does |
//! |---|---|
//! | `bodies` | memory for the payloads that members send |
//! | `client` | one connected user: slots, budget, answers that are held back |
//! | `clients` | all connected users, and what is sent to them |
//! | `connections` | new connections, second connections of a user, the end of a connection |
//! | `dispatch` | from a message to its command, and to the answer |
//! | `requests` | the commands that have a result |
//! | `invites` | invites, which also involve the user directory |
//! | `operator` | decisions of the surrounding program |
//! | `placement` | which worker serves a user: the members of a session gather |
//! | `held` | answers that are held back: what, for whom, until when |
//! | `lagging` | connections for which too much waits, and for how long |
//! | `fanout` | mail to members: events, snapshots |
//! | `deadlines` | work that is due without a datagram |
//! | `drain` | the end of the server |
//!
//! The calling contract is that of [`Driven`]. Time is passed in as [`Now`], randomness as a seeded
//! generator; nothing here depends on the iteration order of a hash map.

mod bodies;
mod client;
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
use self::drain::Drain;
use super::counters::WorkerCounters;
use super::mail::{Mail, Post, WorkerSet};
use super::mailbox::{MailRoom, Mailbox};
use super::roster::Rosters;
use super::shared::Shared;
use crate::base::{Envelope, Now, Timestamp, WorkerId, Writer};
use crate::net::Driven;
use crate::rudp::{Endpoint, EndpointConfig, EndpointEvent, ForOwner};
use crate::session::{SessionTable, WorkerPort};

/// One worker of a server. See the [module](self).
pub struct Worker {
    id: WorkerId,
    shared: Arc<Shared>,
    clients: Clients,
    rosters: Rosters,
    /// Datagrams of a batch that are not handled yet. Empty between turns; kept for its memory.
    arrived: VecDeque<(Envelope, BytesMut)>,
    /// Mail taken from the mailbox and not yet handled; between turns, the mail that the next one begins
    /// with.
    mail: VecDeque<Mail>,
    bodies: Bodies,
    /// Buffer for the heads of events; keeps its memory.
    scratch: Writer,
    /// Workers that received mail in this turn.
    to_wake: WorkerSet,
    /// The latest time passed in.
    now: Timestamp,
    /// The turn ended with mail left, so the next one begins at once.
    behind: bool,
    drain: Drain,
}

/// Rounds of events and mail in one turn. A round may cause mail to this worker itself; the rest waits for
/// the next turn, so that sending is never delayed for long.
const ROUNDS: usize = 8;

/// Mails for which memory is kept.
const MAILS_KEPT: usize = 4_096;

/// Messages to clients that the mail of one turn may cause; the last mail may exceed it. However much mail
/// waits, datagrams are received and sent in between.
const SENDS_A_TURN: u64 = 4_096;

/// Number of waiting events at which they are handled before more of a batch of datagrams is taken in.
const EVENTS_AT_ONCE: usize = 1_024;

impl Worker {
    /// Creates worker `id` of a server with the state `shared`. `config` is the same for all workers.
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
            drain: Drain::NotYet,
        }
    }

    /// Returns the next datagram of a batch, and prefetches the memory that the datagrams behind it need.
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

    /// Carries out everything that an input has caused, here and by mail.
    fn settle(&mut self, now: Now) {
        self.now = self.now.max(now.mono);
        let now = now.mono;
        self.start_drain(now);
        self.handle_events(now);
        // From here on the mail gets its share, however much the datagrams have caused.
        let enough = self.clients.sends() + SENDS_A_TURN;
        for _ in 0..ROUNDS {
            self.wake_others();
            self.expire(now);
            self.close_lagging(now);
            self.tell_homes();
            // Last: a round without mail has left nothing to do.
            self.behind = self.handle_mail(now, enough);
            if !self.behind || self.clients.sends() >= enough {
                break;
            }
            self.handle_events(now);
        }
        // A connection that had no room for a message in the last round must not get a later one.
        // spec: SES-12
        self.close_lagging(now);
        // After the mail, which brings acks, too.
        self.close_waiting(now);
        // What that has told this worker's own members is for its next turn.
        self.behind |= !self.has_no_mail();
        self.wake_others();
        // Checked again after the mail: from here on a drain wakes this worker again.
        self.behind |= self.settle_drain(now);
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
                EndpointEvent::AddressChanged { connection, to } => self.address_changed(connection, to),
                EndpointEvent::Closed { connection, why } => self.closed(now, connection, &why),
            }
        }
    }

    /// Handles the mail that is present, and sends the answers behind it, until `enough` has been sent.
    /// Returns true if there was some, so that more may follow.
    fn handle_mail(&mut self, now: Timestamp, enough: u64) -> bool {
        let mut waiting = std::mem::take(&mut self.mail);
        if let Some(mailbox) = self.shared.mailboxes.get(self.id).filter(|_| waiting.is_empty()) {
            mailbox.take_all(&mut waiting);
        }
        let (count, mut handled) = (waiting.len(), MailRoom::default());
        // Some answers of the last turn may still wait.
        let mut more_answers = self.clients.send_answers(now, enough);
        while self.clients.sends() < enough
            && let Some(mail) = waiting.pop_front()
        {
            let room = mail.room();
            match mail {
                // From a turn that began later than this one. For a connection, time must not run backwards.
                Mail::Moved(mover) if mover.at() > now => {
                    waiting.push_front(Mail::Moved(mover));
                    break;
                }
                Mail::Forwarded { from, datagram } => self.forwarded(now, from, datagram),
                Mail::Moved(mover) => self.move_in(now, *mover),
                Mail::Ended(connection) => self.clients.endpoint.forget(now, connection),
                _ if self.is_draining() => {}
                Mail::Fanout(fanout) => self.fan_out(now, fanout),
                Mail::ToUser { connection, word } => self.pass_word(now, connection, word),
                Mail::CloseSession { session, reason } => self.close_session(now, session, reason),
                Mail::RemoveMember { session, user, reason } => {
                    self.remove_member(now, session, &user, reason);
                }
            }
            handled += room;
            self.clients.answer_turns.mail_handled();
            more_answers = self.clients.send_answers(now, enough);
        }
        if let Some(mailbox) = self.shared.mailboxes.get(self.id) {
            mailbox.give_back(handled);
        }
        self.counters().mails.add((count - waiting.len()) as u64);
        if waiting.is_empty() {
            // The mailbox gets it next: what one flood has filled is not kept.
            waiting.shrink_to(MAILS_KEPT);
        }
        self.mail = waiting;
        count > 0 || more_answers
    }

    /// Returns the number of mails that have been handled once those present now are.
    fn mails_so_far(&self) -> u64 {
        let waiting = self.mail.len() + self.shared.mailboxes.get(self.id).map_or(0, Mailbox::len);
        self.clients.answer_turns.handled() + waiting as u64
    }

    /// Calls into the session table with a port that posts to all workers.
    fn with_table<T>(&mut self, call: impl FnOnce(&SessionTable, &mut dyn WorkerPort) -> T) -> T {
        let mut post = Post::new(&self.shared.mailboxes, &mut self.to_wake);
        call(&self.shared.sessions, &mut post)
    }

    fn wake_others(&mut self) {
        let to_wake = std::mem::take(&mut self.to_wake);
        for worker in self.shared.mailboxes.workers() {
            if worker != self.id
                && to_wake.contains(worker)
                && let Some(mailbox) = self.shared.mailboxes.get(worker)
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

    /// Publishes the gauges that also change when the last packet of a connection has left.
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
                Some(ForOwner::Incoming(incoming)) => self.incoming(now, incoming),
                Some(ForOwner::Foreign(to, datagram) | ForOwner::Moved(to, datagram)) => {
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
            self.note_all_told();
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
            self.waiting_ends(),
            self.drain_deadline(),
        ];
        due.into_iter().flatten().min()
    }

    fn is_finished(&self) -> bool {
        self.is_drained()
    }
}
