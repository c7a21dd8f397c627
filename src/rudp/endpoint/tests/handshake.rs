//! Whole handshakes in virtual time, with each kind of message lost in turn.

use super::*;
use crate::rudp::ConnectError;
use crate::wire::packet::is_clear;

/// One-way delay of a datagram.
const DELAY: Duration = Duration::from_millis(20);
const STEP: Duration = Duration::from_millis(5);

/// A client, first connecting, then connected.
struct Client {
    connecting: Connecting,
    connection: Option<Connection>,
    error: Option<ConnectError>,
}

impl Client {
    fn handle_datagram(&mut self, now: Now, datagram: BytesMut) {
        match &mut self.connection {
            Some(connection) => _ = connection.handle_packet(now.mono, address(0).into(), datagram),
            None => self.connecting.handle_datagram(now.mono, datagram),
        }
    }

    fn poll_transmit(&mut self, now: Now) -> Option<BytesMut> {
        match self.connecting.poll_outcome() {
            Some(Ok(connection)) => self.connection = Some(*connection),
            Some(Err(error)) => self.error = Some(error),
            None => {}
        }
        let mut out = BytesMut::new();
        let sent = match &mut self.connection {
            Some(connection) => connection.poll_transmit(now.mono, &mut out).is_some(),
            None => self.connecting.poll_transmit(now.mono, &mut out),
        };
        sent.then_some(out)
    }

    fn handle_timeout(&mut self, now: Now) {
        match &mut self.connection {
            Some(connection) => connection.handle_timeout(now.mono),
            None => self.connecting.handle_timeout(now.mono),
        }
    }
}

/// Runs a client against the bed for `time`. `lost(to_server, n, datagram)` decides whether the n-th datagram
/// of a direction is lost.
fn run(bed: &mut Bed, time: Duration, mut lost: impl FnMut(bool, usize, &[u8]) -> bool) -> Client {
    let grant = bed.grant("anna");
    let connecting = bed.connecting(&grant);
    let mut client = Client { connecting, connection: None, error: None };
    let mut wire: VecDeque<(Timestamp, bool, BytesMut)> = VecDeque::new();
    let (mut sent_up, mut sent_down) = (0, 0);
    let end = bed.now.mono + time;
    while bed.now.mono < end {
        while let Some((_, to_server, datagram)) = wire.pop_front_if(|(at, ..)| *at <= bed.now.mono) {
            if !to_server {
                client.handle_datagram(bed.now, datagram);
            } else if let Some(ForOwner::Incoming(incoming)) = bed.input(address(1), &datagram) {
                bed.endpoint.accept(bed.now, incoming);
            }
        }
        client.handle_timeout(bed.now);
        while let Some(datagram) = client.poll_transmit(bed.now) {
            if !lost(true, sent_up, &datagram) {
                wire.push_back((bed.now.mono + DELAY, true, datagram));
            }
            sent_up += 1;
        }
        let mut out = BytesMut::new();
        while bed.endpoint.poll_transmit(bed.now.mono, &mut out).is_some() {
            let datagram = out.split();
            if !lost(false, sent_down, &datagram) {
                wire.push_back((bed.now.mono + DELAY, false, datagram));
            }
            sent_down += 1;
        }
        bed.advance(STEP);
    }
    client
}

fn is_connected(bed: &mut Bed) -> bool {
    matches!(&bed.drain_events()[..], [EndpointEvent::Connected { claims, .. }] if claims.user.as_str() == "anna")
}

#[test]
fn one_round_trip_makes_a_connection() {
    let mut bed = Bed::new();
    let client = run(&mut bed, DELAY * 2 + STEP * 2, |_, _, _| false);
    assert!(client.connection.is_some());
    let mut bed = Bed::new();
    run(&mut bed, DELAY * 3 + STEP * 3, |_, _, _| false);
    assert!(is_connected(&mut bed));
}

// spec-test: HSK-6, HSK-12, HSK-14
#[test]
fn each_lost_message_is_made_good() {
    for (to_server, lost) in [(true, 0), (true, 1), (true, 2), (false, 0), (false, 1)] {
        let mut bed = Bed::new();
        let client = run(&mut bed, Duration::from_secs(2), |up, at, _| (up, at) == (to_server, lost));
        assert!(client.connection.is_some_and(|connection| !connection.is_closed()));
        assert!(is_connected(&mut bed), "{to_server} {lost}");
    }
}

/// The client's confirmations are lost for a while: it repeats them until one is acked.
// spec-test: HSK-12
#[test]
fn the_confirmation_is_repeated_until_it_arrives() {
    let mut bed = Bed::new();
    let mut sealed = 0;
    let client = run(&mut bed, Duration::from_secs(4), |up, _, datagram| {
        sealed += usize::from(up && !is_clear(datagram));
        up && !is_clear(datagram) && sealed <= 3
    });
    assert!(client.connection.is_some());
    assert!(is_connected(&mut bed));
    assert!(sealed > 3);
}

/// The first answer that arrives comes when the client is about to give up, and its confirmation comes late
/// as well.
// spec-test: HSK-11
#[test]
fn an_answer_in_the_last_moment_can_still_be_confirmed() {
    let mut bed = Bed::new();
    let mut sealed = 0;
    let client = run(&mut bed, Duration::from_secs(7), |up, at, datagram| {
        sealed += usize::from(up && !is_clear(datagram));
        if up { !is_clear(datagram) && sealed <= 4 } else { at < 6 }
    });
    assert!(client.connection.is_some_and(|connection| !connection.is_closed()));
    assert!(is_connected(&mut bed));
}

// spec-test: HSK-5
#[test]
fn under_load_a_connection_takes_one_round_trip_more() {
    let mut bed = Bed::with(|config| config.cookie_from_hellos_per_second = 0);
    let client = run(&mut bed, DELAY * 4 + STEP * 4, |_, _, _| false);
    assert!(client.connection.is_some());
    assert_eq!(bed.endpoint.counters().retries_sent, 1);
    for lost in 0..4 {
        let mut bed = Bed::with(|config| config.cookie_from_hellos_per_second = 0);
        run(&mut bed, Duration::from_secs(3), |up, at, _| up == (lost < 2) && at == lost % 2);
        assert!(is_connected(&mut bed), "{lost}");
    }
}

// spec-test: HSK-7
#[test]
fn a_reject_is_a_hint_for_a_second() {
    let mut bed = Bed::new();
    bed.endpoint.set_draining(true);
    let client = run(&mut bed, Duration::from_millis(900), |_, _, _| false);
    assert_eq!((client.connection.is_none(), client.error), (true, None), "not over yet");
    let mut bed = Bed::new();
    bed.endpoint.set_draining(true);
    let client = run(&mut bed, Duration::from_secs(2), |_, _, _| false);
    assert_eq!(client.error, Some(ConnectError::Refused(RejectCode::Draining)));
}

// spec-test: HSK-14
#[test]
fn without_an_answer_the_attempt_ends_at_its_deadline() {
    let mut bed = Bed::new();
    let mut times = 0;
    let client = run(&mut bed, Duration::from_secs(6), |up, _, _| {
        times += usize::from(up);
        true
    });
    assert_eq!(client.error, Some(ConnectError::NoAnswer));
    // At 0 s, at 0.25 s, then every half second, varied by up to a fifth.
    assert!((10..=13).contains(&times), "{times} HELLOs");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut bed = Bed::new();
        let mut lengths = Vec::new();
        run(&mut bed, Duration::from_secs(1), |up, at, datagram| {
            lengths.push((up, at, datagram.len()));
            at % 3 == 1
        });
        lengths
    };
    assert_eq!(run(), run());
}
