//! Where the peer is: the active address, and another that it may have moved to.
//!
//! A server accepts a sealed packet from any address, so what a client sends continues at once when its
//! address changes. What the server sends follows when the new address has answered a challenge sent to it.
//! Until then the new address is *pending*: it receives at most three times the bytes that came from it, and
//! any newer packet from the active address ends the attempt. Spec: paths.md.
//!
//! A path leads to one of a server's addresses, and what is sent on it leaves from that address. A client's
//! end has one path, to its server, which never changes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{Blank, Rare, Route, Timestamp};

/// The data of a PATH_CHALLENGE and of its response.
pub type ChallengeData = [u8; 8];

/// The paths of a connection.
#[derive(Debug)]
pub struct Paths {
    active: Route,
    pending: Option<Box<Pending>>,
    /// No attempt begins earlier. Spec: PTH-5.
    next_attempt_at: Timestamp,
    responses: Rare<Responses>,
}

/// The responses to the peer's challenges.
#[derive(Debug, Default)]
struct Responses {
    /// Responses that wait to be sent, and where their challenges came from.
    waiting: VecDeque<(Route, ChallengeData)>,
    /// Challenges accepted since `second`.
    taken: u32,
    second: Timestamp,
}

/// An address that has not been proved.
#[derive(Debug)]
struct Pending {
    address: Route,
    challenge: ChallengeData,
    /// The data for the active address.
    counter_challenge: ChallengeData,
    received_bytes: usize,
    sent_bytes: usize,
    challenges: Challenges,
    /// When the attempt is abandoned.
    ends: Timestamp,
}

/// When both addresses are challenged.
#[derive(Debug)]
struct Challenges {
    /// Tries left.
    left: u32,
    /// Time from the next try to the one after it.
    interval: Duration,
    /// When the next try is due.
    due: Timestamp,
    /// A challenge to the pending address is due and waits for credit.
    owes_pending: bool,
    /// A challenge to the active address is due. It has been proved and needs no credit.
    owes_active: bool,
}

/// How the active address changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Another port of the same IP: the same path to the same host.
    Port,
    /// Another IP: nothing is known of the path.
    Ip,
}

/// Minimum time between the beginnings of two attempts. Spec: PTH-5.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);
/// Challenges of one attempt to each address. Spec: PTH-6.
const TRIES: u32 = 16;
/// Maximum time between two challenges. Where one exchange in three is lost, as at a loss of 20 % each way,
/// the address usually changes within a second, and an attempt hardly ever fails.
const MAX_INTERVAL: Duration = Duration::from_millis(300);
/// Minimum duration of an attempt, since nothing is known of the new path.
const MIN_ATTEMPT: Duration = Duration::from_secs(3);
/// Bytes sent to a pending address for each byte received from it. Spec: PTH-4.
const AMPLIFICATION: usize = 3;
/// Largest packet that holds only a challenge or a response: header, frame and tag.
const PROBE_PACKET_BYTES: usize = 9 + 9 + 16;
/// Maximum number of challenges that wait for their response. Spec: PTH-7.
const MAX_WAITING_RESPONSES: usize = 4;
/// Maximum number of responses per second. Spec: PTH-7.
const RESPONSES_PER_SECOND: u32 = 16;

impl Paths {
    /// Starts with one path, to `active`.
    pub fn new(active: Route) -> Self {
        Self { active, pending: None, next_attempt_at: Timestamp::ZERO, responses: Rare::default() }
    }

    /// Returns where traffic goes.
    pub fn active(&self) -> Route {
        self.active
    }

    /// Adopts `from`, where the peer's first packet came from, if it has the same IP. Some NATs change the
    /// port after the handshake; another IP has proved nothing.
    // spec: HSK-13
    pub fn fix(&mut self, from: Route) {
        if self.active.has_ips_of(&from) {
            self.active = from;
        }
    }

    /// Notes that a packet of `bytes` bytes that opened came from `from`; `is_newest` when its number is the
    /// largest. `data` draws the data of a challenge.
    // spec: PTH-1, PTH-3
    pub fn on_packet(
        &mut self,
        now: Timestamp,
        from: Route,
        bytes: usize,
        is_newest: bool,
        probe_timeout: Duration,
        data: &mut dyn FnMut() -> ChallengeData,
    ) {
        if from == self.active {
            if is_newest {
                self.end_attempt();
            }
            return;
        }
        match &mut self.pending {
            Some(pending) if pending.address == from => {
                pending.received_bytes = pending.received_bytes.saturating_add(bytes);
            }
            // The attempt for another address, if any, has had its second.
            _ if is_newest && now >= self.next_attempt_at => {
                self.end_attempt();
                self.next_attempt_at = now + ATTEMPT_INTERVAL;
                self.pending = Some(Box::new(Pending {
                    address: from,
                    challenge: data(),
                    counter_challenge: data(),
                    received_bytes: bytes,
                    sent_bytes: 0,
                    challenges: Challenges::new(now, probe_timeout),
                    ends: now + (probe_timeout * 3).max(MIN_ATTEMPT),
                }));
            }
            _ => {}
        }
    }

    /// Ends the current attempt, if any, and forgets the responses that were not for the active address.
    fn end_attempt(&mut self) {
        if self.pending.take().is_some() {
            self.responses.retain(|to| *to == self.active);
        }
    }

    /// Takes a PATH_RESPONSE that came from `from`, and returns how the active address changed, if it did.
    // spec: PTH-2, PTH-3
    pub fn on_response(&mut self, from: Route, data: ChallengeData) -> Option<Change> {
        let pending = self.pending.as_ref()?;
        if data == pending.counter_challenge {
            // Packets to the active address still arrive, wherever the response seems to come from.
            self.end_attempt();
            return None;
        }
        if data != pending.challenge || from != pending.address {
            return None;
        }
        let is_same_ip = self.active.has_ips_of(&from);
        self.active = from;
        self.end_attempt();
        Some(if is_same_ip { Change::Port } else { Change::Ip })
    }

    /// Takes a PATH_CHALLENGE that came from `from`.
    // spec: PTH-7
    pub fn on_challenge(&mut self, now: Timestamp, from: Route, data: ChallengeData) {
        let is_known = from == self.active || self.pending.as_ref().is_some_and(|it| it.address == from);
        if is_known {
            self.responses.on_challenge(now, from, data);
        }
    }

    /// Returns whether a response or a challenge must be sent to the active address.
    pub fn has_for_active(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.challenges.owes_active)
            || self.responses.waiting.iter().any(|(to, _)| *to == self.active)
    }

    /// Takes the next response for the active address.
    pub fn take_response(&mut self) -> Option<ChallengeData> {
        self.responses.take(self.active)
    }

    /// Takes the challenge for the active address.
    pub fn take_challenge(&mut self) -> Option<ChallengeData> {
        let pending = self.pending.as_mut()?;
        pending.challenges.take_for_active().then_some(pending.counter_challenge)
    }

    /// Takes what must be sent to the pending address now, alone in a packet: a response or a challenge.
    // spec: PTH-4, PTH-6
    pub fn take_for_pending(&mut self, now: Timestamp) -> Option<(Route, Probe)> {
        let pending = self.pending.as_mut()?;
        let (address, has_credit) = (pending.address, pending.has_credit(PROBE_PACKET_BYTES));
        if has_credit && let Some(data) = self.responses.take(address) {
            return Some((address, Probe::Response(data)));
        }
        pending.challenges.on_time(now);
        let takes = has_credit && pending.challenges.take_for_pending();
        takes.then_some((address, Probe::Challenge(pending.challenge)))
    }

    /// Notes that `bytes` bytes were sent to the pending address.
    pub fn on_sent_to_pending(&mut self, bytes: usize) {
        if let Some(pending) = &mut self.pending {
            pending.sent_bytes = pending.sent_bytes.saturating_add(bytes);
        }
    }

    /// Returns where a CLOSE of `bytes` bytes goes. One that prefers the pending address goes there if it
    /// may: a connection that ends has no time for a proof.
    // spec: CON-6, PTH-4
    pub fn for_close(&mut self, bytes: usize, prefers_pending: bool) -> Route {
        match &mut self.pending {
            Some(pending) if prefers_pending && pending.has_credit(bytes) => {
                pending.sent_bytes += bytes;
                pending.address
            }
            _ => self.active,
        }
    }

    /// Returns when [`Self::handle_timeout`] or another challenge is due.
    pub fn deadline(&self) -> Option<Timestamp> {
        let pending = self.pending.as_ref()?;
        Some(pending.challenges.deadline().map_or(pending.ends, |due| due.min(pending.ends)))
    }

    /// Abandons an attempt whose time is over.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.pending.as_ref().is_some_and(|pending| now >= pending.ends) {
            self.end_attempt();
        }
    }
}

impl Blank for Responses {
    const BLANK: &'static Self = &Self { waiting: VecDeque::new(), taken: 0, second: Timestamp::ZERO };
}

impl Rare<Responses> {
    fn on_challenge(&mut self, now: Timestamp, from: Route, data: ChallengeData) {
        if now.since(self.second) >= Duration::from_secs(1) {
            (self.second, self.taken) = (now, 0);
        }
        if self.waiting.len() < MAX_WAITING_RESPONSES && self.taken < RESPONSES_PER_SECOND {
            self.taken += 1;
            self.waiting.push_back((from, data));
        }
    }

    fn take(&mut self, to: Route) -> Option<ChallengeData> {
        let at = self.waiting.iter().position(|(from, _)| *from == to)?;
        self.waiting.remove(at).map(|(_, data)| data)
    }

    /// Keeps only the responses whose destination satisfies `stays`.
    fn retain(&mut self, stays: impl Fn(&Route) -> bool) {
        if let Some(responses) = self.get_mut() {
            responses.waiting.retain(|(to, _)| stays(to));
        }
    }
}

impl Pending {
    /// Returns whether a packet of `bytes` bytes stays within three times the bytes received.
    fn has_credit(&self, bytes: usize) -> bool {
        self.sent_bytes + bytes <= self.received_bytes.saturating_mul(AMPLIFICATION)
    }
}

impl Challenges {
    fn new(now: Timestamp, probe_timeout: Duration) -> Self {
        let interval = probe_timeout.min(MAX_INTERVAL);
        Self { left: TRIES, interval, due: now, owes_pending: false, owes_active: false }
    }

    /// Begins a try if one is due.
    // spec: PTH-6
    fn on_time(&mut self, now: Timestamp) {
        if self.left > 0 && now >= self.due {
            self.left -= 1;
            self.due = now + self.interval;
            self.interval = (self.interval * 2).min(MAX_INTERVAL);
            (self.owes_pending, self.owes_active) = (true, true);
        }
    }

    /// Returns whether the pending address must be challenged, which then counts as done.
    fn take_for_pending(&mut self) -> bool {
        std::mem::take(&mut self.owes_pending)
    }

    /// Returns whether the active address must be challenged, which then counts as done.
    fn take_for_active(&mut self) -> bool {
        std::mem::take(&mut self.owes_active)
    }

    /// Returns when the next try is due.
    fn deadline(&self) -> Option<Timestamp> {
        (self.left > 0).then_some(self.due)
    }
}

/// The content of a packet for a pending address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Asks whether the peer is at the address.
    Challenge(ChallengeData),
    /// Answers the peer's own challenge.
    Response(ChallengeData),
}
