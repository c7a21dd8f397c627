//! The core over a connection whose other end the test simulates.

use std::collections::VecDeque;

use rand::SeedableRng;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use super::*;
use crate::base::{ConnectionId, Ecn, InviteId, Truncated, UnixTime, Wire, Writer};
use crate::rudp::{ConnectingConfig, ConnectionConfig, Payload, Role};
use crate::secure::{ConnectGrant, HandshakeSecrets, Psk};
use crate::wire::command::{Join, To};
use crate::wire::packet::{ClearPacket, Cookie, Echo, PROTOCOL_VERSION, Reject, Retry, SealedHeader};
use crate::wire::{Command, RejectCode, Request, StreamKind, UserEvent};

/// A core and the server's end of its connection, linked without delay or loss.
struct Served {
    now: Timestamp,
    core: Core,
    server: Connection,
    heard: VecDeque<(Option<StreamId>, Delivery, Bytes)>,
    server_closed: Option<Closed>,
}

fn address() -> SocketAddr {
    ([127, 0, 0, 1], 7_777).into()
}

impl Served {
    fn new() -> Self {
        let now = Timestamp::from_millis(1);
        let secrets =
            HandshakeSecrets::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]));
        let end = |role, keys| {
            let config = ConnectionConfig::default();
            Connection::new(
                now,
                role,
                address().into(),
                keys,
                config.parameters(),
                config,
                StdRng::seed_from_u64(1),
            )
        };
        let client = end(Role::Client { id: ConnectionId(7) }, secrets.client_keys());
        let core = Core {
            server: address(),
            link: Link::Open(Box::new(client)),
            dialogue: Dialogue::default(),
            violation: None,
            last_stats: None,
            scratch: Writer::new(),
        };
        let server = end(Role::Server, secrets.server_keys());
        Self { now, core, server, heard: VecDeque::new(), server_closed: None }
    }

    /// A core that is a member of the session.
    fn member() -> Self {
        let mut served = Self::new();
        let join = Request::Join(Join::Session(SESSION));
        let join = served.core.request(served.now, &join).unwrap();
        served.carry();
        served.server.open_stream(SLOT.into());
        served.say(StreamId::CONTROL, ok(join, Value::Entered(entered())));
        served.say(SLOT.into(), SessionEvent::Snapshot(snapshot()).encode());
        served.carry();
        served.heard.clear();
        served.outputs();
        served
    }

    fn say(&mut self, stream: StreamId, message: Bytes) {
        self.server.send(self.now, stream, Delivery::ReliableOrdered, message.into()).unwrap();
    }

    /// Carries packets until both ends are silent.
    fn carry(&mut self) {
        loop {
            let mut datagram = BytesMut::new();
            if let Some(to) = self.core.poll_transmit(self.now, &mut datagram) {
                assert_eq!(to.route.remote, address());
                self.server.handle_packet(self.now, to, datagram).unwrap();
            } else if self.server.poll_transmit(self.now, &mut datagram).is_some() {
                self.core.handle_datagram(self.now, address().into(), datagram);
            } else {
                break;
            }
            while let Some(event) = self.server.poll_event() {
                match event {
                    rudp::Event::Established | rudp::Event::AddressChanged(_) => {}
                    rudp::Event::Message { stream, delivery, payload } => {
                        // spec: CMD-4
                        let is_request = stream.is_some() && payload.first().is_some_and(|kind| *kind < 0x20);
                        assert!(!is_request || delivery == Delivery::ReliableOrdered, "{delivery:?}");
                        self.heard.push_back((stream, delivery, payload));
                    }
                    rudp::Event::Closed(closed) => self.server_closed = Some(closed),
                }
            }
        }
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.core.poll_output()).collect()
    }
}

// spec-test: CMD-4, CMD-24, MSG-1
#[test]
fn commands_and_hot_path_arrive_as_they_were_meant() {
    let mut served = Served::member();
    let info = served.core.request(served.now, &Request::Info(SESSION)).unwrap();
    let leave = served.core.request_in(served.now, SLOT, &Request::Leave).unwrap();
    let ordered = Delivery::ReliableOrdered;
    let broadcast = |served: &mut Served, delivery| {
        served.core.broadcast(served.now, SLOT, To::Others, delivery, Bytes::from_static(b"hi")).unwrap()
    };
    assert_eq!(broadcast(&mut served, ordered), Sent { counter: 0, fate: SendFate::Queued });
    assert_eq!(broadcast(&mut served, Delivery::Unreliable), Sent { counter: 1, fate: SendFate::Queued });
    let recipients = [MemberId(2), MemberId(1)];
    served.core.message(served.now, SLOT, &recipients, ordered, Bytes::from_static(b"psst")).unwrap();
    served.carry();

    let heard = std::mem::take(&mut served.heard);
    let command = |bytes: &Bytes| Command::decode(StreamKind::Slot, bytes.clone()).unwrap();
    let on = |wanted: Option<StreamId>| -> Vec<Bytes> {
        heard.iter().filter(|(stream, ..)| *stream == wanted).map(|(.., bytes)| bytes.clone()).collect()
    };
    let control = on(Some(StreamId::CONTROL));
    assert_eq!(
        Command::decode(StreamKind::Control, control[0].clone()),
        Ok(Command::Request(info, Request::Info(SESSION)))
    );
    let slot = on(Some(SLOT.into()));
    assert_eq!(command(&slot[0]), Command::Request(leave, Request::Leave));
    let Command::Broadcast(first) = command(&slot[1]) else { panic!("{slot:?}") };
    assert_eq!((first.counter, first.to, first.delivery), (0, To::Others, ordered));
    let Command::Message(second) = command(&slot[2]) else { panic!("{slot:?}") };
    assert_eq!((second.counter, second.to.as_slice()), (2, &[MemberId(1), MemberId(2)][..]));
    let mut unreliable = crate::base::Reader::new(on(None)[0].clone());
    assert_eq!(Slot::read(&mut unreliable), Ok(SLOT));
    let Command::Broadcast(third) = command(&unreliable.rest()) else { panic!() };
    assert_eq!((third.counter, third.body.bytes().as_ref()), (1, &b"hi"[..]));
}

/// Regardless of how many bytes precede the payload.
// spec-test: CMD-21
#[test]
fn a_message_names_as_many_recipients_as_there_are() {
    for count in [1, 17, 18, 19, 40, 1_024] {
        let mut served = Served::member();
        let members: Vec<_> = (1..=count).map(MemberId).collect();
        let delivery = Delivery::ReliableLatest { key: 3 };
        served.core.message(served.now, SLOT, &members, delivery, Bytes::from_static(b"psst")).unwrap();
        served.carry();
        let (.., bytes) = served.heard.pop_front().unwrap();
        let Command::Message(message) = Command::decode(StreamKind::Slot, bytes).unwrap() else {
            panic!("{count}")
        };
        assert_eq!((message.delivery, message.to.as_slice()), (delivery, &members[..]));
        assert_eq!(message.body.bytes().as_ref(), b"psst");
    }
}

// spec-test: CMD-24
#[test]
fn what_members_send_travels_as_its_flags_say() {
    let mut served = Served::member();
    let all = [
        Delivery::Unreliable,
        Delivery::Sequenced { key: 300 },
        Delivery::ReliableUnordered,
        Delivery::ReliableOrdered,
        Delivery::ReliableLatest { key: 300 },
    ];
    for delivery in all {
        served.core.broadcast(served.now, SLOT, To::All, delivery, Bytes::new()).unwrap();
        served.carry();
        served.core.message(served.now, SLOT, &[OWNER], delivery, Bytes::new()).unwrap();
        served.carry();
        let heard: Vec<_> = served.heard.drain(..).map(|(_, delivery, _)| delivery).collect();
        assert_eq!(heard, [delivery; 2], "with the key, too");
    }
}

// spec-test: CMD-25
#[test]
fn a_refusal_names_the_one_of_the_last_hundreds_that_it_is_about() {
    let mut served = Served::member();
    for _ in 0..600 {
        let delivery = Delivery::ReliableUnordered;
        served.core.broadcast(served.now, SLOT, To::All, delivery, Bytes::new()).unwrap();
        served.carry();
    }
    served.say(SLOT.into(), SessionEvent::Refused { counter: 260, code: ErrorCode::RateLimited }.encode());
    served.carry();
    let refused = Event::Refused { slot: SLOT, counter: 260, code: ErrorCode::RateLimited };
    assert_eq!(served.outputs(), [Output::Event(refused)]);
}

#[test]
fn misuse_is_told_at_once_and_nothing_is_sent() {
    let mut served = Served::member();
    let (now, core) = (served.now, &mut served.core);
    let nowhere = Slot(9);
    let large = Bytes::from(vec![0; 1_025]);
    let unreliable = Delivery::Unreliable;
    assert_eq!(
        core.broadcast(now, SLOT, To::All, unreliable, large),
        Err(SendError::TooLarge { bytes: 1_025, max: 1_024 })
    );
    assert_eq!(
        core.broadcast(now, nowhere, To::All, unreliable, Bytes::new()),
        Err(SendError::NotAMember(nowhere))
    );
    for members in [&[][..], &[OWN, OWN]] {
        let sent = core.message(now, SLOT, members, unreliable, Bytes::new());
        assert!(matches!(sent, Err(SendError::Recipients(_))), "{sent:?}");
    }
    let not_a_member = Err(RequestError::Refused(ErrorCode::NotAMember));
    assert_eq!(core.request_in(now, nowhere, &Request::Leave), not_a_member);
    let unknown = Err(RequestError::Refused(ErrorCode::UnknownCommand));
    assert_eq!(core.request_in(now, SLOT, &Request::ListMine), unknown);
    assert_eq!(core.request(now, &Request::Leave), unknown);
    served.carry();
    assert_eq!(served.heard, []);
}

// spec-test: EVT-6, STR-9
#[test]
fn the_end_of_a_membership_finishes_the_stream() {
    let mut served = Served::member();
    served.say(SLOT.into(), left(0, OWN).encode());
    served.carry();
    let sent = served.core.broadcast(served.now, SLOT, To::All, Delivery::ReliableOrdered, Bytes::new());
    assert_eq!(sent, Err(SendError::NotAMember(SLOT)));
    served.say(SLOT.into(), message(1, "after the end").encode());
    served.carry();
    assert_eq!(served.outputs().len(), 1, "the leaving and nothing else");
    assert!(served.core.is_connected());
}

// spec-test: EVT-2
#[test]
fn a_server_that_breaks_the_protocol_is_left_with_a_word() {
    let mut served = Served::member();
    let open = served.core.request(served.now, &Request::ListMine).unwrap();
    served.say(SLOT.into(), message(1, "out of order").encode());
    served.say(SLOT.into(), message(0, "not believed any more").encode());
    served.carry();
    let gap = ServerViolation::EventGap { slot: SLOT, expected: number(0), got: number(1) };
    assert_eq!(
        served.outputs(),
        [
            Output::Result { request: open, outcome: Err(RequestError::OutcomeUnknown) },
            Output::Event(Event::Disconnected(Disconnected::ServerViolation(gap))),
        ]
    );
    assert!(matches!(
        &served.server_closed,
        Some(Closed::ByPeer { code: CloseCode::ProtocolViolation, reason }) if reason.contains("event 6 of slot 1")
    ));
}

// spec-test: EVT-14
#[test]
fn packets_carry_the_last_id_that_the_server_gave() {
    let mut served = Served::new();
    for connection in [ConnectionId(7), ConnectionId(8), ConnectionId(0x0200_0009)] {
        if connection != ConnectionId(7) {
            served.say(StreamId::CONTROL, UserEvent::Rehomed { connection }.encode());
            served.carry();
        }
        served.core.request(served.now, &Request::ListMine).unwrap();
        let mut datagram = BytesMut::new();
        let to = served.core.poll_transmit(served.now, &mut datagram).unwrap();
        assert_eq!(SealedHeader::connection_of(&datagram), Some(connection));
        served.server.handle_packet(served.now, to, datagram).unwrap();
    }
    assert_eq!(served.outputs(), [], "the app hears nothing of it");
}

// spec-test: CON-3
#[test]
fn a_server_that_falls_silent_is_given_up() {
    let mut served = Served::member();
    let open = served.core.request(served.now, &Request::ListMine).unwrap();
    let mut now = served.now;
    while let Some(due) = served.core.poll_timeout() {
        now = now.max(due);
        served.core.handle_timeout(now);
        while served.core.poll_transmit(now, &mut BytesMut::new()).is_some() {}
    }
    assert_eq!(
        served.outputs(),
        [
            Output::Result { request: open, outcome: Err(RequestError::OutcomeUnknown) },
            Output::Event(Event::Disconnected(Disconnected::TimedOut)),
        ]
    );
    assert_eq!(now.since(served.now), ConnectionConfig::default().idle_timeout);
    assert!(served.core.is_finished());
}

#[test]
fn a_server_that_breaks_the_transports_protocol_is_left() {
    let mut served = Served::member();
    let max = rudp::MAX_STREAMS;
    let beyond = StreamId(u32::try_from(max).unwrap());
    served.server.open_stream(beyond);
    served.say(beyond, message(0, "x").encode());
    served.carry();
    let violation = Disconnected::TransportViolation(rudp::ProtocolViolation::TooManyStreams { max });
    assert_eq!(served.outputs(), [Output::Event(Event::Disconnected(violation))]);
}

#[test]
fn no_more_commands_wait_for_results_than_a_client_keeps() {
    let mut served = Served::new();
    let ask = |served: &mut Served| served.core.request(served.now, &Request::ListMine);
    let asked: Vec<RequestId> = (0..MAX_PENDING).map(|_| ask(&mut served).unwrap()).collect();
    assert_eq!(ask(&mut served), Err(RequestError::WouldBlock));
    served.carry();
    assert_eq!(served.heard.len(), MAX_PENDING);
    served.say(StreamId::CONTROL, ok(asked[0], Value::Sessions(vec![])));
    served.carry();
    assert!(ask(&mut served).is_ok(), "a result makes room");
}

#[test]
fn closing_is_told_once_and_nothing_is_sent_after_it() {
    let mut served = Served::member();
    served.core.close(served.now, "good night");
    served.core.close(served.now, "again");
    assert_eq!(served.outputs(), [Output::Event(Event::Disconnected(Disconnected::ByClient))]);
    served.carry();
    assert!(matches!(&served.server_closed, Some(Closed::ByPeer { reason, .. }) if reason == "good night"));
    let now = served.now;
    assert_eq!(served.core.request(now, &Request::ListMine), Err(RequestError::NotConnected));
    let sent = served.core.broadcast(now, SLOT, To::All, Delivery::Unreliable, Bytes::new());
    assert_eq!(sent, Err(SendError::NotConnected));
    served.core.abandon(Disconnected::TimedOut);
    assert_eq!(served.outputs(), []);
    assert!(served.core.is_finished());
}

#[test]
fn a_full_send_buffer_is_told_and_takes_no_counter() {
    let mut served = Served::member();
    let payload = Bytes::from(vec![7; 60 << 10]);
    let mut counters = Vec::new();
    let refused = loop {
        let delivery = Delivery::ReliableUnordered;
        match served.core.broadcast(served.now, SLOT, To::All, delivery, payload.clone()) {
            Ok(sent) => counters.push(sent.counter),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, SendError::WouldBlock);
    assert!(counters.iter().copied().eq(0..counters.len() as u64));
    let mirror = served.core.dialogue.slots.get(SLOT).unwrap();
    assert_eq!(mirror.sent, counters.len() as u64);
}

// spec-test: PTH-9
#[test]
fn datagrams_of_strangers_are_nothing() {
    let mut served = Served::member();
    served
        .server
        .send(served.now, SLOT.into(), Delivery::ReliableOrdered, Payload::from(message(0, "x").encode()))
        .unwrap();
    let mut datagram = BytesMut::new();
    assert!(served.server.poll_transmit(served.now, &mut datagram).is_some());
    served.core.handle_datagram(served.now, ([127, 0, 0, 1], 9).into(), datagram.clone());
    assert_eq!(served.outputs(), []);
    served.core.handle_datagram(served.now, address().into(), datagram);
    assert_eq!(served.outputs().len(), 1);
}

/// A copy of the HELLO that was late is refused, since its token is spent.
// spec-test: HSK-12
#[test]
fn a_connected_client_drops_clear_packets() {
    let mut served = Served::member();
    let reject = Reject { echo: Echo([7; 8]), code: RejectCode::TokenUsed, version: PROTOCOL_VERSION };
    for late in [
        ClearPacket::Reject(reject),
        ClearPacket::Retry(Retry { echo: Echo([7; 8]), cookie: Cookie([7; 24]) }),
    ] {
        let packet = BytesMut::from(&late.to_bytes(7)[..]);
        served.core.handle_datagram(served.now, address().into(), packet);
    }
    assert_eq!(served.outputs(), []);
    served.core.request(served.now, &Request::Info(SESSION)).unwrap();
    served.carry();
    assert_eq!(served.heard.len(), 1);
}

// spec-test: ECN-1
#[test]
fn a_hello_is_not_marked() {
    let grant = ConnectGrant {
        token: "v4.local.token".into(),
        psk: Psk::new([5; 32]),
        servers: vec!["server".into()],
        audience: None,
        expires: UnixTime::from_secs(1),
    };
    let (now, config, rng) = (Timestamp::ZERO, ConnectingConfig::new(7), StdRng::seed_from_u64(1));
    let connecting = Connecting::new(now, "server", address(), &grant, config, rng);
    let hello = Core::new(address(), connecting).poll_transmit(now, &mut BytesMut::new());
    assert_eq!(hello.map(|to| to.ecn), Some(Ecn::NotEct));
}

/// Forged packets may have brought the keys there: a new connection has new ones.
// spec-test: KEY-6
#[test]
fn a_connection_at_the_limit_of_its_keys_ends_and_may_come_again() {
    let mut served = Served::new();
    let info = served.core.request(served.now, &Request::Info(SESSION)).unwrap();
    let Link::Open(connection) = &mut served.core.link else { panic!("not connected") };
    connection.fail_opens((1 << 36) - 1);
    let mut noise = Writer::new();
    SealedHeader { key_phase: false, connection: None, number: Truncated::bits16(9) }.write(&mut noise);
    noise.slice(&[0; 40]);
    served.core.handle_datagram(served.now, address().into(), noise.into_inner());
    let why = Disconnected::KeyLimit(rudp::KeyLimit::FailedOpens);
    assert!(why.may_reconnect());
    assert_eq!(
        served.outputs(),
        [
            Output::Result { request: info, outcome: Err(RequestError::OutcomeUnknown) },
            Output::Event(Event::Disconnected(why))
        ]
    );
    served.carry();
    let closed = served.server_closed.unwrap();
    assert!(matches!(closed, Closed::ByPeer { code: CloseCode::TooManyFailedOpens, .. }), "{closed:?}");
}

/// Each code is in one of the lists: a new one has to be put in one.
#[test]
fn a_client_comes_again_but_where_it_would_only_be_sent_away() {
    let by_server = |code| Disconnected::ByServer { code, reason: String::new() };
    let [final_ones, others] = [
        &[CloseCode::ProtocolViolation, CloseCode::Replaced, CloseCode::KickedByOperator][..],
        &[
            CloseCode::None,
            CloseCode::IdleTimeout,
            CloseCode::Lagging,
            CloseCode::ShuttingDown,
            CloseCode::Internal,
            CloseCode::TooManyFailedOpens,
            CloseCode::Full,
        ],
    ];
    assert!(final_ones.iter().all(|code| !by_server(*code).may_reconnect()));
    assert!(others.iter().all(|code| by_server(*code).may_reconnect()));
    assert_eq!(final_ones.len() + others.len(), CloseCode::ALL.len());

    let refused = |code| Disconnected::ConnectFailed(rudp::ConnectError::Refused(code));
    let [final_ones, others] = [
        &[RejectCode::Version, RejectCode::WrongServer, RejectCode::TokenInvalid, RejectCode::Denied][..],
        &[
            RejectCode::TokenExpired,
            RejectCode::TokenUsed,
            RejectCode::Full,
            RejectCode::Draining,
            RejectCode::UserLimit,
            RejectCode::AddressLimit,
        ],
    ];
    assert!(final_ones.iter().all(|code| !refused(*code).may_reconnect()));
    assert!(others.iter().all(|code| refused(*code).may_reconnect()));
    assert_eq!(final_ones.len() + others.len(), RejectCode::ALL.len());

    let violation = rudp::ProtocolViolation::BeyondWindow { number: 1 };
    for (why, comes_again) in [
        (Disconnected::ByClient, false),
        (Disconnected::TransportViolation(violation), false),
        (Disconnected::ServerViolation(ServerViolation::UnexpectedSlot { slot: SLOT }), false),
        (Disconnected::Panicked, false),
        (Disconnected::TimedOut, true),
        (Disconnected::EventsUnread, true),
        (Disconnected::KeyLimit(rudp::KeyLimit::UsedUp), true),
        (Disconnected::Socket(String::new()), true),
        (Disconnected::ConnectFailed(rudp::ConnectError::NoAnswer), true),
        (Disconnected::ConnectFailed(rudp::ConnectError::Token { bytes: 0 }), false),
    ] {
        assert_eq!(why.may_reconnect(), comes_again, "{why:?}");
    }
}

/// As a socket of both families shows it.
#[test]
fn a_server_is_known_by_either_form_of_its_address() {
    for (from, arrives) in [
        ("[::ffff:127.0.0.1]:7777", true),
        ("[::ffff:127.0.0.1]:7778", false),
        ("[::ffff:127.0.0.2]:7777", false),
        ("127.0.0.2:7777", false),
    ] {
        let mut served = Served::new();
        served.say(
            StreamId::CONTROL,
            UserEvent::InviteRevoked { invite: InviteId { session: SESSION, number: 1 } }.encode(),
        );
        let mut datagram = BytesMut::new();
        served.server.poll_transmit(served.now, &mut datagram).unwrap();
        let from: SocketAddr = from.parse().unwrap();
        served.core.handle_datagram(served.now, from.into(), datagram);
        assert_eq!(served.core.stats().unwrap().packets_received, u64::from(arrives), "{from}");
    }
}

/// Also when the socket is gone, and the runtime with it.
#[test]
fn what_a_connection_has_done_stays_known() {
    let mut served = Served::member();
    let before = served.core.stats();
    assert!(before.as_ref().is_some_and(|stats| stats.packets_received > 0));
    for _ in 0..2 {
        served.core.abandon(Disconnected::TimedOut);
        assert_eq!(served.core.stats(), before);
    }
}
