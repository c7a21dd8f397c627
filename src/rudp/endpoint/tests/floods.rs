//! Floods from outside while a session runs: what the endpoint remembers of them is bounded, and the session
//! is not affected.

use super::confirmation::confirmed;
use super::*;
use crate::wire::Delivery;
use crate::wire::packet::forge;
use rand::Rng;

/// An established connection whose two ends exchange messages now and then.
struct Talk {
    id: ConnectionId,
    client: Connection,
    said: u32,
}

impl Talk {
    fn begin(bed: &mut Bed) -> Self {
        let (id, client) = confirmed(bed, "anna", address(1));
        Self { id, client, said: 0 }
    }

    /// Exchanges a message each way, which arrives at once although the flood continues.
    fn exchange(&mut self, bed: &mut Bed) {
        self.said += 1;
        let said = Bytes::copy_from_slice(&self.said.to_be_bytes());
        let (now, ordered) = (bed.now.mono, Delivery::ReliableOrdered);
        self.client.send(now, StreamId::CONTROL, ordered, said.clone().into()).unwrap();
        let connection = bed.endpoint.connection(self.id).unwrap();
        connection.send(now, StreamId::CONTROL, ordered, said.clone().into()).unwrap();
        let mut packet = BytesMut::new();
        while self.client.poll_transmit(now, &mut packet).is_some() {
            assert!(bed.input(address(1), &packet.split()).is_none());
        }
        while let Some(to) = bed.endpoint.poll_transmit(now, &mut packet) {
            let datagram = packet.split();
            if !is_clear(&datagram) {
                assert_eq!(to.route.remote, address(1));
                self.client.handle_packet(now, to, datagram).unwrap();
            }
        }
        match &bed.drain_events()[..] {
            [EndpointEvent::Message { payload, .. }] => assert_eq!(*payload, said),
            other => panic!("{other:?}"),
        }
        let heard = std::iter::from_fn(|| self.client.poll_event());
        let heard: Vec<_> = heard.filter(|event| matches!(event, Event::Message { .. })).collect();
        assert!(matches!(&heard[..], [Event::Message { payload, .. }] if *payload == said), "{heard:?}");
    }
}

/// Returns what looks like a packet of connection `id`.
fn sealed(id: u32, bytes: &[u8]) -> Vec<u8> {
    [&[0x80][..], &id.to_be_bytes(), bytes].concat()
}

// spec-test: PKT-1, PKT-6, KEY-3
#[test]
fn whoever_guesses_connection_ids_finds_nothing_out() {
    let mut bed = Bed::new();
    let mut talk = Talk::begin(&mut bed);
    talk.exchange(&mut bed);
    let captured = packet_of(&mut talk.client, bed.now);
    let before = bed.endpoint.counters().clone();
    let mut rng = StdRng::seed_from_u64(3);
    let (mut strangers, mut hits) = (0, 0);
    for round in 0..5_000u32 {
        let guess = match round % 3 {
            0 => talk.id.0 ^ 1 << (round / 3 % 24),
            1 => ConnectionId::new(WorkerId(2), rng.random()).0,
            _ => talk.id.0,
        };
        strangers += u64::from(guess != talk.id.0);
        hits += u64::from(guess == talk.id.0);
        let from = address(if round % 2 == 0 { 1 } else { 9 });
        let mut noise = [0; 40];
        rng.fill(&mut noise[..]);
        // A genuine packet opens only under its own id.
        let tail = if guess == talk.id.0 { &noise[..] } else { &captured[5..] };
        assert!(bed.input(from, &sealed(guess, tail)).is_none());
        assert_eq!(bed.endpoint.poll_transmit(bed.now.mono, &mut BytesMut::new()), None, "no answer");
    }
    let after = bed.endpoint.counters();
    let dropped = |reason| after.dropped(reason) - before.dropped(reason);
    assert_eq!(dropped(DropReason::UnknownConnection), strangers);
    assert_eq!(dropped(DropReason::DoesNotOpen), hits);
    assert_eq!(after.unproven_bytes_sent, before.unproven_bytes_sent);
    assert_eq!((bed.endpoint.connection_count(), bed.endpoint.half_open_count()), (1, 0));
    assert_eq!(bed.endpoint.address(talk.id), Some(address(1)));
    talk.exchange(&mut bed);
}

/// Every client here has a token of its own and answers a RETRY, from many networks.
// spec-test: HSK-11
#[test]
fn a_flood_of_good_hellos_ends_at_the_ceilings() {
    let mut bed = Bed::with(|config| config.max_half_open = 64);
    let mut talk = Talk::begin(&mut bed);
    let tokens_before = bed.ledger.len();
    for n in 0..1_500u16 {
        let from = SocketAddr::from(([10, (n >> 8) as u8, n as u8, 1], 5_000));
        let grant = bed.grant(&format!("eve-{n}"));
        let hello = bed.hello(&grant);
        if let Some(ClearPacket::Retry(retry)) = bed.send(from, &hello) {
            bed.send(from, &changed(&hello, |hello| hello.cookie = Some(retry.cookie)));
        }
        assert!(bed.endpoint.half_open_count() <= 64);
        assert!(bed.endpoint.half_opens.places() <= 64 * 6 + 1, "six tables, and one was confirmed");
        if n % 10 == 0 {
            talk.exchange(&mut bed);
        }
        bed.advance(Duration::from_millis(2));
    }
    assert_eq!(bed.endpoint.half_open_count(), 64, "the flood was one");
    assert!(bed.endpoint.counters().dropped(DropReason::HandshakesFull) > 1_000);
    assert!(bed.ledger.len() <= tokens_before + 64, "who was refused leaves nothing");
    bed.advance(Duration::from_secs(8));
    assert_eq!((bed.endpoint.half_open_count(), bed.endpoint.half_opens.places()), (0, 0));
    talk.exchange(&mut bed);
}

// spec-test: HSK-8
#[test]
fn a_flood_of_hellos_without_a_good_token_leaves_nothing() {
    let mut bed = Bed::with(|config| config.cookie_from_hellos_per_second = u32::MAX);
    let mut talk = Talk::begin(&mut bed);
    let before = (bed.ledger.len(), bed.endpoint.half_opens.places());
    let foreign = bed.grant_of(&key(7), "eve", SERVER);
    let hello = bed.hello(&foreign);
    for n in 0..5_000u32 {
        for datagram in [&hello[..], &forge(GAME, 1, 1, &[n as u8; 1_192])] {
            assert_eq!(bed.send(address(n as u8), datagram), None);
        }
        if n % 500 == 0 {
            talk.exchange(&mut bed);
        }
    }
    assert_eq!((bed.ledger.len(), bed.endpoint.half_opens.places()), before);
    talk.exchange(&mut bed);
}

/// The socket may be full for as long as the flood lasts.
#[test]
fn answers_that_nobody_takes_are_bounded() {
    let mut bed = Bed::with(|config| config.max_rejects_per_second = u32::MAX);
    for n in 0..2 * ANSWERS_MAX {
        bed.input(address(n as u8), &forge(GAME, 9, 1, &[5; 1_192]));
    }
    assert_eq!(bed.endpoint.answers.len(), ANSWERS_MAX);
}

/// However many strangers ask, every other datagram is one of a connection, as long as there are any.
#[test]
fn answers_to_strangers_leave_in_turns_with_the_datagrams_of_connections() {
    let mut bed = Bed::with(|config| config.cookie_from_hellos_per_second = 3);
    let (id, _client) = confirmed(&mut bed, "anna", address(1));
    let grant = bed.grant("bob");
    let hello = bed.hello(&grant);
    (0..20).for_each(|last| _ = bed.input(address(100 + last), &hello));
    let connection = bed.endpoint.connection(id).unwrap();
    for _ in 0..5 {
        let payload = Bytes::from(vec![0; 1_000]).into();
        connection.send(bed.now.mono, StreamId::CONTROL, Delivery::ReliableOrdered, payload).unwrap();
    }
    let mut out = BytesMut::new();
    let mut sealed = Vec::new();
    while bed.endpoint.poll_transmit(bed.now.mono, &mut out).is_some() {
        sealed.push(!is_clear(&out.split()));
    }
    let first_turns: Vec<_> = sealed.iter().take(10).copied().collect();
    assert_eq!(first_turns, [false, true].repeat(5), "{sealed:?}");
    assert!(sealed.len() > 15 && sealed[10..].iter().all(|sealed| !sealed));
}

/// A copy, noise, and a large datagram from elsewhere: none of them marks its connection as dirty.
#[test]
fn what_anybody_can_send_sets_no_connection_to_work() {
    let mut bed = Bed::new();
    let (id, mut client) = confirmed(&mut bed, "anna", address(1));
    bed.answer(address(1));
    let now = bed.now.mono;
    let mut say = || {
        client.send(now, StreamId::CONTROL, Delivery::ReliableOrdered, Bytes::from("x").into()).unwrap();
        packet_of(&mut client, bed.now)
    };
    let (packet, mut damaged) = (say(), BytesMut::from(&say()[..]));
    *damaged.last_mut().unwrap() ^= 1;
    bed.input(address(1), &packet);
    assert_eq!(bed.endpoint.dirty, [id], "one that opens does");
    bed.answer(address(1));
    let mut large = BytesMut::from(&packet[..]);
    large.resize(1_201, 0);
    let elsewhere = SocketAddr::from(([198, 51, 100, 1], 1));
    for (from, datagram, why) in [
        (address(1), &packet[..], DropReason::Replayed),
        (address(1), &damaged, DropReason::DoesNotOpen),
        (elsewhere, &large, DropReason::OffPath),
    ] {
        assert_eq!(bed.fate(from, datagram).0, [why]);
        bed.input(from, datagram);
        assert!(bed.endpoint.dirty.is_empty(), "{why:?}");
    }
}
