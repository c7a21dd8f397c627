//! The client's first sealed packet, and sealed packets of no connection.

use super::*;
use crate::base::{PacketNumber, Truncated, Writer};
use crate::rudp::{ConnectionConfig, KeyLimit};
use crate::secure::{Binding, Initiator};
use crate::wire::{CloseCode, SealedHeader};

pub(super) fn confirmed(bed: &mut Bed, user: &str, from: SocketAddr) -> (ConnectionId, Connection) {
    let grant = bed.grant(user);
    let mut client = bed.half_open(from, &grant);
    let packet = packet_of(&mut client, bed.now);
    assert!(bed.input(from, &packet).is_none());
    match bed.endpoint.poll_event() {
        Some(EndpointEvent::Connected { connection, .. }) => (connection, client),
        other => panic!("{other:?}"),
    }
}

// spec-test: HSK-13
#[test]
fn the_first_sealed_packet_confirms_and_fixes_the_port() {
    let moved = (address(1).ip(), 4_321).into();
    // A client that sends from an IP that is not its own must not make the server send to that IP.
    for (from, active) in [(moved, moved), (address(9), address(1))] {
        confirms(from, active);
    }
}

fn confirms(first_from: SocketAddr, active: SocketAddr) {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let mut client = bed.half_open(address(1), &grant);
    assert!(bed.drain_events().is_empty(), "nobody is connected yet");
    let packet = packet_of(&mut client, bed.now);
    assert!(bed.input(first_from, &packet).is_none());
    let Some(EndpointEvent::Connected { connection, claims, from }) = bed.endpoint.poll_event() else {
        panic!("not connected")
    };
    assert_eq!((claims.user.as_str(), from), ("anna", active));
    assert_eq!(connection.worker(), WorkerId(2));
    assert_eq!(bed.endpoint.address(connection), Some(active));
    assert!(bed.endpoint.connection(connection).is_some());
    assert_eq!((bed.endpoint.half_open_count(), bed.endpoint.connection_count()), (0, 1));
}

// spec-test: TOK-6, HSK-13
#[test]
fn a_confirmed_token_is_spent_and_its_other_half_open_is_told_so() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let mut first = bed.half_open(address(1), &grant);
    let mut second = bed.half_open(address(2), &grant);
    let packet = packet_of(&mut second, bed.now);
    bed.input(address(2), &packet);
    assert_eq!(bed.drain_events().len(), 1);
    let late = packet_of(&mut first, bed.now);
    bed.input(address(1), &late);
    assert!(bed.drain_events().is_empty(), "nobody is told of it");
    assert_eq!(closed_by(&mut bed.endpoint, bed.now, &mut first), Some(CloseCode::Replaced));
    bed.advance(Duration::from_secs(3));
    assert_eq!(bed.answer(address(1)), None);
    assert_eq!((bed.endpoint.half_open_count(), bed.endpoint.connection_count()), (0, 1));
    let again = bed.hello(&grant);
    assert_eq!(bed.fate(address(1), &again), (vec![DropReason::TokenUsed], Some(RejectCode::TokenUsed)));
}

/// Otherwise a client with tokens could fill the table from one place.
#[test]
fn a_half_open_whose_token_is_spent_counts_until_its_time_is_over() {
    let mut bed = Bed::with(|config| {
        config.max_half_open_per_user = 2;
        config.max_half_open_per_prefix = 2;
    });
    let grant = bed.grant("anna");
    let _first = bed.half_open(address(1), &grant);
    let mut second = bed.half_open(address(2), &grant);
    let packet = packet_of(&mut second, bed.now);
    bed.input(address(2), &packet);
    assert_eq!(bed.drain_events().len(), 1);
    assert_eq!(bed.answer(address(2)), None);
    assert!(!bed.endpoint.awaits_clients(), "whose it is has another one");
    let far = |last| SocketAddr::from(([198, 51, 100, last], 1));
    let grant = bed.grant("anna");
    bed.half_open(far(1), &grant);
    assert!(bed.endpoint.awaits_clients());
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    assert_eq!(bed.fate(far(2), &hello).1, Some(RejectCode::UserLimit));
    let bob = bed.grant("bob");
    bed.half_open(address(3), &bob);
    let (cat, hello) = (address(4), bed.grant("cat"));
    let hello = bed.hello(&hello);
    assert_eq!(bed.fate(cat, &hello).1, Some(RejectCode::AddressLimit));
    bed.advance(Duration::from_secs(8));
    assert!(matches!(bed.send(cat, &hello), Some(ClearPacket::HelloAck(_))));
    assert_eq!(bed.endpoint.half_open_count(), 1);
}

/// Returns the code with which the server closes `client`, if it does.
fn closed_by(endpoint: &mut Endpoint, now: Now, client: &mut Connection) -> Option<CloseCode> {
    let mut packet = BytesMut::new();
    while endpoint.poll_transmit(now.mono, &mut packet).is_some() {
        // Some packets are for others.
        let _ = client.handle_packet(now.mono, address(0).into(), packet.split());
    }
    std::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
        Event::Closed(Closed::ByPeer { code, .. }) => Some(code),
        _ => None,
    })
}

/// A packet that does not open sets no connection to work, except for the last one that may not.
// spec-test: KEY-6
#[test]
fn a_connection_that_has_failed_to_open_too_many_packets_closes_at_once() {
    let mut bed = Bed::new();
    let (id, mut client) = confirmed(&mut bed, "anna", address(1));
    bed.endpoint.connection(id).unwrap().fail_opens((1 << 36) - 2);
    assert_eq!(closed_by(&mut bed.endpoint, bed.now, &mut client), None);
    for (failed, is_last) in [(1, false), (2, true)] {
        client.send(bed.now.mono, StreamId::CONTROL, Delivery::ReliableOrdered, Bytes::new().into()).unwrap();
        let mut packet = packet_of(&mut client, bed.now);
        *packet.last_mut().unwrap() ^= 1;
        assert!(bed.input(address(1), &packet).is_none());
        assert_eq!(bed.endpoint.counters().dropped(DropReason::DoesNotOpen), failed);
        let event = bed.endpoint.poll_event();
        let is_closed = matches!(
            &event,
            Some(EndpointEvent::Closed { why: Closed::KeyLimit(KeyLimit::FailedOpens), .. })
        );
        assert_eq!((is_closed, event.is_some()), (is_last, is_last), "{event:?}");
    }
    let told = closed_by(&mut bed.endpoint, bed.now, &mut client);
    assert_eq!(told, Some(CloseCode::TooManyFailedOpens));
}

/// Two workers each hold a half-open connection of one token; the ledger lets one win.
// spec-test: TOK-6
#[test]
fn of_two_workers_one_confirms_a_token() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let mut first = bed.half_open(address(1), &grant);
    let other = endpoint(WorkerId(3), bed.ledger.clone(), StdRng::seed_from_u64(99), |_| {});
    let mut one = std::mem::replace(&mut bed.endpoint, other);
    let mut second = bed.half_open(address(2), &grant);
    let packet = packet_of(&mut second, bed.now);
    bed.input(address(2), &packet);
    assert_eq!(bed.drain_events().len(), 1);
    one.handle_datagram(bed.now, address(1).into(), packet_of(&mut first, bed.now));
    assert!(one.poll_event().is_none());
    assert_eq!(closed_by(&mut one, bed.now, &mut first), Some(CloseCode::Replaced));
    assert!(one.poll_event().is_none());
    one.handle_timeout(bed.now.mono + Duration::from_secs(3));
    assert_eq!(closed_by(&mut one, bed.now, &mut first), None);
    assert_eq!((one.connection_count(), one.half_open_count()), (0, 0));
    assert_eq!(one.counters().dropped(DropReason::TokenUsed), 1);
}

#[test]
fn a_packet_that_does_not_open_confirms_nothing() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let mut client = bed.half_open(address(1), &grant);
    let packet = packet_of(&mut client, bed.now);
    let mut tampered = packet.to_vec();
    *tampered.last_mut().unwrap() ^= 1;
    bed.input(address(1), &tampered);
    assert_eq!(bed.endpoint.counters().dropped(DropReason::DoesNotOpen), 1);
    assert_eq!(bed.endpoint.half_open_count(), 1);
    bed.input(address(1), &packet);
    assert_eq!(bed.drain_events().len(), 1);
    bed.input(address(1), &packet);
    assert_eq!(bed.endpoint.counters().dropped(DropReason::Replayed), 1);
}

/// A client that knows the token's secret can seal what is not a frame. Nobody is connected then, and the
/// token stays.
// spec-test: HSK-11, HSK-13
#[test]
fn a_first_packet_that_breaks_the_protocol_confirms_nothing() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let binding = Binding { protocol_id: GAME, server: SERVER, token: grant.token.as_bytes() };
    let parameters = ConnectionConfig::default().parameters();
    let (mut initiator, noise) = Initiator::start(binding, &grant.psk, &parameters, &mut bed.rng);
    let hello = changed(&bed.hello(&grant), |hello| hello.noise = noise);
    let Some(ClearPacket::HelloAck(ack)) = bed.send(address(1), &hello) else { panic!("no answer") };
    let agreed = initiator.finish(&ack.noise).unwrap();
    let (connection, number) = (Some(agreed.connection), Truncated::bits16(0));
    let mut writer = Writer::new();
    SealedHeader { key_phase: false, connection, number }.write(&mut writer);
    let mut payload = [0xff];
    let tag = agreed.secrets.client_keys().seal.seal(PacketNumber(0), writer.as_slice(), &mut payload);
    let packet = [writer.as_slice(), &payload, &tag].concat();

    assert!(bed.input(address(1), &packet).is_none());
    assert_eq!((bed.endpoint.half_open_count(), bed.endpoint.connection_count()), (1, 0));
    assert!(bed.drain_events().is_empty());
    // Nor does it give the token another handshake.
    let mut client = bed.half_open(address(1), &grant);
    let third = bed.hello(&grant);
    let third = bed.proven(address(2), &third);
    assert_eq!(bed.fate(address(2), &third).1, Some(RejectCode::UserLimit));
    let packet = packet_of(&mut client, bed.now);
    bed.input(address(1), &packet);
    assert_eq!(bed.drain_events().len(), 1);
    let again = bed.hello(&grant);
    assert_eq!(bed.fate(address(3), &again).1, Some(RejectCode::TokenUsed), "the token is spent");
    bed.advance(Duration::from_secs(8));
    assert_eq!(bed.endpoint.half_open_count(), 0);
}

// spec-test: HSK-11
#[test]
fn an_unconfirmed_connection_ends_after_its_time() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let mut client = bed.half_open(address(1), &grant);
    let end = bed.endpoint.poll_timeout().unwrap();
    assert_eq!(end, bed.now.mono + Duration::from_secs(8));
    bed.advance(Duration::from_secs(8));
    assert_eq!(bed.endpoint.half_open_count(), 0);
    assert_eq!(bed.endpoint.poll_timeout(), None);
    let packet = packet_of(&mut client, bed.now);
    bed.input(address(1), &packet);
    assert_eq!(bed.endpoint.counters().dropped(DropReason::UnknownConnection), 1);
}

#[test]
fn packets_of_nobody_and_of_other_workers_are_told_apart() {
    let mut bed = Bed::new();
    let sealed = |id: u32| [&[0x80][..], &id.to_be_bytes(), &[0; 30]].concat();
    assert!(bed.input(address(1), &sealed(0x0200_0001)).is_none());
    assert_eq!(bed.endpoint.counters().dropped(DropReason::UnknownConnection), 1);
    let foreign = sealed(0x0500_0001);
    match bed.input(address(1), &foreign) {
        Some(ForOwner::Foreign(worker, packet)) => {
            assert_eq!((worker, &packet[..]), (WorkerId(5), &foreign[..]))
        }
        other => panic!("{other:?}"),
    }
    assert!(bed.input(address(1), &[0x80, 0, 0]).is_none());
    assert_eq!(bed.endpoint.counters().dropped(DropReason::SealedMalformed), 1);
}

#[test]
fn a_closed_connection_is_told_once_and_forgotten() {
    let mut bed = Bed::new();
    let (id, _client) = confirmed(&mut bed, "anna", address(1));
    bed.endpoint.connection(id).unwrap().close(bed.now.mono, crate::wire::CloseCode::ShuttingDown, "bye");
    match &bed.drain_events()[..] {
        [EndpointEvent::Closed { connection, .. }] => assert_eq!(*connection, id),
        other => panic!("{other:?}"),
    }
    for _ in 0..100 {
        assert_eq!(bed.answer(address(1)), None);
        bed.advance(Duration::from_millis(300));
    }
    assert_eq!(bed.endpoint.connection_count(), 0);
    assert_eq!(bed.endpoint.poll_timeout(), None);
    assert!(bed.drain_events().is_empty());
}

#[test]
fn a_silent_client_is_told_to_the_owner() {
    let mut bed = Bed::new();
    let (id, _client) = confirmed(&mut bed, "anna", address(1));
    assert_eq!(bed.answer(address(1)), None);
    bed.advance(Duration::from_secs(10));
    match &bed.drain_events()[..] {
        [EndpointEvent::Closed { connection, why: Closed::TimedOut, .. }] => assert_eq!(*connection, id),
        other => panic!("{other:?}"),
    }
    assert_eq!(bed.answer(address(1)), None);
    assert_eq!(bed.endpoint.connection_count(), 0);
}
