//! When the loop turns, and what each turn handles.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;

use super::{Loop, Script, run, socket};
use crate::base::{Envelope, Now, Timestamp};
use crate::net::batch::{BATCH, MIN_ASKED};
use crate::net::{Clock, Driven, IoPath, drive};

/// Nothing else wakes the loop; without busy polling it would sleep forever.
#[test]
fn a_loop_that_polls_busily_turns_although_nothing_comes() {
    for (way, path, busy) in Loop::each() {
        let receiver = socket(path).with_busy_poll(Duration::from_secs(600));
        let plain = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        plain.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
        let mut sink = Script { finish: Some(|script| script.turns > 1_000), ..Script::default() };
        busy.run(receiver, &mut sink);
        assert_eq!(sink.received.len(), 1, "{way}");
    }
}

/// Returns how many of the `waiting` datagrams in its socket a late machine has taken when its timer runs, if
/// each batch is this much `work`.
fn received_by_timeout(path: IoPath, late: Loop, waiting: usize, work: Duration) -> usize {
    let receiver = socket(path);
    let to = receiver.local_addr().unwrap();
    let plain = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    (0..waiting).for_each(|_| assert_eq!(plain.send_to(&[7], to).unwrap(), 1));
    let finish: fn(&Script) -> bool = |script| script.timeouts == 1;
    let mut sink = Script { is_late: true, work, finish: Some(finish), ..Script::default() };
    late.run(receiver, &mut sink);
    sink.received_by_timeout
}

#[test]
fn what_waits_in_the_socket_comes_before_timers_but_not_for_ever() {
    let all = 8 * BATCH;
    for attempt in 0..5 {
        let mut received =
            Loop::each().map(|(_, path, late)| received_by_timeout(path, late, all, Duration::ZERO));
        // A loop that something else holds up for 16 ms reads less.
        if received.all(|received| received == all) {
            break;
        }
        assert!(attempt < 4, "timers came first");
    }
    for (way, path, late) in Loop::each() {
        let received = received_by_timeout(path, late, all, Duration::from_millis(17));
        // The first batch is small, because a new inbox asks for few.
        assert!(received <= MIN_ASKED + BATCH, "{way}: {received}");
    }
}

/// A stream socket that is not connected is ready at once, and each receive fails.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_goes_on_failing_is_asked_again_after_a_while() {
    for (way, path, failing) in Loop::each() {
        let mut broken = socket(path);
        broken.udp = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap().into();
        broken.udp.set_nonblocking(true).unwrap();
        let counters = broken.counters();
        let mut script = Script { deadline: Some(Timestamp::from_millis(60)), ..at_its_deadline() };
        let began = std::time::Instant::now();
        failing.run(broken, &mut script);
        assert_eq!(script.timeouts, 1, "{way}");
        let (failures, millis) = (counters.receive_errors.get(), began.elapsed().as_millis() as u64);
        // Asked without a pause, it fails some hundred times a millisecond.
        assert!((2..=3 * millis + 10).contains(&failures), "{way}: {failures} in {millis} ms");
    }
}

fn at_its_deadline() -> Script {
    Script {
        deadline: Some(Timestamp::from_millis(3)),
        finish: Some(|script| script.timeouts == 1),
        ..Script::default()
    }
}

#[test]
fn the_deadline_comes_without_any_datagram() {
    for (way, path, waiting) in Loop::each() {
        let mut script = at_its_deadline();
        waiting.run(socket(path), &mut script);
        assert_eq!(script.timeouts, 1, "{way}");
        assert!(script.turns < 10, "{way}: {} turns, it does not sleep", script.turns);
    }
    let mut script = at_its_deadline();
    let shared = socket(IoPath::Batched).with_shared_timer();
    run(drive(shared, Clock::new(), &mut script, Arc::new(Notify::new()))).unwrap();
    assert_eq!(script.timeouts, 1);
}

#[test]
fn a_wake_from_elsewhere_is_handled_even_when_it_came_first() {
    for (way, path, woken) in Loop::each() {
        let wake = woken.wake();
        wake();
        wake();
        let mut script = Script { finish: Some(|script| script.wakes == 2), ..Script::default() };
        std::thread::scope(|scope| {
            let is_woken = Arc::clone(&script.is_woken);
            scope.spawn(move || {
                while !is_woken.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                wake();
            });
            woken.run(socket(path), &mut script);
        });
        assert_eq!(script.wakes, 2, "{way}: two before it began are one");
    }
}

#[test]
fn a_loop_that_was_woken_sleeps_again() {
    for (way, path, woken) in Loop::each() {
        let wake = woken.wake();
        let mut script = Script { deadline: Some(Timestamp::from_millis(30)), ..at_its_deadline() };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(10));
                wake();
            });
            woken.run(socket(path), &mut script);
        });
        assert!(script.turns < 10, "{way}: {} turns", script.turns);
    }
}

/// Two threads wake each other alternately, some thousand times, awake or asleep. One lost wake would stop
/// both.
#[test]
fn no_wake_is_lost() {
    for ((way, path, ping), (_, _, pong)) in Loop::each().zip(Loop::each()) {
        let mut machines = [&ping, &pong].map(|_| Echo { other: Box::new(|| ()), wakes: 0 });
        let [wake_ping, wake_pong] = [ping.wake(), pong.wake()];
        wake_ping();
        let [first, second] = &mut machines;
        (first.other, second.other) = (wake_pong, wake_ping);
        std::thread::scope(|scope| {
            scope.spawn(|| ping.run(socket(path), first));
            pong.run(socket(path), second);
        });
        assert!(machines.iter().all(|machine| machine.wakes == WAKES), "{way}");
    }
}

const WAKES: usize = 3_000;

/// Answers each wake by waking the other machine.
struct Echo {
    other: Box<dyn Fn() + Send + Sync>,
    wakes: usize,
}

impl Driven for Echo {
    fn handle_datagrams(&mut self, _: Now, _: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {}

    fn handle_wake(&mut self, _: Now) {
        self.wakes += 1;
        (self.other)();
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn poll_transmit(&mut self, _: Now, _: &mut BytesMut) -> Option<Envelope> {
        None
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    fn is_finished(&self) -> bool {
        self.wakes == WAKES
    }
}

/// A machine without room until it is woken, which its own deadline does. Once it has taken a whole batch, it
/// has no room again.
struct Paused {
    wake: Box<dyn Fn() + Send + Sync>,
    deadline: Option<Timestamp>,
    has_room: bool,
    received: usize,
    expected: usize,
}

impl Driven for Paused {
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {
        assert!(self.has_room, "it did not want any");
        let received = batch.count();
        self.received += received;
        if received == BATCH {
            self.has_room = false;
            self.deadline = Some(now.mono);
        }
    }

    fn handle_wake(&mut self, _: Now) {
        self.has_room = true;
    }

    fn handle_timeout(&mut self, _: Now) {
        self.deadline = None;
        (self.wake)();
    }

    fn poll_transmit(&mut self, _: Now, _: &mut BytesMut) -> Option<Envelope> {
        None
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.deadline
    }

    fn wants_datagrams(&self) -> bool {
        self.has_room
    }

    fn is_finished(&self) -> bool {
        self.received == self.expected
    }
}

#[test]
fn a_machine_without_room_is_given_nothing_until_it_has_some() {
    for expected in [1, 2 * BATCH, 3 * BATCH - 1] {
        for (way, path, waiting) in Loop::each() {
            let (sender, receiver) = (socket(path), socket(path));
            let to = receiver.local_addr().unwrap();
            let outgoing = vec![(to, vec![7; 32]); expected].into();
            let mut source = Script { outgoing, finish: Some(|_| true), ..Script::default() };
            run(drive(sender, Clock::new(), &mut source, Arc::new(Notify::new()))).unwrap();
            let deadline = Some(Timestamp::from_millis(3));
            let mut paused =
                Paused { wake: waiting.wake(), deadline, has_room: false, received: 0, expected };
            waiting.run(receiver, &mut paused);
            assert_eq!(paused.received, expected, "{way}");
        }
    }
}

/// Runs the machine with another one that sends each datagram back. Both keep each other busy until the first
/// has ended.
fn with_mirror(path: IoPath, busy: Loop, script: &mut Script, datagrams: usize) {
    let (left, right) = (socket(path), socket(path));
    script.echo = true;
    script.outgoing = vec![(right.local_addr().unwrap(), vec![7; 32]); datagrams].into();
    let mut mirror = Script { echo: true, ..Script::default() };
    let stop = Arc::clone(&mirror.stop);
    let notify = Arc::new(Notify::new());
    std::thread::scope(|scope| {
        let wake = Arc::clone(&notify);
        scope.spawn(move || run(drive(right, Clock::new(), &mut mirror, wake)).unwrap());
        busy.run(left, script);
        stop.store(true, Ordering::Relaxed);
        notify.notify_one();
    });
}

#[test]
fn a_flood_starves_neither_the_deadline_nor_the_wake() {
    for (_, path, busy) in Loop::each() {
        busy.wake()();
        let mut flooded = Script {
            deadline: Some(Timestamp::from_millis(20)),
            finish: Some(|script| script.timeouts == 1 && script.wakes == 1 && script.received.len() > BATCH),
            ..Script::default()
        };
        with_mirror(path, busy, &mut flooded, 2 * BATCH);
    }
}

#[test]
fn what_waits_is_read_in_several_batches_before_anything_is_sent() {
    for (_, path, busy) in Loop::each() {
        let mut laden = Script {
            work: Duration::from_micros(500),
            finish: Some(|script| script.most_gathered > 2 * BATCH && script.outgoing.is_empty()),
            ..Script::default()
        };
        with_mirror(path, busy, &mut laden, 3 * BATCH);
    }
}

/// An application may spawn it on a multi-threaded runtime.
#[test]
fn the_loop_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let mut script = Script::default();
    is_send(&drive(socket(IoPath::Batched), Clock::new(), &mut script, Arc::new(Notify::new())));
}
