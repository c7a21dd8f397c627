//! [`Checker`]: hears all that both ends of every connection do and are told, holds the transport's
//! promises against it, and lists what is broken.
//!
//! | file | promises |
//! |---|---|
//! | `attempt` | answers of `send` that are due |
//! | `flow` | deliveries of one direction: the modes, and answers of `send` that are honoured |
//! | `side` | one end's life: who may be told of which close |
//! | `gauge` | timers are armed and make progress, buffers keep their limits |

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

/// What a run promises besides what every run does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The smaller of both ends' idle timeouts.
    pub(super) idle_timeout: Duration,
    /// The paths are so good that no connection may time out while its peer lives.
    pub(super) must_live: bool,
    /// Nor may the end of one that is closed go unheard.
    pub(super) must_tell: bool,
}

/// Holds a run to the promises.
pub(super) struct Checker {
    seed: u64,
    rules: Rules,
    issues: Issues,
    lives: BTreeMap<Life, Pair>,
    pace: Pace,
    /// When the last sleep of an end, or of all at once, is over.
    awake_from: Timestamp,
    counts: Counts,
}

/// What happened: a run in which little happens proves little.
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

    /// What is broken, in the order in which it showed.
    pub(super) fn issues(&self) -> &[String] {
        &self.issues.lines
    }

    /// The run's seed: payloads follow from it.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Messages that arrived.
    pub(super) fn arrived(&self) -> u64 {
        self.lives.values().map(|pair| pair.up.arrived() + pair.down.arrived()).sum()
    }

    /// Time passes, or does not: false when too much happens in one instant.
    pub(super) fn step(&mut self, now: Timestamp) -> bool {
        self.issues.now = now;
        let moves = self.pace.step(now);
        self.expect(moves, || "timers come due again and again, and time stands still");
        moves
    }

    /// An end had so many datagrams to send at once; too many are without end, and end the run.
    pub(super) fn burst(&mut self, end: End, datagrams: usize) {
        if datagrams >= MAX_BURST {
            self.pace.stop();
            self.issues.add(format_args!("{end:?} sends without end"));
        }
    }

    /// Notes an issue unless `holds`.
    pub(super) fn expect<T: fmt::Display>(&mut self, holds: bool, issue: impl FnOnce() -> T) {
        if !holds {
            self.issues.add(issue());
        }
    }

    /// A client begins to connect.
    pub(super) fn born(&mut self, life: Life) {
        let flow = |from| Flow::new(self.seed, life, from);
        let (up, down) = (flow(End::Client), flow(End::Server));
        self.lives.insert(life, Pair { client: Side::default(), server: Side::default(), up, down });
    }

    /// The client has an address that was another's: what comes there may be for that one.
    pub(super) fn inherits(&mut self, life: Life) {
        if let Some(pair) = self.lives.get_mut(&life) {
            pair.client.is_ambiguous = true;
        }
    }

    /// An end has its connection.
    pub(super) fn opened(&mut self, life: Life, end: End) {
        let Some(pair) = self.lives.get_mut(&life) else { return };
        let before = std::mem::replace(&mut pair.side_mut(end).state, State::Open);
        self.counts.opened += u32::from(end == End::Client);
        self.expect(before == State::Unborn, || format!("{life:?} opened at {end:?} while {before:?}"));
    }

    /// The client's process is gone, without a word.
    pub(super) fn crashed(&mut self, life: Life) {
        if let Some(Pair { client, .. }) = self.lives.get_mut(&life) {
            // It may have closed, and not have said so often enough.
            client.is_cut_short = true;
            if client.state != State::Closed {
                client.state = State::Gone;
            }
        }
    }

    /// An end sleeps, or the clock jumps, to `until`: silence before is nobody's fault.
    pub(super) fn sleeps(&mut self, until: Timestamp) {
        self.awake_from = self.awake_from.max(until);
    }

    /// An end was given a packet, the `number`th of its peer.
    pub(super) fn heard(&mut self, now: Timestamp, life: Life, end: End, number: u64) {
        if let Some(pair) = self.lives.get_mut(&life) {
            pair.side_mut(end).heard(now, number);
        }
    }

    /// A packet of an end left.
    pub(super) fn spoke(&mut self, now: Timestamp, life: Life, end: End) {
        if let Some(pair) = self.lives.get_mut(&life) {
            pair.side_mut(end).spoke = Some(now);
        }
    }

    /// An end's owner closes it.
    pub(super) fn closes(&mut self, life: Life, end: End, code: CloseCode, reason: &str) {
        if let Some(pair) = self.lives.get_mut(&life)
            && pair.side(end).state == State::Open
        {
            self.counts.closed += 1;
            pair.side_mut(end).said = Some((code, reason.to_owned()));
        }
    }

    /// An end is told that it is closed.
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

    /// An end tries to send, and `send` answers.
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

    /// An end has finished a stream: it gets nothing more of it.
    pub(super) fn ended(&mut self, life: Life, end: End, stream: StreamId) {
        if let Some(pair) = self.lives.get_mut(&life) {
            pair.flow_mut(end.peer()).ended(stream);
        }
    }

    /// An end was handed a message.
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

    /// How a connection looks after its outputs were drained.
    pub(super) fn gauge(&mut self, now: Timestamp, life: Life, end: End, gauge: &Gauge) {
        if let Some(issue) = gauge.objection(now) {
            self.issues.add(format_args!("{life:?} at {end:?}: {issue}"));
        }
    }

    /// The paths are good and idle: whatever is sent from now on arrives, in every mode.
    pub(super) fn expect_all(&mut self) {
        for pair in self.lives.values_mut() {
            pair.up.expect_all();
            pair.down.expect_all();
        }
    }

    /// Nothing is under way any more: both ends of a connection live or neither does, and between
    /// those that live everything has arrived.
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

    /// All have left.
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

/// Datagrams that an end may have to send at once: more than all its buffers hold.
pub(super) const MAX_BURST: usize = 10_000;
/// Why an end should not have fallen silent while the other one waited for it.
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

    /// What `from` sends.
    fn flow_mut(&mut self, from: End) -> &mut Flow {
        match from {
            End::Client => &mut self.up,
            End::Server => &mut self.down,
        }
    }
}
