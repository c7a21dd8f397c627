//! Connections that another worker's endpoint takes over.

use super::confirmation::confirmed;
use super::ids::REST;
use super::ids::tests::Stuck;
use super::*;

/// Returns a second worker's endpoint beside the bed's.
fn other(bed: &Bed) -> Endpoint {
    endpoint(WorkerId(3), bed.ledger.clone(), StdRng::seed_from_u64(7), |_| {})
}

/// Moves a connection and returns its alias.
fn moved(bed: &mut Bed, id: ConnectionId, to: &mut Endpoint) -> ConnectionId {
    let moving = bed.endpoint.release(id, WorkerId(3)).expect("it is here");
    to.adopt(bed.now.mono, moving).expect("ids are left")
}

/// Returns the client's next packet, with a message of one byte on the control stream.
fn packet(bed: &Bed, client: &mut Connection, byte: u8) -> BytesMut {
    let payload = Bytes::from(vec![byte]).into();
    client.send(bed.now.mono, StreamId::CONTROL, Delivery::ReliableOrdered, payload).unwrap();
    packet_of(client, bed.now)
}

fn take(bed: &Bed, endpoint: &mut Endpoint, packet: BytesMut) {
    assert!(endpoint.handle_datagram(bed.now, address(1).into(), packet).is_none());
}

/// Returns the one message that a packet brought, and its connection.
fn message(endpoint: &mut Endpoint) -> (ConnectionId, Bytes) {
    match endpoint.poll_event() {
        Some(EndpointEvent::Message { connection, payload, .. }) => (connection, payload),
        other => panic!("{other:?}"),
    }
}

// spec-test: EVT-14
#[test]
fn packets_to_both_ids_reach_a_connection_that_moved() {
    let mut bed = Bed::new();
    let (id, mut client) = confirmed(&mut bed, "anna", address(1));
    let mut there = other(&bed);
    let alias = moved(&mut bed, id, &mut there);
    assert_eq!((id.worker(), alias.worker()), (WorkerId(2), WorkerId(3)));
    assert_eq!((bed.endpoint.connection_count(), bed.endpoint.moved_count()), (0, 1));

    let first = packet(&bed, &mut client, 1);
    let Some(ForOwner::Moved(WorkerId(3), passed_on)) = bed.input(address(1), &first) else {
        panic!("home does not say where it is")
    };
    assert_eq!(passed_on, first);
    take(&bed, &mut there, passed_on);
    assert_eq!(message(&mut there), (id, Bytes::from_static(&[1])));

    client.rename(alias);
    let second = packet(&bed, &mut client, 2);
    take(&bed, &mut there, second);
    assert_eq!(message(&mut there), (id, Bytes::from_static(&[2])), "it keeps its name");
    assert!(there.poll_transmit(bed.now.mono, &mut BytesMut::new()).is_some(), "its acks leave from there");
    assert!(bed.endpoint.poll_transmit(bed.now.mono, &mut BytesMut::new()).is_none());
}

#[test]
fn a_connection_that_moved_is_prefetched_by_both_ids() {
    let mut bed = Bed::new();
    let (id, mut client) = confirmed(&mut bed, "anna", address(1));
    let mut there = other(&bed);
    let alias = moved(&mut bed, id, &mut there);
    for written in [id, alias] {
        client.rename(written);
        let packet = packet(&bed, &mut client, 1);
        assert!(there.receiver_of(&packet).is_some() && bed.endpoint.receiver_of(&packet).is_none());
    }
}

#[test]
fn what_a_connection_has_told_goes_with_it() {
    let mut bed = Bed::new();
    let (id, mut client) = confirmed(&mut bed, "anna", address(1));
    let (stays, mut bert) = confirmed(&mut bed, "bert", address(2));
    for (from, client, byte) in [(1, &mut client, 1), (2, &mut bert, 2)] {
        let packet = packet(&bed, client, byte);
        assert!(bed.input(address(from), &packet).is_none());
    }
    let mut there = other(&bed);
    moved(&mut bed, id, &mut there);
    assert_eq!(message(&mut there), (id, Bytes::from_static(&[1])));
    assert_eq!(message(&mut bed.endpoint), (stays, Bytes::from_static(&[2])));
    assert!(there.poll_event().is_none() && bed.endpoint.poll_event().is_none());
}

// spec-test: PKT-6
#[test]
fn both_ids_of_a_connection_that_moved_rest_after_its_end() {
    let mut bed = Bed::new();
    let (id, mut client) = confirmed(&mut bed, "anna", address(1));
    let mut there = other(&bed);
    let alias = moved(&mut bed, id, &mut there);
    client.close(bed.now.mono, crate::wire::CloseCode::None, "");
    take(&bed, &mut there, packet_of(&mut client, bed.now));
    while there.poll_transmit(bed.now.mono, &mut BytesMut::new()).is_some() {}
    assert!(matches!(there.poll_event(), Some(EndpointEvent::Closed { connection, .. }) if connection == id));
    assert_eq!((there.poll_ended(), there.has_ended()), (Some(id), false));
    assert_eq!(bed.endpoint.moved_to(id), Some(WorkerId(3)), "until home hears of it");
    bed.endpoint.forget(bed.now.mono, id);
    assert_eq!(bed.endpoint.moved_to(id), None);

    for (endpoint, id) in [(&mut bed.endpoint, id), (&mut there, alias)] {
        let mut draws = Stuck(id.0);
        assert_eq!(endpoint.ids.take(bed.now.mono, &mut draws), None);
        assert_eq!(endpoint.ids.take(bed.now.mono + REST, &mut draws), Some(id));
    }
}

#[test]
fn only_home_releases_a_connection() {
    let mut bed = Bed::new();
    let (id, _client) = confirmed(&mut bed, "anna", address(1));
    let mut there = other(&bed);
    moved(&mut bed, id, &mut there);
    assert!(there.release(id, WorkerId(4)).is_none(), "it moved once");
    assert_eq!(there.connection_count(), 1);
    assert!(bed.endpoint.release(id, WorkerId(4)).is_none(), "it is not here");
}
