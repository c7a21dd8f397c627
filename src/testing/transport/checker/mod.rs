//! [`Checker`]: records all that both ends of every connection do and receive, checks it against the
//! transport's promises, and lists what is broken.
//!
//! | file | promises |
//! |---|---|
//! | `attempt` | results of `send` are legal |
//! | `flow` | deliveries of one direction: the modes, and accepted and refused messages |
//! | `side` | one end's life: which close it may report |
//! | `gauge` | timers are armed and make progress, buffers stay within their limits |

mod attempt;
mod flow;
mod gauge;
mod side;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

pub(super) use self::attempt::Attempt;
use self::flow::Flow;
pub(super) use self::gauge::Gauge;
use self::gauge::Pace;
use self::side::{Side, State};
use super::message::End;
use crate::base::{StreamId, Timestamp};
use crate::rudp::{Closed, SendError, Sent};
use crate::testing::checker::Life;
use crate::testing::issues::Issues;
use crate::wire::{CloseCode, Delivery};

/// Promises of a run beyond those of every run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The smaller of both ends' idle timeouts.
    pub(super) idle_timeout: Duration,
    /// The paths are so good that no connection may time out while its peer lives.
    pub(super) must_live: bool,
    /// A close must also reach the peer: no connection may time out after its peer has closed it.
    pub(super) must_tell: bool,
}

/// Checks a run against the promises.
pub(super) struct Checker {
    seed: u64,
    rules: Rules,
    issues: Issues,
    lives: BTreeMap<Life, Pair>,
    pace: Pace,
    /// When the last nap of an end, or jump of the clock, is over.
    awake_from: Timestamp,
    counts: Counts,
}

/// Counts of events; a run in which little happens proves little.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) opened: u32,
    pub(super) sent: u64,
    pub(super) refused: u64,
    pub(super) closed: u64,
    pub(super) timed_out: u64,
}

/// Both ends of a connection, and both directions.
struct Pair {
    client: Side,
    server: Side,
    up: Flow,
    down: Flow,
}

impl Checker {
    pub(super) fn new(seed: u64, start: Timestamp, rules: Rules) -> Self {
        Self {
            seed,
            rules,
            issues: Issues::default(),
            lives: BTreeMap::new(),
            pace: Pace::default(),
            awake_from: start,
            counts: Counts::default(),
        }
    }

    /// Returns the broken promises, in the order in which they were detected.
    pub(super) fn issues(&self) -> &[String] {
        &self.issues.lines
    }

    /// Returns the run's seed, from which payloads are derived.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the number of messages that arrived.
    pub(super) fn arrived(&self) -> u64 {
        self.lives.values().map(|pair| pair.up.arrived() + pair.down.arrived()).sum()
    }

    /// Counts a step; returns false if too much happens in one instant.
    pub(super) fn step(&mut self, now: Timestamp) -> bool {
        self.issues.now = now;
        let moves = self.pace.step(now);
        self.expect(moves, || "timers come due again and again, and time stands still");
        moves
    }

    /// Records that an end sent `datagrams` datagrams at once; too many count as endless, and stop the run.
    pub(super) fn burst(&mut self, end: End, datagrams: usize) {
        if datagrams >= MAX_BURST {
            self.pace.stop();
            self.issues.add(format_args!("{end:?} sends without end"));
        }
    }

    /// Records an issue unless `holds`.
    pub(super) fn expect<T: fmt::Display>(&mut self, holds: bool, issue: impl FnOnce() -> T) {
        if !holds {
            self.issues.add(issue());
        }
    }

    /// Records that a client begins to connect.
    pub(super) fn born(&mut self, life: Life) {
        let flow = |from| Flow::new(self.seed, life, from);
        let (up, down) = (flow(End::Client), flow(End::Server));
        self.lives.insert(life, Pair { client: Side::default(), server: Side::default(), up, down });
    }

    /// Records that the client has an address that was another's, so that datagrams for the other may arrive
    /// there.
    pub(super) fn inherits(&mut self, life: Life) {
        if let Some(pair) = self.lives.get_mut(&life) {
            pair.client.is_ambiguous = true;
        }
    }

    /// Records that an end has its connection.
    pub(super) fn opened(&mut self, life: Life, end: End) {
        let Some(pair) = self.lives.get_mut(&life) else { return };
        let before = std::mem::replace(&mut pair.side_mut(end).state, State::Open);
        self.counts.opened += u32::from(end == End::Client);
        self.expect(before == State::Unborn, || format!("{life:?} opened at {end:?} while {before:?}"));
    }

    /// Records that the client's process ended without closing its connection.
    pub(super) fn crashed(&mut self, life: Life) {
        if let Some(Pair { client, .. }) = self.lives.get_mut(&life) {
            // It may have closed, and not have sent its close often enough.
            client.is_cut_short = true;
            if client.state != State::Closed {
                client.state = State::Gone;
            }
        }
    }

    /// Records that an end sleeps, or the clock jumps, until `until`: silence before that is no fault.
    pub(super) fn sleeps(&mut self, until: Timestamp) {
        self.awake_from = self.awake_from.max(until);
    }

    /// Records that an end was given a packet, the `number`th of its peer.
    pub(super) fn heard(&mut self, now: Timestamp, life: Life, end: End, number: u64) {
        if let Some(pair) = self.lives.get_mut(&life) {
            pair.side_mut(end).heard(now, number);
        }
    }

    /// Records that an end sent a packet.
    pub(super) fn spoke(&mut self, now: Timestamp, life: Life, end: End) {
        if let Some(pair) = self.lives.get_mut(&life) {
            pair.side_mut(end).spoke = Some(now);
        }
    }

    /// Records that an end's owner closes it.
    pub(super) fn closes(&mut self, life: Life, end: End, code: CloseCode, reason: &str) {
        if let Some(pair) = self.lives.get_mut(&life)
            && pair.side(end).state == State::Open
        {
            self.counts.closed += 1;
            pair.side_mut(end).said = Some((code, reason.to_owned()));
        }
    }

    /// Records that an end reports that it is closed.
    pub(super) fn closed(&mut self, now: Timestamp, life: Life, end: End, why: &Closed) {
        let Some(pair) = self.lives.get_mut(&life) else { return };
        let (before, peer) = (pair.side(end).state, pair.side(end.peer()));
        let mut issue = pair.side(end).objection(now, self.rules.idle_timeout, why, peer);
        if *why == Closed::TimedOut {
            self.counts.timed_out += 1;
            let is_certain = !pair.side(end).is_ambiguous && !peer.timed_out;
            issue = issue.or_else(|| neglect(self.rules, self.awake_from, now, peer).filter(|_| is_certain));
        }
        pair.side_mut(end).state = State::Closed;
        pair.side_mut(end).timed_out = *why == Closed::TimedOut;
        self.expect(before == State::Open, || format!("{life:?} closed at {end:?} while {before:?}"));
        if let Some(issue) = issue {
            self.issues.add(format_args!("{life:?}: {end:?} {issue}"));
        }
    }

    /// Records a call of `send` and its result.
    pub(super) fn sent(&mut self, life: Life, from: End, attempt: &Attempt, answer: Result<Sent, SendError>) {
        let Some(pair) = self.lives.get_mut(&life) else { return };
        match answer {
            Ok(_) => self.counts.sent += 1,
            Err(_) => self.counts.refused += 1,
        }
        let message = (attempt.stream, attempt.delivery, attempt.payload);
        let state = pair.side(from).state;
        pair.flow_mut(from).sent(attempt.serial, message, answer, &mut self.issues);
        if let Some(issue) = attempt.objection(state, answer) {
            self.issues.add(format_args!("{life:?}: {from:?} {issue}"));
        }
    }

    /// Records that an end has finished a stream and must receive nothing more on it.
    pub(super) fn ended(&mut self, life: Life, end: End, stream: StreamId) {
        if let Some(pair) = self.lives.get_mut(&life) {
            pair.flow_mut(end.peer()).ended(stream);
        }
    }

    /// Records a message that an end was handed.
    pub(super) fn message(
        &mut self,
        life: Life,
        end: End,
        stream: Option<StreamId>,
        delivery: Delivery,
        payload: &Bytes,
    ) {
        let Some(pair) = self.lives.get_mut(&life) else { return };
        let state = pair.side(end).state;
        pair.flow_mut(end.peer()).receive(stream, delivery, payload, &mut self.issues);
        self.expect(state == State::Open, || format!("{life:?}: {end:?} got a message while {state:?}"));
    }

    /// Checks a connection's state after its outputs were drained.
    pub(super) fn gauge(&mut self, now: Timestamp, life: Life, end: End, gauge: &Gauge) {
        if let Some(issue) = gauge.objection(now) {
            self.issues.add(format_args!("{life:?} at {end:?}: {issue}"));
        }
    }

    /// Requires that everything sent from now on arrives, in every mode: the paths are good and idle.
    pub(super) fn expect_all(&mut self) {
        for pair in self.lives.values_mut() {
            pair.up.expect_all();
            pair.down.expect_all();
        }
    }

    /// Checks, with nothing in flight, that of each connection both ends live or neither does, and that
    /// everything between living ends has arrived.
    pub(super) fn judge_the_living(&mut self) {
        for (life, pair) in &self.lives {
            let states = [&pair.client, &pair.server].map(|side| side.state);
            match states.map(|state| state == State::Open) {
                [true, true] => {
                    pair.up.finish(&mut self.issues);
                    pair.down.finish(&mut self.issues);
                }
                [false, false] => {}
                _ => self.issues.add(format_args!("{life:?}: an end was not told of the end: {states:?}")),
            }
        }
    }

    /// Checks that every end is closed after all have left.
    pub(super) fn judge_the_dead(&mut self) {
        for (life, pair) in &self.lives {
            for (end, side) in [(End::Client, &pair.client), (End::Server, &pair.server)] {
                if side.state == State::Open {
                    self.issues.add(format_args!("{life:?} was never closed at {end:?}"));
                }
            }
        }
    }
}

/// Maximum number of datagrams that an end may send at once: more than all its buffers hold.
pub(super) const MAX_BURST: usize = 10_000;
/// Returns why the peer should not have fallen silent while this end waited for it.
fn neglect(rules: Rules, awake_from: Timestamp, now: Timestamp, peer: &Side) -> Option<String> {
    if peer.state == State::Closed && peer.said.is_some() && !peer.is_cut_short && rules.must_tell {
        return Some("timed out on a good path, although its peer closed".to_owned());
    }
    if peer.state != State::Open {
        return None;
    }
    if rules.must_live {
        return Some("timed out on a good path while its peer lives".to_owned());
    }
    // A keepalive is due after a third of the idle timeout.
    let is_awake = awake_from + rules.idle_timeout <= now;
    let is_silent = peer.spoke.is_none_or(|spoke| spoke + rules.idle_timeout / 2 < now);
    (is_awake && is_silent).then(|| format!("timed out, its peer last said something at {:?}", peer.spoke))
}

impl Pair {
    fn side(&self, end: End) -> &Side {
        match end {
            End::Client => &self.client,
            End::Server => &self.server,
        }
    }

    fn side_mut(&mut self, end: End) -> &mut Side {
        match end {
            End::Client => &mut self.client,
            End::Server => &mut self.server,
        }
    }

    /// The flow of the messages that `from` sends.
    fn flow_mut(&mut self, from: End) -> &mut Flow {
        match from {
            End::Client => &mut self.up,
            End::Server => &mut self.down,
        }
    }
}
