//! A client's attempt to connect, with forged and stale answers.

use super::*;
use crate::base::{ConnectionId, UnixTime};
use crate::secure::{Psk, Responder};
use crate::wire::packet::{COOKIE_BYTES, ClearHeader, Cookie, forge};

const GAME: u64 = 7;
const SERVER: &str = "server";

fn grant() -> ConnectGrant {
    ConnectGrant {
        token: "v4.local.token".into(),
        psk: Psk::new([5; 32]),
        servers: vec![SERVER.into()],
        audience: None,
        expires: UnixTime::from_secs(1),
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn connecting() -> Connecting {
    connecting_by(&grant())
}

fn connecting_by(grant: &ConnectGrant) -> Connecting {
    let (remote, rng) = (([127, 0, 0, 1], 7_777).into(), StdRng::seed_from_u64(1));
    Connecting::new(at(0), SERVER, remote, grant, ConnectingConfig::new(GAME), rng)
}

fn hello(connecting: &mut Connecting, now: Timestamp) -> Option<Hello> {
    let mut out = BytesMut::new();
    connecting.poll_transmit(now, &mut out).then(|| match ClearPacket::read(GAME, &out.freeze()) {
        Ok(ClearPacket::Hello(hello)) => hello,
        other => panic!("{other:?}"),
    })
}

fn give(connecting: &mut Connecting, now: Timestamp, packet: &ClearPacket) {
    connecting.handle_datagram(now, BytesMut::from(&packet.to_bytes(GAME)[..]));
}

fn ack_of(hello: &Hello, echo: Echo) -> ClearPacket {
    let binding = Binding { protocol_id: GAME, server: SERVER, token: &hello.token };
    let mut rng = StdRng::seed_from_u64(2);
    let (responder, parameters) = Responder::read(binding, &grant().psk, &hello.noise, &mut rng).unwrap();
    let (noise, _) = responder.answer(ConnectionId(9), &parameters).unwrap();
    ClearPacket::HelloAck(HelloAck { echo, noise })
}

fn retry(echo: Echo, byte: u8) -> ClearPacket {
    ClearPacket::Retry(Retry { echo, cookie: Cookie([byte; COOKIE_BYTES]) })
}

// spec-test: HSK-3, HSK-12
#[test]
fn only_an_authentic_answer_to_the_own_hello_counts() {
    let mut connecting = connecting();
    let hello = hello(&mut connecting, at(0)).unwrap();
    let good = ack_of(&hello, hello.echo());
    let strange = ack_of(&hello, Echo([1; 8]));
    give(&mut connecting, at(10), &strange);
    let ClearPacket::HelloAck(mut forged) = good.clone() else { panic!() };
    forged.noise = Bytes::from(vec![3; forged.noise.len()]);
    give(&mut connecting, at(10), &ClearPacket::HelloAck(forged));
    connecting.handle_datagram(at(10), BytesMut::from(&[0x80; 60][..]));
    connecting.handle_datagram(at(10), BytesMut::new());
    assert!(connecting.poll_outcome().is_none());
    give(&mut connecting, at(10), &good);
    assert!(connecting.poll_outcome().is_some_and(|outcome| outcome.is_ok()));
    give(&mut connecting, at(11), &good);
    assert!(connecting.poll_outcome().is_none(), "once");
    assert_eq!(connecting.poll_timeout(), None);
}

// spec-test: PKT-3
#[test]
fn a_hello_is_nothing_to_a_client() {
    let mut connecting = connecting();
    let own = hello(&mut connecting, at(0)).unwrap();
    give(&mut connecting, at(10), &ClearPacket::Hello(own.clone()));
    assert_eq!(hello(&mut connecting, at(10)), None);
    assert!(connecting.poll_outcome().is_none());
    assert_eq!(connecting.failure, ConnectError::NoAnswer);
    let due = connecting.poll_timeout().unwrap();
    assert_eq!(hello(&mut connecting, due), Some(own), "it goes on");
}

// spec-test: HSK-14
#[test]
fn hello_is_repeated_unchanged() {
    let mut connecting = connecting();
    let first = hello(&mut connecting, at(0)).unwrap();
    assert_eq!(hello(&mut connecting, at(0)), None, "one at a time");
    let due = connecting.poll_timeout().unwrap();
    assert!((at(200)..at(300)).contains(&due), "{due:?}");
    assert_eq!(hello(&mut connecting, due), Some(first));
    let next = connecting.poll_timeout().unwrap().since(due);
    assert!((400..600).contains(&next.as_millis()), "{next:?}");
    assert!(hello(&mut connecting, due + next).is_some());
    let after = connecting.poll_timeout().unwrap().since(due + next);
    assert!((400..600).contains(&after.as_millis()), "{after:?}");
}

// spec-test: HSK-3, HSK-5
#[test]
fn two_retries_are_followed_at_once_and_a_third_is_not() {
    let mut connecting = connecting();
    let first = hello(&mut connecting, at(0)).unwrap();
    give(&mut connecting, at(10), &retry(Echo([1; 8]), 1));
    assert_eq!(hello(&mut connecting, at(10)), None, "another's echo");
    for byte in [1, 2] {
        give(&mut connecting, at(10), &retry(first.echo(), byte));
        let again = hello(&mut connecting, at(10)).expect("at once");
        assert_eq!(again, Hello { cookie: Some(Cookie([byte; COOKIE_BYTES])), ..first.clone() });
        give(&mut connecting, at(10), &retry(first.echo(), byte));
        assert_eq!(hello(&mut connecting, at(10)), None, "the same cookie again");
    }
    give(&mut connecting, at(10), &retry(first.echo(), 3));
    assert_eq!(hello(&mut connecting, at(10)), None);
}

// spec-test: HSK-3, HSK-4, HSK-7
#[test]
fn the_last_reject_is_reported_a_second_after_the_first_one() {
    let mut connecting = connecting();
    let first = hello(&mut connecting, at(0)).unwrap();
    let reject = |echo, code| ClearPacket::Reject(Reject { echo, code, version: 1 });
    let header = {
        let bytes = ClearPacket::Hello(first.clone()).to_bytes(GAME);
        ClearHeader::read(GAME, &bytes).unwrap().0.echo()
    };
    give(&mut connecting, at(10), &reject(first.echo(), RejectCode::Version));
    assert_eq!(connecting.failure, ConnectError::NoAnswer, "a version REJECT names the header");
    give(&mut connecting, at(1_010), &reject(header, RejectCode::Version));
    assert_eq!(connecting.failure, ConnectError::Refused(RejectCode::Version));
    give(&mut connecting, at(10), &reject(header, RejectCode::Full));
    assert_eq!(
        connecting.failure,
        ConnectError::Refused(RejectCode::Version),
        "another REJECT names the ephemeral"
    );
    give(&mut connecting, at(10), &reject(first.echo(), RejectCode::Full));
    connecting.handle_timeout(at(2_009));
    assert!(connecting.poll_outcome().is_none(), "the server itself may still be heard");
    connecting.handle_timeout(at(2_010));
    let error = connecting.poll_outcome().and_then(Result::err);
    assert_eq!(error, Some(ConnectError::Refused(RejectCode::Full)));
    assert_eq!(hello(&mut connecting, at(6_000)), None);
}

/// A REJECT of a server of version 2 is accepted, and nothing else that such a server may send, not even what
/// would be an answer in version 1.
// spec-test: PKT-2
#[test]
fn a_reject_is_heard_in_whatever_version_it_is() {
    let mut connecting = connecting();
    let first = hello(&mut connecting, at(0)).unwrap();
    let header = ClearHeader::read(GAME, &ClearPacket::Hello(first.clone()).to_bytes(GAME)).unwrap().0.echo();
    let mut say = |kind: ClearKind, body: &[&[u8]]| {
        connecting.handle_datagram(at(10), forge(GAME, 2, kind as u8, &body.concat()));
        (connecting.failure, connecting.hello.cookie)
    };
    assert_eq!(say(ClearKind::Retry, &[&first.echo().0, &[7; COOKIE_BYTES]]), (ConnectError::NoAnswer, None));
    let refused = (ConnectError::Refused(RejectCode::Version), None);
    assert_eq!(say(ClearKind::Reject, &[&header.0, &[RejectCode::Version as u8, 2]]), refused);
    let answer = ack_of(&first, first.echo()).to_bytes(GAME);
    let body = ClearHeader::read(GAME, &answer).unwrap().1.rest();
    for (version, is_answer) in [(2, false), (1, true)] {
        connecting.handle_datagram(at(20), forge(GAME, version, ClearKind::HelloAck as u8, &body));
        assert_eq!(connecting.poll_outcome().is_some_and(|outcome| outcome.is_ok()), is_answer);
    }
}

/// Anybody may have sent the REJECT.
// spec-test: HSK-7
#[test]
fn after_a_reject_hello_goes_on_and_an_answer_counts() {
    let mut connecting = connecting();
    let first = hello(&mut connecting, at(0)).unwrap();
    let reject = Reject { echo: first.echo(), code: RejectCode::Full, version: 1 };
    give(&mut connecting, at(10), &ClearPacket::Reject(reject));
    let due = connecting.poll_timeout().unwrap();
    assert_eq!(hello(&mut connecting, due).as_ref(), Some(&first));
    give(&mut connecting, due, &ack_of(&first, first.echo()));
    assert!(connecting.poll_outcome().is_some_and(|outcome| outcome.is_ok()));
}

#[test]
fn an_authentic_answer_that_breaks_the_protocol_ends_the_attempt() {
    let mut connecting = connecting();
    let hello = hello(&mut connecting, at(0)).unwrap();
    let binding = Binding { protocol_id: GAME, server: SERVER, token: &hello.token };
    let mut rng = StdRng::seed_from_u64(2);
    let noise =
        Responder::read(binding, &grant().psk, &hello.noise, &mut rng).unwrap().0.answer_with(b"short");
    give(&mut connecting, at(10), &ClearPacket::HelloAck(HelloAck { echo: hello.echo(), noise }));
    let error = connecting.poll_outcome().and_then(Result::err);
    assert!(matches!(error, Some(ConnectError::Handshake(HandshakeError::Payload(_)))));
}

#[test]
fn a_token_that_no_hello_holds_ends_the_attempt() {
    for (bytes, is_sound) in [(0, false), (1, true), (900, true), (901, false)] {
        let mut connecting = connecting_by(&ConnectGrant { token: "x".repeat(bytes), ..grant() });
        assert_eq!(hello(&mut connecting, at(0)).is_some(), is_sound);
        connecting.handle_timeout(connecting.poll_timeout().unwrap());
        let failed = connecting.poll_outcome().map(|outcome| outcome.map(|_| ()));
        assert_eq!(failed, (!is_sound).then_some(Err(ConnectError::Token { bytes })));
    }
}
