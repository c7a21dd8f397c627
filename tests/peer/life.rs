//! How a connection begins and ends.

use rallypoint::rudp::SendError;
use rallypoint::wire::CloseCode;
use rallypoint::wire::frame::Close;

use super::*;

fn close(code: u16) -> Frame {
    Frame::Close(Close { code, reason: String::new() })
}

fn unreliable() -> Frame {
    Frame::Message(Message { head: MessageHead::Unreliable, payload: Bytes::from_static(b"x") })
}

/// Returns the connection's events since the last call, except that it is established.
fn told(peer: &mut Peer) -> Vec<Event> {
    let events = std::iter::from_fn(|| peer.connection.poll_event());
    events.filter(|event| *event != Event::Established).collect()
}

/// Returns all packets sent within `time`, each with its time, stopping at every deadline of the connection.
fn hear_for(peer: &mut Peer, time: Duration) -> Vec<(Timestamp, Opened)> {
    let end = peer.now + time;
    let mut heard = Vec::new();
    loop {
        let now = peer.now;
        heard.extend(peer.hear().into_iter().map(|packet| (now, packet)));
        match peer.connection.poll_timeout().filter(|due| *due <= end) {
            Some(due) => peer.wait(due.max(now).since(now)),
            None => break,
        }
    }
    peer.now = end;
    heard
}

// spec-test: CON-1
#[test]
fn a_connection_begins_with_packet_0_in_phase_0_and_the_client_sends_first() {
    let mut client = Connection::new(
        Timestamp::ZERO,
        Role::Client { id: CLIENT },
        ADDRESS.into(),
        secrets().client_keys(),
        TransportParameters::default(),
        ConnectionConfig::default(),
        StdRng::seed_from_u64(4),
    );
    let mut packet = BytesMut::new();
    assert!(client.poll_transmit(Timestamp::ZERO, &mut packet).is_some(), "nobody asked it to");
    let (header, length) = SealedHeader::read(&packet, Direction::ToServer).unwrap();
    assert!(!header.key_phase);
    let mut body = packet[length..].to_vec();
    assert!(secrets().server_keys().open.open(PacketNumber(0), &packet[..length], &mut body).is_ok());

    let mut peer = Peer::new();
    assert!(peer.hear().is_empty(), "a server waits for the client");
    peer.say(&[Frame::Ping]);
    let heard = peer.hear();
    assert_eq!((heard[0].number, heard[0].header.key_phase), (0, false));
}

// spec-test: CON-5, CON-6
#[test]
fn a_close_is_answered_once_with_code_0_and_nothing_follows() {
    let mut peer = Peer::new();
    peer.send(Delivery::ReliableOrdered, 100);
    peer.say(&[close(5), unreliable(), close(3)]);
    let heard = hear_for(&mut peer, Duration::from_secs(30));
    let frames: Vec<_> = heard.iter().map(|(_, packet)| packet.frames.as_slice()).collect();
    assert_eq!(frames, [[close(0)]]);
    let closed = Closed::ByPeer { code: CloseCode::ShuttingDown, reason: String::new() };
    assert_eq!(told(&mut peer), [Event::Closed(closed)], "not the message after it");
    assert_eq!(peer.try_say(&[unreliable()]), Err(PacketDropped::Closed));
    assert_eq!(told(&mut peer), []);
}

// spec-test: CON-5, CON-6
#[test]
fn an_end_that_closes_says_only_so_until_it_is_answered() {
    let mut peer = Peer::new();
    peer.say(&[Frame::Ping]);
    peer.hear();
    told(&mut peer);
    peer.send(Delivery::ReliableOrdered, 100);
    peer.connection.close(peer.now, CloseCode::KickedByOperator, "out");
    let payload = Payload::from(Bytes::new());
    let sent = peer.connection.send(peer.now, StreamId(0), Delivery::Unreliable, payload);
    assert_eq!(sent, Err(SendError::Closed));
    peer.say(&[unreliable(), Frame::Ping]);
    let heard = hear_for(&mut peer, Duration::from_secs(30));
    assert_eq!(heard.len(), 5, "nobody answered");
    for (_, packet) in &heard {
        assert_eq!(packet.frames, [Frame::Close(Close { code: 6, reason: "out".to_owned() })]);
    }
    assert!(matches!(told(&mut peer)[..], [Event::Closed(Closed::Local { .. })]), "no message");

    let mut peer = Peer::new();
    peer.connection.close(peer.now, CloseCode::KickedByOperator, "out");
    assert_eq!(peer.hear().len(), 1);
    peer.say(&[close(0)]);
    assert_eq!(hear_for(&mut peer, Duration::from_secs(30)).len(), 0, "it was answered");
}

// spec-test: CON-6
#[test]
fn closes_are_a_probe_timeout_apart_then_twice_as_long_and_a_second_at_most() {
    let rows: [(_, &[u128]); 3] = [
        (0, &[30, 60, 120, 240, 480, 960, 1_000]),
        (20, &[60, 120, 240, 480, 960, 1_000]),
        (2_000, &[300, 600, 1_000, 1_000]),
    ];
    for (round_trip, expected) in rows {
        let mut peer = Peer::new();
        peer.send(Delivery::ReliableOrdered, 100);
        peer.hear();
        peer.now += Duration::from_millis(round_trip);
        peer.ack();
        peer.hear();
        peer.connection.close(peer.now, CloseCode::None, "");
        let said: Vec<_> =
            hear_for(&mut peer, Duration::from_secs(30)).into_iter().map(|(at, _)| at).collect();
        let pauses: Vec<_> = said.windows(2).map(|pair| pair[1].since(pair[0]).as_millis()).collect();
        assert_eq!(pauses, expected, "{round_trip} ms");
    }
}

/// Everything sent to it may arrive, while nothing it sends does.
// spec-test: CON-3, CON-6
#[test]
fn a_peer_that_says_that_it_hears_nothing_has_ended_by_silence() {
    let mut peer = Peer::new();
    peer.say(&[Frame::Ping]);
    told(&mut peer);
    peer.say(&[Frame::Close(Close { code: 2, reason: String::new() })]);
    assert_eq!(told(&mut peer), [Event::Closed(Closed::TimedOut)]);
    let close = Frame::Close(Close { code: 0, reason: String::new() });
    assert!(peer.hear().iter().flat_map(|packet| &packet.frames).eq([&close]));
}

/// Either end may have the shorter one; the other's ten seconds do not matter.
// spec-test: CON-3
#[test]
fn the_shorter_idle_timeout_ends_a_connection_with_one_word() {
    let peers = TransportParameters { idle_timeout_ms: 2_000, ..TransportParameters::default() };
    let own = ConnectionConfig { idle_timeout: Duration::from_secs(2), ..ConnectionConfig::default() };
    let ends = [(peers, ConnectionConfig::default()), (TransportParameters::default(), own)];
    for (parameters, config) in ends {
        let mut peer = Peer::with(parameters, config);
        peer.say(&[Frame::Ping]);
        peer.send(Delivery::ReliableOrdered, 100);
        hear_for(&mut peer, Duration::from_millis(1_999));
        assert!(!peer.connection.is_closed());
        peer.wait(Duration::from_millis(1));
        let close = Frame::Close(Close { code: 2, reason: String::new() });
        assert!(peer.hear().iter().flat_map(|packet| &packet.frames).eq([&close]));
        assert!(told(&mut peer).contains(&Event::Closed(Closed::TimedOut)));
        assert!(hear_for(&mut peer, Duration::from_secs(30)).is_empty());
    }
}
