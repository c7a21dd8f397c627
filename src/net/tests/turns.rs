//! When the loop turns, and what each turn sees to.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;

use super::{PATHS, Script, run, socket};
use crate::base::{Envelope, Now, Timestamp};
use crate::net::batch::{BATCH, MIN_ASKED};
use crate::net::{Clock, Driven, IoPath, drive};

/// Nothing else wakes the loop: without busy polling it would sleep.
#[test]
fn a_loop_that_polls_busily_turns_although_nothing_comes() {
    let receiver = socket(IoPath::default()).with_busy_poll(Duration::from_secs(600));
    let plain = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    plain.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
    let mut sink = Script { finish: Some(|script| script.turns > 1_000), ..Script::default() };
    let driven = async {
        let driving = drive(receiver, Clock::new(), &mut sink, Arc::new(Notify::new()));
        tokio::time::timeout(Duration::from_secs(60), driving).await.expect("it sleeps").unwrap();
    };
    run(driven);
    assert_eq!(sink.received.len(), 1);
}

/// Datagrams that a late machine has taken when its timer runs, of `waiting` in its socket.
fn received_by_timeout(path: IoPath, waiting: usize) -> usize {
    let receiver = socket(path);
    let to = receiver.local_addr().unwrap();
    let plain = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    (0..waiting).for_each(|_| assert_eq!(plain.send_to(&[7], to).unwrap(), 1));
    let finish: fn(&Script) -> bool = |script| script.timeouts == 1;
    let mut sink = Script { is_late: true, finish: Some(finish), ..Script::default() };
    run(drive(receiver, Clock::new(), &mut sink, Arc::new(Notify::new()))).unwrap();
    sink.received_by_timeout
}

#[test]
fn what_waits_in_the_socket_comes_before_timers_but_not_for_ever() {
    for path in PATHS {
        assert_eq!(received_by_timeout(path, 2 * BATCH + 2), 2 * BATCH + 2, "{path:?}");
        // Five batches, of which a new inbox asks for few at first.
        assert_eq!(received_by_timeout(path, 8 * BATCH), MIN_ASKED + 4 * BATCH, "{path:?}");
    }
}

#[test]
fn the_deadline_comes_without_any_datagram() {
    for socket in [socket(IoPath::Batched), socket(IoPath::Batched).with_shared_timer()] {
        let mut script = Script {
            deadline: Some(Timestamp::from_millis(3)),
            finish: Some(|script| script.timeouts == 1),
            ..Script::default()
        };
        run(drive(socket, Clock::new(), &mut script, Arc::new(Notify::new()))).unwrap();
        assert_eq!(script.timeouts, 1);
    }
}

#[test]
fn a_wake_from_elsewhere_is_handled_even_when_it_came_first() {
    let wake = Arc::new(Notify::new());
    wake.notify_one();
    let mut script = Script { finish: Some(|script| script.wakes == 2), ..Script::default() };
    run(async {
        let again = Arc::clone(&wake);
        let waker = async move {
            tokio::task::yield_now().await;
            again.notify_one();
        };
        let (driven, ()) =
            tokio::join!(drive(socket(IoPath::Batched), Clock::new(), &mut script, wake), waker);
        driven.unwrap();
    });
    assert_eq!(script.wakes, 2);
}

/// A machine without room until it is woken, which its own deadline does; when it has taken a whole batch
/// it has none again.
struct Paused {
    wake: Arc<Notify>,
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
        self.wake.notify_one();
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
    for (path, expected) in
        PATHS.into_iter().flat_map(|path| [1, 2 * BATCH, 3 * BATCH - 1].map(|n| (path, n)))
    {
        let (sender, receiver) = (socket(path), socket(path));
        let to = receiver.local_addr().unwrap();
        let outgoing = vec![(to, vec![7; 32]); expected].into();
        let mut source = Script { outgoing, finish: Some(|_| true), ..Script::default() };
        let wake = Arc::new(Notify::new());
        let deadline = Some(Timestamp::from_millis(3));
        let mut paused = Paused { wake: Arc::clone(&wake), deadline, has_room: false, received: 0, expected };
        run(async {
            drive(sender, Clock::new(), &mut source, Arc::new(Notify::new())).await.unwrap();
            drive(receiver, Clock::new(), &mut paused, wake).await.unwrap();
        });
        assert_eq!(paused.received, expected, "{path:?}");
    }
}

/// Two machines that echo keep each other busy for ever: there is always something to read.
#[test]
fn a_flood_starves_neither_the_deadline_nor_the_wake() {
    for path in PATHS {
        let (left, right) = (socket(path), socket(path));
        let to_right = right.local_addr().unwrap();
        let wake = Arc::new(Notify::new());
        wake.notify_one();
        let mut flooded = Script {
            echo: true,
            outgoing: vec![(to_right, vec![7; 32]); 2 * BATCH].into(),
            deadline: Some(Timestamp::from_millis(20)),
            finish: Some(|script| script.timeouts == 1 && script.wakes == 1 && script.received.len() > BATCH),
            ..Script::default()
        };
        let mut mirror = Script { echo: true, ..Script::default() };
        run(async {
            let endless = drive(right, Clock::new(), &mut mirror, Arc::new(Notify::new()));
            let ends = drive(left, Clock::new(), &mut flooded, wake);
            tokio::select! {
                ended = endless => panic!("the mirror has no end: {ended:?}"),
                ended = ends => ended.unwrap(),
            }
        });
    }
}

#[test]
fn a_loop_without_time_left_reads_several_batches_before_it_sends() {
    for path in PATHS {
        let (left, right) = (socket(path), socket(path));
        let to_right = right.local_addr().unwrap();
        let mut laden = Script {
            echo: true,
            outgoing: vec![(to_right, vec![7; 32]); 3 * BATCH].into(),
            work: Duration::from_millis(5),
            finish: Some(|script| script.most_gathered > 2 * BATCH && script.outgoing.is_empty()),
            ..Script::default()
        };
        let mut mirror = Script { echo: true, ..Script::default() };
        run(async {
            let endless = drive(right, Clock::new(), &mut mirror, Arc::new(Notify::new()));
            let ends = drive(left, Clock::new(), &mut laden, Arc::new(Notify::new()));
            tokio::select! {
                ended = endless => panic!("the mirror has no end: {ended:?}"),
                ended = tokio::time::timeout(Duration::from_secs(60), ends) => ended.expect("it sends after each").unwrap(),
            }
        });
    }
}

/// An app may spawn it on a runtime of many threads.
#[test]
fn the_loop_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let mut script = Script::default();
    is_send(&drive(socket(IoPath::Batched), Clock::new(), &mut script, Arc::new(Notify::new())));
}
