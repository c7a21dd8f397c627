//! Any order of calls, over a bad link: after every step the transport's promises hold, and all counters
//! equal what they count.
//!
//! `SEQUENCES=<first>..<end>` selects seeds other than those of a normal run.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::base::ShortBytes;

const STREAMS: u32 = 5;
const STEPS: u32 = 300;

/// What one end sent, and what of it the other end received.
#[derive(Default)]
struct Ledger {
    /// Next number of each stream and mode; a payload begins with its number.
    sent: BTreeMap<(Option<StreamId>, u8), u32>,
    /// Last number sent of each stream and key, and whether it must arrive.
    newest: BTreeMap<(StreamId, u16), (u32, bool)>,
    received: BTreeSet<(Option<StreamId>, u8, u32)>,
    /// Last number received of each ordered scope: stream, and key if any.
    last: BTreeMap<(StreamId, Option<u16>), u32>,
    finished: BTreeSet<StreamId>,
}

struct Run {
    pair: Pair,
    rng: StdRng,
    /// One per sending end.
    ledgers: [Ledger; 2],
    closed: bool,
}

/// Keyed modes share a count, since they share a number space.
fn count_of(delivery: Delivery) -> u8 {
    if delivery.key().is_some() { 9 } else { delivery.mode() }
}

/// Returns bytes that depend on the number and on their position, so that mixed-up fragments are detected.
fn payload(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((4..length).map(|at| (at as u32 ^ number) as u8));
    bytes
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let config = ConnectionConfig {
            receive_buffer_bytes: *pick(&mut rng, &[1 << 16, 1 << 20]),
            send_buffer_bytes: *pick(&mut rng, &[5_000, 200_000, 1 << 20]),
            unreliable_buffer_bytes: *pick(&mut rng, &[500, 20_000]),
            max_message_bytes: 30_000,
            ..ConnectionConfig::default()
        };
        let mut pair = Pair::with_config(seed, config);
        pair.delay = Duration::from_millis(*pick(&mut rng, &[0, 1, 20, 100]));
        (pair.loss, pair.duplicate) = (rng.random_range(0.0..0.4), rng.random_range(0.0..0.3));
        pair.reorder = *pick(&mut rng, &[0.0, 0.1, 0.5]);
        for stream in 1..=STREAMS {
            pair.ends[SERVER].open_stream(StreamId(stream));
            pair.ends[CLIENT].open_stream(StreamId(stream));
        }
        for end in &mut pair.ends {
            end.keys.renew_after(*pick(&mut rng, &[20, 200, 1 << 22]));
        }
        Self { pair, rng, ledgers: Default::default(), closed: false }
    }

    fn send(&mut self) {
        let from = self.rng.random_range(0..2);
        let stream = StreamId(self.rng.random_range(0..=STREAMS));
        let key = if self.rng.random_bool(0.9) { self.rng.random_range(0..4) } else { self.rng.random() };
        let delivery = *pick(
            &mut self.rng,
            &[
                Delivery::Unreliable,
                Delivery::Sequenced { key },
                Delivery::ReliableUnordered,
                Delivery::ReliableOrdered,
                Delivery::ReliableLatest { key },
            ],
        );
        let large = delivery.is_reliable() && self.rng.random_bool(0.2);
        let length = self.rng.random_range(4..if large { 30_000 } else { 200 });
        let scope = (delivery != Delivery::Unreliable).then_some(stream);
        let ledger = &mut self.ledgers[from];
        let number = ledger.sent.entry((scope, count_of(delivery))).or_default();
        let bytes = Bytes::from(payload(*number, length));
        let split = self.rng.random_range(0..=length.min(ShortBytes::MAX));
        let message = Payload { head: ShortBytes::new(&bytes[..split]).unwrap(), body: bytes.slice(split..) };
        let is_first = delivery == Delivery::ReliableUnordered && length < 1_000 && self.rng.random_bool(0.1);
        let (end, now) = (&mut self.pair.ends[from], self.pair.now);
        let sent = if is_first {
            end.send_first(now, stream, message)
        } else {
            end.send(now, stream, delivery, message)
        };
        match sent {
            Ok(_) => {
                if let Some(key) = delivery.key() {
                    ledger.newest.insert((stream, key), (*number, delivery.is_reliable()));
                }
                *number += 1;
            }
            Err(SendError::WouldBlock) => {}
            Err(SendError::TooLarge { max, .. }) => assert!(length > max),
            Err(SendError::UnknownStream(stream)) => assert!(ledger.finished.contains(&stream)),
            Err(SendError::Closed) => assert!(self.closed || self.pair.ends[from].is_closed()),
        }
    }

    fn finish(&mut self) {
        let stream = StreamId(self.rng.random_range(3..=STREAMS));
        let end = self.rng.random_range(0..2);
        self.pair.ends[end].finish_stream(stream);
        self.ledgers[end].finished.insert(stream);
    }

    fn act(&mut self) {
        match self.rng.random_range(0..1_000) {
            0..600 => self.send(),
            600..605 => self.finish(),
            605..610 => self.pair.dark_until = self.pair.now + Duration::from_millis(400),
            610 if self.rng.random_bool(0.3) => {
                let now = self.pair.now;
                self.pair.ends[self.rng.random_range(0..2)].close(now, CloseCode::None, "enough");
                self.closed = true;
            }
            _ => {
                let end = self.pair.now + Duration::from_micros(self.rng.random_range(0..20_000));
                while self.pair.step(end) {
                    self.check();
                }
            }
        }
        self.check();
    }

    /// Checks what must hold at any moment.
    fn check(&mut self) {
        for end in &self.pair.ends {
            end.audit();
        }
        for end in [CLIENT, SERVER] {
            let received = std::mem::take(&mut self.pair.received[end]);
            for (scope, delivery, bytes) in received {
                self.ledgers[1 - end].receive(scope, delivery, &bytes);
            }
            match &self.pair.closed[end] {
                None | Some(Closed::Local { .. } | Closed::ByPeer { .. }) => {}
                // Every CLOSE of the other end may have been lost.
                Some(Closed::TimedOut) if self.closed => {}
                Some(closed) => panic!("{closed}"),
            }
        }
    }

    /// Checks what must hold once the link is good again.
    fn check_end(&mut self) {
        (self.pair.loss, self.pair.duplicate, self.pair.reorder) = (0.0, 0.0, 0.0);
        let end = self.pair.now + SECOND * 11;
        while self.pair.step(end) {
            self.check();
        }
        if self.closed {
            assert!(self.pair.ends.iter().all(Connection::is_drained));
            return;
        }
        for end in [CLIENT, SERVER] {
            assert_eq!(self.pair.ends[end].queued_bytes(), 0);
            assert_eq!(self.pair.ends[end].receive_buffer.held(), 0);
            let ignored = &self.ledgers[1 - end].finished;
            let ledger = &self.ledgers[end];
            for (&(scope, count), &sent) in &ledger.sent {
                let Some(stream) = scope.filter(|stream| !ignored.contains(stream)) else { continue };
                let reliable = [Delivery::ReliableUnordered, Delivery::ReliableOrdered];
                if reliable.iter().any(|delivery| delivery.mode() == count) {
                    let all = (0..sent).all(|number| ledger.received.contains(&(scope, count, number)));
                    assert!(all, "all of {sent} on {stream} arrive");
                }
            }
            for (&(stream, key), &(number, must)) in &ledger.newest {
                let arrived = ledger.last.get(&(stream, Some(key))) == Some(&number);
                assert!(arrived || !must || ignored.contains(&stream), "newest of {key} on {stream}");
            }
        }
    }
}

impl Ledger {
    fn receive(&mut self, scope: Option<StreamId>, delivery: Delivery, bytes: &[u8]) {
        let number = u32::from_be_bytes(bytes[..4].try_into().unwrap());
        assert!(payload(number, bytes.len()) == bytes, "the bytes are those sent");
        let count = count_of(delivery);
        assert!(self.sent.get(&(scope, count)).is_some_and(|sent| number < *sent), "it was sent");
        assert!(self.received.insert((scope, count, number)), "nothing comes twice");
        let Some(stream) = scope.filter(|_| delivery != Delivery::ReliableUnordered) else { return };
        let last = self.last.insert((stream, delivery.key()), number);
        match delivery {
            Delivery::ReliableOrdered => assert_eq!(number, last.map_or(0, |last| last + 1)),
            _ => assert!(last.is_none_or(|last| last < number), "a key never goes back"),
        }
    }
}

fn pick<'a, T>(rng: &mut StdRng, of: &'a [T]) -> &'a T {
    &of[rng.random_range(0..of.len())]
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("SEQUENCES") else { return 0..40 };
    let (first, end) = text.split_once("..").expect("SEQUENCES=<first>..<end>");
    first.parse().unwrap()..end.parse().unwrap()
}

fn run(mut run: Run) {
    for _ in 0..STEPS {
        run.act();
    }
    run.check_end();
}

#[test]
fn any_order_of_calls_keeps_every_promise() {
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| run(Run::new(seed)));
        assert!(run.is_ok(), "seed {seed}");
    }
}

/// Each sequence begins slightly below a number at which a transmitted part of it wraps.
#[test]
fn promises_hold_wherever_the_numbers_stand() {
    let edges = [(14, 7), (15, 8), (16, 16), (31, 31), (32, 32), (61, 61)];
    for (seed, (packets, messages)) in (1_000..).zip(edges.into_iter().cycle()).take(24) {
        let mut begun = Run::new(seed);
        wraps::start_at(&mut begun.pair, (1 << packets) - 60, (1 << messages) - 20);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(begun)));
        assert!(run.is_ok(), "seed {seed}, packets from 2^{packets}, messages from 2^{messages}");
    }
}
