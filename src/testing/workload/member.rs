//! [`Member`]: one client of a workload.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::bulk::Bulk;
use super::{Beside, Figures, Workload, flood};
use crate::base::{Envelope, SessionId, Slot, Timestamp};
use crate::client::core::{Core, Event, Output};
use crate::rudp::Stats;
use crate::wire::command::To;

/// One client: what it sends, and the latency of what it receives.
pub(super) struct Member {
    number: u16,
    pub(super) from: SocketAddr,
    pub(super) core: Core,
    /// Offset of its sending within a period.
    pub(super) phase: Duration,
    /// Time of its next message.
    pub(super) sends_at: Timestamp,
    /// The sessions that it has entered.
    pub(super) entered: Vec<(SessionId, Slot)>,
    pub(super) tally: Figures,
    bulk: Bulk,
    /// For a flooder: a key that it has not used yet.
    next_key: u16,
    /// The connection's counters when counting began.
    before: Stats,
}

/// Bytes of a message that hold the time of its sending and whether it counts.
pub(super) const STAMP_BYTES: usize = 9;

impl Member {
    pub(super) fn new(number: u16, from: SocketAddr, core: Core, phase: Duration) -> Self {
        Self {
            number,
            from,
            core,
            phase,
            sends_at: Timestamp::MAX,
            entered: Vec::new(),
            tally: Figures::default(),
            bulk: Bulk::default(),
            next_key: 0,
            before: Stats::default(),
        }
    }

    /// Returns when the member is next due without a datagram.
    pub(super) fn next_at(&self, counted: &Range<Timestamp>) -> Option<Timestamp> {
        let sends_at = Some(self.sends_at).filter(|at| *at < counted.end);
        [self.core.poll_timeout(), sends_at].into_iter().flatten().min()
    }

    /// Does what is due at `now`, and sends.
    pub(super) fn run(
        &mut self,
        now: Timestamp,
        workload: &Workload,
        counted: &Range<Timestamp>,
        send: &mut dyn FnMut(Envelope, Bytes),
    ) {
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
        }
        self.hear(now, counted);
        while self.sends_at <= now && now < counted.end {
            self.speak(now, workload, counted);
        }
        let mut datagram = BytesMut::new();
        while let Some(to) = self.core.poll_transmit(now, &mut datagram) {
            send(to, datagram.split().freeze());
        }
    }

    fn speak(&mut self, now: Timestamp, workload: &Workload, counted: &Range<Timestamp>) {
        let &(_, slot) = self.entered.first().expect("invariant: who has a time to speak has entered");
        match workload.beside {
            Beside::Bulk if self.number == workload.members => {
                self.sends_at = Timestamp::MAX;
                return self.bulk.start(now, slot, &mut self.core);
            }
            Beside::Flood(kind) if self.number == workload.members => {
                self.sends_at += flood::EVERY;
                return kind.rise(now, slot, &mut self.next_key, &mut self.core);
            }
            _ => self.sends_at += workload.period,
        }
        let mut payload = BytesMut::with_capacity(workload.size_bytes);
        payload.put_u64(now.as_micros());
        payload.put_u8(u8::from(counted.contains(&now)));
        payload.resize(workload.size_bytes.max(STAMP_BYTES), 0);
        let sent = self.core.broadcast(now, slot, To::All, workload.delivery, payload.freeze());
        if sent.is_ok() && counted.contains(&now) {
            self.tally.expected += u64::from(workload.members);
        }
    }

    fn hear(&mut self, now: Timestamp, counted: &Range<Timestamp>) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Event(Event::Entered { slot, session, .. }) => self.entered.push((session, slot)),
                Output::Event(Event::Message { slot, payload, .. }) => {
                    if self.entered.first().is_some_and(|(_, first)| *first == slot) && !self.bulk.is_sender()
                    {
                        self.judge(now, payload);
                    } else {
                        let arrived = self.bulk.hear(now, slot, &payload, &mut self.core);
                        self.tally.bulk_bytes += if counted.contains(&now) { arrived } else { 0 };
                    }
                }
                Output::Event(Event::Refused { .. }) => self.tally.refused += 1,
                Output::Event(Event::Disconnected(why)) => panic!("a member is disconnected: {why}"),
                _ => {}
            }
        }
    }

    fn judge(&mut self, now: Timestamp, mut payload: Bytes) {
        let sent = Timestamp::from_micros(payload.get_u64());
        if payload.get_u8() == 1 {
            let late = now.since(sent).as_micros();
            self.tally.latencies_us.push(u64::try_from(late).unwrap_or(u64::MAX));
        }
    }

    /// Starts counting the connection's datagrams.
    pub(super) fn start_counting(&mut self) {
        self.before = self.core.stats().unwrap_or_default();
    }

    /// Stops counting, and stores the differences in the tally.
    pub(super) fn stop_counting(&mut self) {
        let (before, after) = (self.before, self.core.stats().unwrap_or_default());
        let all = |stats: Stats| stats.packets_sent + stats.packets_received + stats.packets_dropped;
        self.tally.datagrams = all(after) - all(before);
        let bytes = |stats: Stats| stats.bytes_sent + stats.bytes_received;
        self.tally.bytes = bytes(after) - bytes(before);
    }
}
