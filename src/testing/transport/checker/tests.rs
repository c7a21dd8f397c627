//! Checks that each broken promise is detected.

use super::*;
use crate::rudp::ProtocolViolation;
use crate::testing::transport::message::Name;

const SEED: u64 = 5;
const LIFE: Life = Life(1);
const STREAM: StreamId = StreamId(3);
const IDLE: Duration = Duration::from_secs(3);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A checker of one connection, open at both ends.
fn checker() -> Checker {
    let rules = Rules { idle_timeout: IDLE, must_live: false, must_tell: false };
    let mut checker = Checker::new(SEED, at(0), rules);
    checker.born(LIFE);
    checker.opened(LIFE, End::Client);
    checker.opened(LIFE, End::Server);
    checker
}

fn payload(serial: u32, bytes: usize) -> Bytes {
    Name { life: LIFE, from: End::Client, serial, is_last: false }.payload(SEED, bytes)
}

impl Checker {
    /// Has the client send message `serial`, with `answer` as the result.
    fn answer(&mut self, serial: u32, delivery: Delivery, bytes: usize, answer: Result<Sent, SendError>) {
        let attempt = Attempt {
            serial,
            stream: STREAM,
            delivery,
            payload: &payload(serial, bytes),
            is_open: Some(true),
            max_bytes: 1_000,
            queued_bytes: 500,
        };
        self.sent(LIFE, End::Client, &attempt, answer);
    }

    fn send(&mut self, serial: u32, delivery: Delivery, bytes: usize) {
        self.answer(serial, delivery, bytes, Ok(Sent::Queued));
    }

    /// Hands message `serial` to the server.
    fn arrive(&mut self, serial: u32, delivery: Delivery, bytes: usize) {
        let stream = (delivery != Delivery::Unreliable).then_some(STREAM);
        self.message(LIFE, End::Server, stream, delivery, &payload(serial, bytes));
    }

    /// Returns the one issue, or an empty string if there is none.
    fn issue(&self) -> &str {
        assert!(self.issues().len() <= 1, "{:?}", self.issues());
        self.issues().first().map_or("", String::as_str)
    }
}

/// Returns the issue after `sent` messages of `bytes` each, of which those in `arriving` arrive.
fn issue_of(delivery: Delivery, sent: u32, arriving: &[u32], bytes: usize) -> String {
    let mut checker = checker();
    (0..sent).for_each(|serial| checker.send(serial, delivery, bytes));
    arriving.iter().for_each(|serial| checker.arrive(*serial, delivery, bytes));
    if checker.issue().is_empty() {
        checker.judge_the_living();
    }
    checker.issue().to_owned()
}

#[test]
fn messages_lost_doubled_or_overtaken_are_noticed() {
    let (sequenced, latest) = (Delivery::Sequenced { key: 1 }, Delivery::ReliableLatest { key: 1 });
    for (delivery, sent, arriving, issue) in [
        (Delivery::ReliableOrdered, 3, &[0, 1, 2][..], ""),
        (Delivery::ReliableOrdered, 2, &[0], "never arrived"),
        (Delivery::ReliableOrdered, 2, &[1], "out of order"),
        (Delivery::ReliableUnordered, 2, &[1, 0], ""),
        (Delivery::ReliableUnordered, 2, &[1], "never arrived"),
        (Delivery::ReliableUnordered, 1, &[0, 0], "twice"),
        (Delivery::Unreliable, 2, &[1], ""),
        (Delivery::Unreliable, 2, &[1, 1], "twice"),
        (Delivery::Unreliable, 1, &[1], "not sent"),
        (sequenced, 3, &[2], ""),
        (sequenced, 3, &[2, 1], "out of order"),
        (sequenced, 3, &[2, 2], "twice"),
        (latest, 3, &[0, 2], ""),
        (latest, 3, &[1], "the newest of"),
        (latest, 3, &[2, 1], "out of order"),
    ] {
        for bytes in [8, 900] {
            let found = issue_of(delivery, sent, arriving, bytes);
            assert!(found.contains(issue) && found.is_empty() == issue.is_empty(), "{delivery:?}: {found}");
        }
    }
}

/// Empty messages are all identical, and yet too many arrivals are detected.
#[test]
fn nameless_messages_that_come_too_often_or_too_late_are_noticed() {
    assert_eq!(issue_of(Delivery::ReliableUnordered, 3, &[0, 0, 0], 0), "");
    assert!(issue_of(Delivery::ReliableUnordered, 2, &[0, 0, 0], 0).contains("or twice"));
    assert!(issue_of(Delivery::ReliableUnordered, 3, &[0, 0], 0).contains("never arrived"));
    assert!(issue_of(Delivery::Unreliable, 3, &[1, 1], 7).contains("or twice"));
    let latest = Delivery::ReliableLatest { key: 1 };
    assert!(issue_of(latest, 3, &[2, 1], 7).contains("or twice"), "an old one");
    assert!(issue_of(latest, 3, &[1], 7).contains("the newest of"));
    assert_eq!(issue_of(latest, 3, &[0], 0), "", "it may have been the newest");
}

#[test]
fn what_may_be_lost_replaces_a_reliable_value_only_when_it_arrives() {
    let (latest, sequenced) = (Delivery::ReliableLatest { key: 1 }, Delivery::Sequenced { key: 1 });
    for (arriving, is_right) in [(0, true), (1, true), (2, false)] {
        let mut checker = checker();
        checker.send(0, latest, 9);
        checker.send(1, sequenced, 9);
        if arriving < 2 {
            checker.arrive(arriving, if arriving == 0 { latest } else { sequenced }, 9);
        }
        checker.judge_the_living();
        assert_eq!(checker.issues().is_empty(), is_right, "{:?}", checker.issues());
    }
}

#[test]
fn wrong_bytes_modes_streams_and_connections_are_noticed() {
    let ordered = Delivery::ReliableOrdered;
    let issue_of = |delivery, stream, payload: &[u8]| {
        let mut checker = checker();
        checker.send(0, ordered, 600);
        checker.message(LIFE, End::Server, stream, delivery, &Bytes::copy_from_slice(payload));
        checker.issues().to_vec()
    };
    let right = payload(0, 600);
    assert_eq!(issue_of(ordered, Some(STREAM), &right), [""; 0]);
    let mut damaged = right.to_vec();
    damaged[599] ^= 1;
    assert!(issue_of(ordered, Some(STREAM), &damaged)[0].contains("damaged"));
    assert!(issue_of(ordered, Some(STREAM), &right[..599])[0].contains("damaged"));
    assert!(issue_of(Delivery::ReliableUnordered, Some(STREAM), &right)[0].contains("arrived as"));
    assert!(issue_of(ordered, Some(StreamId(4)), &right)[0].contains("arrived as"));
    assert!(issue_of(Delivery::Unreliable, Some(STREAM), &right)[0].contains("arrived on"));
    let stranger = Name { life: Life(2), from: End::Client, serial: 0, is_last: false };
    assert!(issue_of(ordered, Some(STREAM), &stranger.payload(SEED, 600))[0].contains("another connection"));
}

#[test]
fn what_arrives_on_a_stream_that_has_ended_is_noticed_and_what_does_not_is_not() {
    let mut checker = checker();
    checker.send(0, Delivery::ReliableOrdered, 9);
    checker.ended(LIFE, End::Server, STREAM);
    checker.judge_the_living();
    assert_eq!(checker.issue(), "");
    checker.arrive(0, Delivery::ReliableOrdered, 9);
    assert!(checker.issue().contains("which had ended"));
}

#[test]
fn answers_of_send_that_are_not_honoured_are_noticed() {
    let ordered = Delivery::ReliableOrdered;
    let refusals = [(SendError::WouldBlock, 600), (SendError::TooLarge { bytes: 1_200, max: 1_000 }, 1_200)];
    for (refusal, bytes) in refusals {
        let mut checker = checker();
        checker.answer(0, ordered, bytes, Err(refusal));
        checker.judge_the_living();
        assert_eq!(checker.issue(), "");
        checker.arrive(0, ordered, bytes);
        assert!(checker.issue().contains("`send` said"));
    }
    let mut checker = checker();
    checker.answer(0, Delivery::ReliableLatest { key: 9 }, 9, Ok(Sent::Superseded));
    assert!(checker.issue().contains("superseded one"));
}

#[test]
fn answers_of_send_that_are_not_due_are_noticed() {
    let attempt = |answer, change: &dyn Fn(&mut Attempt)| {
        let payload = payload(0, 600);
        let mut attempt = Attempt {
            serial: 0,
            stream: STREAM,
            delivery: Delivery::ReliableOrdered,
            payload: &payload,
            is_open: Some(true),
            max_bytes: 1_000,
            queued_bytes: 500,
        };
        change(&mut attempt);
        let mut checker = checker();
        checker.sent(LIFE, End::Client, &attempt, answer);
        !checker.issues().is_empty()
    };
    let unknown = Err(SendError::UnknownStream(STREAM));
    assert!(!attempt(Ok(Sent::Queued), &|_| {}));
    assert!(attempt(Ok(Sent::Queued), &|it| it.max_bytes = 599));
    assert!(attempt(Ok(Sent::Queued), &|it| it.is_open = Some(false)));
    assert!(!attempt(unknown, &|it| it.is_open = Some(false)));
    assert!(attempt(unknown, &|_| {}));
    assert!(attempt(Err(SendError::TooLarge { bytes: 600, max: 1_000 }), &|_| {}));
    assert!(!attempt(Err(SendError::WouldBlock), &|_| {}));
    assert!(attempt(Err(SendError::WouldBlock), &|it| it.queued_bytes = 0));
    assert!(attempt(Err(SendError::WouldBlock), &|it| it.delivery = Delivery::Unreliable));
    assert!(attempt(Err(SendError::Closed), &|_| {}));
}

#[test]
fn on_a_good_path_whatever_is_lost_is_noticed() {
    let mut checker = checker();
    checker.send(0, Delivery::Unreliable, 9);
    checker.expect_all();
    checker.send(1, Delivery::Unreliable, 9);
    checker.judge_the_living();
    assert!(checker.issue().contains("message 1 never arrived"));
}

#[test]
fn whatever_follows_a_close_is_noticed() {
    let (code, reason) = (CloseCode::Lagging, "slow".to_owned());
    let closed = || {
        let mut checker = checker();
        checker.send(0, Delivery::ReliableOrdered, 9);
        checker.closes(LIFE, End::Client, code, "slow");
        let why = Closed::ByPeer { code, reason: reason.clone() };
        checker.closed(at(10), LIFE, End::Server, &why);
        assert_eq!(checker.issue(), "");
        (checker, why)
    };
    let (mut checker, why) = closed();
    checker.closed(at(11), LIFE, End::Server, &why);
    assert!(checker.issue().contains("while Closed"));
    let (mut checker, _) = closed();
    checker.arrive(0, Delivery::ReliableOrdered, 9);
    assert!(checker.issue().contains("got a message while Closed"));
    let (mut checker, _) = closed();
    checker.judge_the_living();
    assert!(checker.issue().contains("was not told"), "the client still believes in it");
    let (mut checker, _) = closed();
    checker.judge_the_dead();
    assert!(checker.issue().contains("never closed at Client"));
}

#[test]
fn a_close_that_nobody_asked_for_is_noticed() {
    let issue_of = |why: Closed| {
        let mut checker = checker();
        checker.closes(LIFE, End::Client, CloseCode::None, "enough");
        checker.closed(at(10), LIFE, End::Server, &why);
        checker.issue().to_owned()
    };
    let by_peer = |code, reason: &str| Closed::ByPeer { code, reason: reason.to_owned() };
    assert_eq!(issue_of(by_peer(CloseCode::None, "enough")), "");
    assert!(issue_of(by_peer(CloseCode::Lagging, "enough")).contains("its peer said"));
    assert!(issue_of(by_peer(CloseCode::None, "")).contains("its peer said"));
    let local = Closed::Local { code: CloseCode::None, reason: "enough".to_owned() };
    assert!(issue_of(local).contains("unasked"));
    let violation = ProtocolViolation::AckOfUnsent { number: 4 };
    assert!(issue_of(Closed::Violation(violation)).contains("accuses its peer"));
}

#[test]
fn a_timeout_before_its_time_is_noticed() {
    let issue_of = |heard: u64, number: u64, timed_out: u64| {
        let mut checker = checker();
        checker.heard(at(0), LIFE, End::Server, 7);
        checker.heard(at(heard), LIFE, End::Server, number);
        checker.spoke(at(timed_out - 1), LIFE, End::Client);
        checker.closed(at(timed_out), LIFE, End::Server, &Closed::TimedOut);
        checker.issue().to_owned()
    };
    assert_eq!(issue_of(1_000, 8, 4_000), "");
    assert!(issue_of(1_000, 8, 3_999).contains("but heard its peer"));
    assert_eq!(issue_of(1_000, 7, 3_999), "", "a copy need not count");
}

#[test]
fn an_end_that_lets_its_peer_time_out_is_noticed() {
    let issue_of = |must_live: bool, spoke: u64, awake_from: u64| {
        let mut checker = checker();
        checker.rules.must_live = must_live;
        checker.spoke(at(spoke), LIFE, End::Client);
        checker.sleeps(at(awake_from));
        checker.closed(at(10_000), LIFE, End::Server, &Closed::TimedOut);
        checker.issue().to_owned()
    };
    assert_eq!(issue_of(false, 9_000, 0), "", "what it said was lost");
    assert!(issue_of(false, 8_000, 0).contains("last said something"));
    assert_eq!(issue_of(false, 8_000, 8_000), "", "it slept");
    assert!(issue_of(true, 9_000, 0).contains("on a good path"));
}

#[test]
fn a_close_that_a_good_path_does_not_carry_is_noticed() {
    let issue_of = |must_tell: bool, crashes: bool| {
        let mut checker = checker();
        checker.rules.must_tell = must_tell;
        checker.closes(LIFE, End::Client, CloseCode::None, "");
        let why = Closed::Local { code: CloseCode::None, reason: String::new() };
        checker.closed(at(10), LIFE, End::Client, &why);
        if crashes {
            checker.crashed(LIFE);
        }
        checker.closed(at(5_000), LIFE, End::Server, &Closed::TimedOut);
        checker.issue().to_owned()
    };
    assert!(issue_of(true, false).contains("although its peer closed"));
    assert_eq!(issue_of(true, true), "", "it had no time to say so");
    assert_eq!(issue_of(false, false), "");
}

#[test]
fn timers_that_are_late_and_buffers_that_are_full_are_noticed() {
    let issue_of = |change: &dyn Fn(&mut Gauge)| {
        let mut gauge = Gauge {
            timeout: Some(at(1_500)),
            is_closed: false,
            is_drained: false,
            queued_bytes: 10,
            max_queued_bytes: 1_000,
            rtt: Duration::from_millis(20),
            idle_timeout: IDLE,
        };
        change(&mut gauge);
        let mut checker = checker();
        checker.gauge(at(1_000), LIFE, End::Client, &gauge);
        checker.issue().to_owned()
    };
    assert_eq!(issue_of(&|_| {}), "");
    assert!(issue_of(&|it| it.timeout = None).contains("no timer"));
    assert!(issue_of(&|it| it.timeout = Some(at(2_000))).contains("10 bytes wait"));
    assert_eq!(issue_of(&|it| (it.timeout, it.queued_bytes) = (Some(at(2_000)), 0)), "");
    assert!(issue_of(&|it| (it.timeout, it.queued_bytes) = (Some(at(5_000)), 0)).contains("idle timeout"));
    assert!(issue_of(&|it| it.queued_bytes = 1_001).contains("at most 1000"));
    assert_eq!(issue_of(&|it| (it.timeout, it.is_closed, it.is_drained) = (None, true, true)), "");
    assert!(issue_of(&|it| (it.timeout, it.is_closed) = (None, true)).contains("no timer"));
}

#[test]
fn timers_that_spin_are_noticed() {
    let mut checker = checker();
    assert!((0..10_000).all(|millis| checker.step(at(millis))));
    assert!(!(0..10_000).all(|_| checker.step(at(10_000))));
    assert!(checker.issues()[0].contains("time stands still"));
}

#[test]
fn an_end_that_sends_without_end_is_noticed_and_stopped() {
    let mut checker = checker();
    checker.burst(End::Server, MAX_BURST - 1);
    assert!(checker.step(at(1)));
    checker.burst(End::Server, MAX_BURST);
    assert!(!checker.step(at(2)));
    assert!(checker.issues()[0].contains("without end"));
}

#[test]
fn a_connection_that_opens_twice_is_noticed() {
    let mut checker = checker();
    checker.opened(LIFE, End::Server);
    assert!(checker.issue().contains("opened at Server while Open"));
}
