//! Two transfers on one line: what each gets of it, and how long its queue is.

use super::*;

/// A line with a queue before it, which drops what finds it full.
pub struct Line {
    /// Time on the line.
    a_byte: Duration,
    /// Longest wait before it.
    queue: Duration,
    /// What waits longer leaves marked.
    mark_after: Duration,
    free_at: Timestamp,
    pub dropped: u64,
    pub waits: Vec<Duration>,
}

impl Line {
    pub fn new(bits_a_second: u64, queue: Duration) -> Self {
        let a_byte = Duration::from_nanos(8_000_000_000 / bits_a_second);
        let mark_after = Duration::MAX;
        Self { a_byte, queue, mark_after, free_at: Timestamp::ZERO, dropped: 0, waits: Vec::new() }
    }

    /// 10 Mbit/s with a queue of 60 ms before it.
    pub fn marking_after(mark_after: Duration) -> Self {
        Self { mark_after, ..Self::new(10_000_000, Duration::from_millis(60)) }
    }

    /// When a packet has left, and how it is marked.
    pub fn pass(&mut self, now: Timestamp, ecn: Ecn, bytes: usize) -> Option<(Timestamp, Ecn)> {
        let wait = self.free_at.since(now);
        if wait > self.queue {
            self.dropped += 1;
            return None;
        }
        self.waits.push(wait);
        self.free_at = self.free_at.max(now) + self.a_byte * u32::try_from(bytes).unwrap();
        Some((self.free_at, if wait > self.mark_after && ecn != Ecn::NotEct { Ecn::Ce } else { ecn }))
    }
}

/// Two transfers that always have more to send, on one line.
struct Rivals {
    pairs: [Pair; 2],
    /// Lent to the one that sends.
    line: Option<Line>,
}

impl Rivals {
    fn new(seed: u64, controls: [CongestionControl; 2], line: Line) -> Self {
        let pairs = [(seed, controls[0]), (seed + 1, controls[1])].map(|(seed, congestion_control)| {
            Pair::with_config(seed, ConnectionConfig { congestion_control, ..ConnectionConfig::default() })
        });
        Self { pairs, line: Some(line) }
    }

    /// The first has the line for itself.
    fn run_first(&mut self, seconds: u64) {
        self.run_some(seconds, 1);
    }

    fn run(&mut self, seconds: u64) -> [u64; 2] {
        self.run_some(seconds, 2)
    }

    /// The first `count` send all they can; yields the bytes of each that arrived meanwhile.
    fn run_some(&mut self, seconds: u64, count: usize) -> [u64; 2] {
        let arrived =
            |pairs: &[Pair; 2]| [0, 1].map(|at: usize| pairs[at].ends[SERVER].stats().bytes_received);
        let before = arrived(&self.pairs);
        self.waits().clear();
        for _ in 0..seconds * 1_000 {
            for (at, pair) in self.pairs.iter_mut().enumerate() {
                if at < count && pair.ends[CLIENT].queued_bytes() < 500_000 {
                    pair.send(CLIENT, Delivery::ReliableUnordered, &[0; 50_000]);
                }
                pair.received[SERVER].clear();
                pair.line = self.line.take();
                pair.run(Duration::from_millis(1));
                self.line = pair.line.take();
            }
        }
        let after = arrived(&self.pairs);
        [after[0] - before[0], after[1] - before[1]]
    }

    /// What the middle one of the packets waited for in the last run.
    fn median_wait(&mut self) -> Duration {
        let waits = self.waits();
        waits.sort_unstable();
        waits[waits.len() / 2]
    }

    fn waits(&mut self) -> &mut Vec<Duration> {
        &mut self.line.as_mut().unwrap().waits
    }
}

/// Bits a second, and the longest wait.
const LINES: [(u64, Duration); 3] = [
    (256_000, Duration::from_millis(300)),
    (1_000_000, Duration::from_millis(200)),
    (10_000_000, Duration::from_millis(60)),
];

/// The second fills any queue. On the slower lines the first may have taken itself for alone before it comes.
// spec-test: REL-8
#[test]
fn a_transfer_has_its_share_beside_one_that_fills_the_queue_whoever_was_there_first() {
    for (rate, queue) in LINES {
        for alone in [0, 20] {
            let controls = [CongestionControl::Delay, CongestionControl::NewReno];
            let mut rivals = Rivals::new(1, controls, Line::new(rate, queue));
            rivals.run_first(alone);
            rivals.run(15);
            let [first, second] = rivals.run(30);
            let all = first + second;
            assert!((all / 5..all * 7 / 10).contains(&first), "{rate}, {alone} s: {first} of {all}");
            assert!(all * 8 / 30 > rate * 9 / 10, "{rate}, {alone} s: {all}");
        }
    }
}

/// The least windows of both are a queue of some 80 ms at 1 Mbit/s, and at 256 kbit/s they fill it.
// spec-test: REL-8
#[test]
fn two_transfers_that_follow_the_delay_share_a_line_and_keep_its_queue_short() {
    for ((rate, queue), median) in LINES.into_iter().zip([300, 90, 15]) {
        let mut rivals = Rivals::new(1, [CongestionControl::Delay; 2], Line::new(rate, queue));
        rivals.run(15);
        let [first, second] = rivals.run(30);
        let all = first + second;
        assert!((all * 2 / 5..all * 3 / 5).contains(&first), "{rate}: {first} of {all}");
        assert!(all * 8 / 30 > rate * 8 / 10, "{rate}: {all}");
        let wait = rivals.median_wait();
        assert!(wait < Duration::from_millis(median), "{rate}: {wait:?}");
    }
}
