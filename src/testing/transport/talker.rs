//! The messages that one end of a connection sends: every mode and size, on streams that are opened and
//! finished.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::checker::{Attempt, Checker};
use super::message::{End, Name};
use crate::base::{ShortBytes, StreamId, Timestamp};
use crate::rudp::{Connection, Payload};
use crate::testing::checker::Life;
use crate::wire::{CloseCode, Delivery};

/// The owner of one end of a connection.
pub(super) struct Talker {
    pub(super) life: Life,
    pub(super) end: End,
    /// When it sends next.
    pub(super) acts_at: Timestamp,
    pace: Duration,
    seed: u64,
    serial: u32,
    open: BTreeSet<StreamId>,
    ended: BTreeSet<StreamId>,
    /// The first stream that it does not know of.
    next_stream: StreamId,
    rng: StdRng,
}

/// Number of open streams at which a server opens no further one.
const MAX_STREAMS: usize = 30;

impl Talker {
    pub(super) fn new(
        seed: u64,
        (life, end): (Life, End),
        now: Timestamp,
        pace: Duration,
        mut rng: StdRng,
    ) -> Self {
        Self {
            life,
            end,
            acts_at: now + rng.random_range(Duration::ZERO..pace),
            pace,
            seed,
            serial: 0,
            open: BTreeSet::from([StreamId::CONTROL]),
            ended: BTreeSet::new(),
            next_stream: StreamId(1),
            rng,
        }
    }

    /// Sends randomly chosen messages; a server also opens and finishes streams.
    pub(super) fn act(&mut self, now: Timestamp, connection: &mut Connection, checker: &mut Checker) {
        self.acts_at = now + self.rng.random_range(self.pace / 10..self.pace * 2);
        if self.end == End::Server && self.rng.random_bool(0.1) {
            self.tend_streams(now, connection, checker);
        }
        if self.rng.random_bool(0.015) {
            return self.flood(now, connection, checker);
        }
        for _ in 0..self.rng.random_range(1..4) {
            let stream = self.choose_stream();
            let delivery = self.choose_delivery();
            let bytes = self.choose_bytes(delivery);
            self.send(now, connection, checker, (stream, delivery, bytes, false));
        }
    }

    /// Sends up to hundreds of tiny messages, rarely thousands, in one mode on one stream, so that its
    /// numbers run ahead of those in flight. Some floods have a new key for each message, more keys than a
    /// receiver remembers.
    fn flood(&mut self, now: Timestamp, connection: &mut Connection, checker: &mut Checker) {
        let (stream, delivery) = (self.choose_stream(), self.choose_delivery());
        let has_keys = self.rng.random_bool(0.3);
        // Rarely more than the window of numbers that may be in flight.
        let messages = if self.rng.random_bool(0.03) { 6_000 } else { self.rng.random_range(20..400) };
        for key in 0..messages {
            let delivery = match delivery {
                Delivery::Sequenced { .. } if has_keys => Delivery::Sequenced { key },
                Delivery::ReliableLatest { .. } if has_keys => Delivery::ReliableLatest { key },
                _ => delivery,
            };
            let bytes = self.rng.random_range(8..16);
            self.send(now, connection, checker, (stream, delivery, bytes, false));
        }
    }

    /// Sends one message of each mode.
    pub(super) fn say_farewell(
        &mut self,
        now: Timestamp,
        connection: &mut Connection,
        checker: &mut Checker,
    ) {
        for delivery in [
            Delivery::Unreliable,
            Delivery::Sequenced { key: 1 },
            Delivery::ReliableUnordered,
            Delivery::ReliableOrdered,
            Delivery::ReliableLatest { key: 2 },
        ] {
            self.send(now, connection, checker, (StreamId::CONTROL, delivery, 20, false));
        }
    }

    pub(super) fn close(&mut self, now: Timestamp, connection: &mut Connection, checker: &mut Checker) {
        let (code, reason) = match self.rng.random_range(0..3) {
            0 => (CloseCode::None, ""),
            1 => (CloseCode::Lagging, "too slow"),
            _ => (CloseCode::ShuttingDown, "see you tomorrow"),
        };
        checker.closes(self.life, self.end, code, reason);
        connection.close(now, code, reason);
        if self.rng.random_bool(0.2) {
            // The first close counts.
            connection.close(now, CloseCode::Internal, "again");
        }
    }

    /// Records that a message of `stream` arrived: it is open, and so are all earlier ones that have not
    /// ended.
    pub(super) fn learn(&mut self, stream: StreamId) {
        while self.next_stream <= stream {
            self.open.insert(self.next_stream);
            self.next_stream.0 += 1;
        }
    }

    /// Handles the peer's last message of `stream`: some ends also finish it, others keep it open.
    pub(super) fn hear_last(&mut self, stream: StreamId, connection: &mut Connection, checker: &mut Checker) {
        if self.rng.random_bool(0.7) {
            self.finish(stream, connection, checker);
        }
    }

    fn tend_streams(&mut self, now: Timestamp, connection: &mut Connection, checker: &mut Checker) {
        if self.open.len() < MAX_STREAMS && self.rng.random_bool(0.6) {
            for _ in 0..self.rng.random_range(1..4) {
                connection.open_stream(self.next_stream);
                self.learn(self.next_stream);
            }
            return;
        }
        let ends = self.choose_stream();
        if ends == StreamId::CONTROL || !self.open.contains(&ends) {
            return;
        }
        if self.rng.random_bool(0.8) {
            self.send(now, connection, checker, (ends, Delivery::ReliableOrdered, 12, true));
        }
        self.finish(ends, connection, checker);
    }

    fn finish(&mut self, stream: StreamId, connection: &mut Connection, checker: &mut Checker) {
        connection.finish_stream(stream);
        self.open.remove(&stream);
        self.ended.insert(stream);
        checker.ended(self.life, self.end, stream);
    }

    fn send(
        &mut self,
        now: Timestamp,
        connection: &mut Connection,
        checker: &mut Checker,
        (stream, delivery, bytes, is_last): (StreamId, Delivery, usize, bool),
    ) {
        let name = Name { life: self.life, from: self.end, serial: self.serial, is_last };
        self.serial += 1;
        let payload = name.payload(self.seed, bytes);
        let is_known = stream < self.next_stream || self.end == End::Server;
        let attempt = Attempt {
            serial: name.serial,
            stream,
            delivery,
            payload: &payload,
            is_open: is_known.then(|| self.open.contains(&stream)),
            max_bytes: connection.max_payload_bytes(delivery),
            queued_bytes: connection.queued_bytes(),
        };
        let split = self.rng.random_range(0..=bytes.min(ShortBytes::MAX));
        let head = payload.get(..split).and_then(ShortBytes::new).unwrap_or_default();
        let pieces = Payload { head, body: payload.slice(split..) };
        let answer = connection.send(now, stream, delivery, pieces);
        checker.sent(self.life, self.end, &attempt, answer);
    }

    /// Returns usually an open stream, occasionally one that has ended or never existed.
    fn choose_stream(&mut self) -> StreamId {
        if self.rng.random_bool(0.02) {
            return StreamId(self.rng.random_range(0..self.next_stream.0 + 3));
        }
        // The newest streams are the busiest.
        let at = self.rng.random_range(0..self.open.len().clamp(1, 8));
        self.open.iter().rev().nth(at).copied().unwrap_or(StreamId::CONTROL)
    }

    fn choose_delivery(&mut self) -> Delivery {
        let key = if self.rng.random_bool(0.9) { self.rng.random_range(0..4) } else { self.rng.random() };
        match self.rng.random_range(0..5) {
            0 => Delivery::Unreliable,
            1 => Delivery::Sequenced { key },
            2 => Delivery::ReliableUnordered,
            3 => Delivery::ReliableOrdered,
            _ => Delivery::ReliableLatest { key },
        }
    }

    /// Returns usually a small size. Large sizes are for the modes that fragment messages, except an
    /// occasional one that must be refused.
    fn choose_bytes(&mut self, delivery: Delivery) -> usize {
        let is_small = !delivery.is_reliable() && self.rng.random_bool(0.95);
        match self.rng.random_range(0..1_000) {
            0..60 => self.rng.random_range(0..8),
            60..750 => self.rng.random_range(8..80),
            750..930 => self.rng.random_range(80..1_150),
            930..985 if !is_small => self.rng.random_range(1_150..8_000),
            985..996 if !is_small => self.rng.random_range(8_000..40_000),
            996.. if !is_small => self.rng.random_range(40_000..300 << 10),
            _ => 16,
        }
    }
}
