//! Each step that a HELLO passes, and what the earlier steps hide.

use super::*;
use crate::secure::{TokenId, token};
use crate::wire::packet::{Cookie, forge};
use proptest::prelude::*;

fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes.into()
}

// spec-test: HSK-1, PKT-1, PKT-4
#[test]
fn noise_and_other_games_are_dropped_silently() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    let silent = |reason| (vec![reason], None);
    assert_eq!(bed.fate(address(1), b""), silent(DropReason::BadLength));
    assert_eq!(bed.fate(address(1), &hello[..1_199]), silent(DropReason::BadLength));
    assert_eq!(bed.fate(address(1), &[0; 1_200]), silent(DropReason::BadChecksum));
    for at in 0..1_200 {
        let (dropped, code) = bed.fate(address(1), &flip(&hello, at));
        assert_eq!((dropped, code), silent(DropReason::BadChecksum), "byte {at}");
    }
    let other_game = ClearPacket::read(GAME, &hello).unwrap().to_bytes(GAME + 1);
    assert_eq!(bed.fate(address(1), &other_game), silent(DropReason::BadChecksum));
    assert_eq!(bed.fate(address(1), &forge(GAME, 1, 1, &[1; 1_192])), silent(DropReason::Malformed));
    assert_eq!(bed.fate(address(1), &forge(GAME, 1, 2, &hello[8..])), silent(DropReason::Malformed));
    assert_eq!(bed.endpoint.counters().unproven_bytes_sent, 0);
}

/// In the sizes of these packets, and in that of a HELLO.
// spec-test: PKT-3
#[test]
fn what_only_a_server_sends_is_nothing_to_one() {
    let mut bed = Bed::new();
    for kind in 2..=4 {
        for bytes in [10, 32, 73, 1_192] {
            let (dropped, code) = bed.fate(address(1), &forge(GAME, 1, kind, &vec![1; bytes]));
            assert_eq!((dropped.len(), code), (1, None), "kind {kind}, {bytes} bytes");
        }
    }
    assert_eq!(bed.endpoint.counters().unproven_bytes_sent, 0);
}

// spec-test: PKT-2, HSK-4
#[test]
fn another_version_is_told_ours() {
    let mut bed = Bed::new();
    let packet = forge(GAME, 9, 1, &[5; 1_192]);
    let Some(ClearPacket::Reject(reject)) = bed.send(address(1), &packet) else { panic!("no REJECT") };
    assert_eq!((reject.code, reject.version), (RejectCode::Version, 1));
    assert_eq!(reject.echo.0, packet[..8]);
    assert_eq!(bed.endpoint.counters().dropped(DropReason::BadVersion), 1);
    assert!(bed.send(address(1), &forge(GAME, 9, 77, &[5; 1_192])).is_none(), "no HELLO in any version");
}

// spec-test: TOK-4
#[test]
fn a_token_is_void_from_the_millisecond_of_its_end() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    bed.now.wall = WALL + Duration::from_millis(60_000);
    let expired = (vec![DropReason::TokenExpired], Some(RejectCode::TokenExpired));
    assert_eq!(bed.fate(address(1), &hello), expired);

    let mut bed = Bed::new();
    bed.now.wall = WALL + Duration::from_millis(59_999);
    assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))));
}

// spec-test: TOK-4
#[test]
fn wall_time_never_runs_backwards() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    bed.now.wall = WALL + Duration::from_secs(60);
    assert_eq!(bed.fate(address(1), &hello).1, Some(RejectCode::TokenExpired));
    bed.now.wall = WALL;
    assert_eq!(bed.fate(address(1), &hello).1, Some(RejectCode::TokenExpired));
}

// spec-test: TOK-4
#[test]
fn a_token_may_be_a_minute_ahead_and_no_more() {
    let mut bed = Bed::new();
    for (ahead, dropped) in [(60_001, true), (60_000, false)] {
        bed.now.wall = WALL + Duration::from_millis(ahead);
        let grant = bed.grant("anna");
        bed.now.wall = WALL;
        let hello = bed.hello(&grant);
        if dropped {
            assert_eq!(bed.fate(address(1), &hello), (vec![DropReason::TokenEarly], None));
        } else {
            assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))));
        }
    }
}

// spec-test: HSK-8, TOK-1, TOK-7
#[test]
fn foreign_and_tampered_tokens_are_dropped_silently() {
    let mut bed = Bed::new();
    let forged = (vec![DropReason::TokenForged], None);
    let foreign = bed.grant_of(&key(3), "anna", SERVER);
    let hello = bed.hello(&foreign);
    assert_eq!(bed.fate(address(1), &hello), forged);
    bed.endpoint.set_draining(true);
    assert_eq!(bed.fate(address(1), &hello), forged, "without a token nobody is told of a limit");
    bed.endpoint.set_draining(false);
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    for at in [9, 50, 200, grant.token.len() - 70, grant.token.len() - 1] {
        let tampered = changed(&hello, |hello| hello.token = flip(&hello.token, at));
        assert_eq!(bed.fate(address(1), &tampered), forged, "byte {at}");
    }
    let other = bed.grant_of(&key(2), "anna", SERVER);
    let hello = bed.hello(&other);
    assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))), "the second live key");
}

// spec-test: TOK-5
#[test]
fn a_token_for_another_server_is_refused() {
    let mut bed = Bed::new();
    let grant = bed.grant_of(&key(1), "anna", "127.0.0.1:7778");
    let hello = bed.hello(&grant);
    let refused = (vec![DropReason::WrongServer], Some(RejectCode::WrongServer));
    assert_eq!(bed.fate(address(1), &hello), refused);
    let mut bed = Bed::with(|config| config.audiences.clear());
    assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))), "a server without names");
    let mut bed = Bed::with(|config| config.audiences.push("127.0.0.1:7778".to_owned()));
    assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))), "its second name");
}

// spec-test: HSK-2, HSK-9
#[test]
fn a_noise_message_without_the_secret_is_dropped_silently() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    let forged = (vec![DropReason::HandshakeForged], None);
    for at in [0, 31, 32, 50] {
        let tampered = changed(&hello, |hello| hello.noise = flip(&hello.noise, at));
        assert_eq!(bed.fate(address(1), &tampered), forged, "byte {at}");
    }
    let stolen = ConnectGrant { psk: bed.grant("anna").psk, ..grant.clone() };
    let hello_of_thief = bed.hello(&stolen);
    assert_eq!(bed.fate(address(1), &hello_of_thief), forged);
    assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))), "the token is fresh");
}

// spec-test: HSK-6, HSK-10
#[test]
fn a_repeated_hello_gets_the_same_answer_at_the_same_ip() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    let first = bed.send(address(1), &hello);
    assert!(matches!(first, Some(ClearPacket::HelloAck(_))));
    assert_eq!(bed.send(address(1), &hello), first);
    let other_port = (address(1).ip(), 4_321).into();
    assert_eq!(bed.send(other_port, &hello), first);
    assert_eq!(bed.endpoint.half_open_count(), 1);
    bed.advance(Duration::from_secs(4));
    assert_eq!(bed.answer(address(1)), None, "never on a timer");
}

/// A client that sends a HELLO in another's name must not receive what the server answers there: its packets
/// would make the server send to that address.
// spec-test: HSK-10, HSK-11, HSK-13
#[test]
fn what_was_answered_at_one_ip_is_told_to_no_other() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    let to_victim = bed.send(address(1), &hello);
    let of_sender = bed.proven(address(9), &hello);
    let to_sender = bed.send(address(9), &of_sender).unwrap();
    assert_ne!(to_victim.as_ref(), Some(&to_sender), "a handshake of its own");
    assert_eq!(bed.endpoint.half_open_count(), 2);
    assert_eq!(bed.send(address(9), &hello), Some(to_sender), "which is repeated as well");
    assert_eq!(bed.send(address(1), &hello), to_victim);
    let of_third = bed.proven(address(5), &hello);
    let too_many = (vec![DropReason::UserLimit], Some(RejectCode::UserLimit));
    assert_eq!(bed.fate(address(5), &of_third), too_many, "two for a token, whoever asks");
}

/// An attacker that has copied a HELLO and is faster than its client takes one of the token's handshakes. It
/// takes another one only at an address where it receives the answer.
// spec-test: HSK-11
#[test]
fn copies_from_addresses_that_are_nobodys_leave_the_client_its_place() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let mut connecting = bed.connecting(&grant);
    let mut hello = BytesMut::new();
    assert!(connecting.poll_transmit(bed.now.mono, &mut hello));
    let copy = hello.split();
    assert!(matches!(bed.send(address(66), &copy), Some(ClearPacket::HelloAck(_))));
    for nobody in 67..99 {
        assert!(matches!(bed.send(address(nobody), &copy), Some(ClearPacket::Retry(_))));
    }
    let retry = bed.send(address(1), &copy).unwrap().to_bytes(GAME);
    connecting.handle_datagram(bed.now.mono, BytesMut::from(&retry[..]));
    assert!(connecting.poll_transmit(bed.now.mono, &mut hello));
    let ack = bed.send(address(1), &hello).unwrap().to_bytes(GAME);
    connecting.handle_datagram(bed.now.mono, BytesMut::from(&ack[..]));
    let mut client = connecting.poll_outcome().unwrap().unwrap();
    let packet = packet_of(&mut client, bed.now);
    bed.input(address(1), &packet);
    assert_eq!(bed.endpoint.connection_count(), 1);
}

/// Another worker has made the connection, so what is left of the token here is not answered any more.
// spec-test: TOK-6, HSK-13
#[test]
fn a_hello_of_a_token_that_is_spent_elsewhere_is_not_answered_again() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))));
    assert!(bed.ledger.spend(&token::open(&[key(1)], grant.token.as_bytes()).unwrap().id));
    assert_eq!(bed.fate(address(1), &hello), (vec![DropReason::TokenUsed], Some(RejectCode::TokenUsed)));
}

// spec-test: HSK-11, TOK-6
#[test]
fn a_token_has_two_half_opens_and_no_third() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))));
    let second = bed.hello(&grant);
    let second = bed.proven(address(2), &second);
    assert!(matches!(bed.send(address(2), &second), Some(ClearPacket::HelloAck(_))));
    let third = bed.hello(&grant);
    let proven = bed.proven(address(3), &third);
    assert_eq!(
        bed.fate(address(3), &proven),
        (vec![DropReason::UserLimit], Some(RejectCode::UserLimit)),
        "the token was not used, and may be later"
    );
    bed.advance(Duration::from_secs(8));
    assert_eq!(bed.endpoint.half_open_count(), 0, "their time is over");
    assert!(matches!(bed.send(address(3), &third), Some(ClearPacket::HelloAck(_))));
}

/// Two workers receive copies of one HELLO at the same moment.
// spec-test: HSK-11
#[test]
fn of_two_workers_that_hear_a_hello_at_once_one_asks_for_a_cookie() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    let mut other = endpoint(WorkerId(3), bed.ledger.clone(), StdRng::seed_from_u64(99), |_| {});
    let Some(ForOwner::Incoming(elsewhere)) =
        other.handle_datagram(bed.now, address(2).into(), BytesMut::from(&hello[..]))
    else {
        panic!("the token is fresh")
    };
    assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))));
    other.accept(bed.now, elsewhere);
    let mut answer = BytesMut::new();
    assert!(other.poll_transmit(bed.now.mono, &mut answer).is_some());
    assert!(matches!(ClearPacket::read(GAME, &answer.freeze()), Ok(ClearPacket::Retry(_))));
    assert_eq!(other.half_open_count(), 0);
}

// spec-test: HSK-5
#[test]
fn under_load_only_a_cookie_of_the_own_address_helps() {
    let mut bed = Bed::with(|config| config.cookie_from_hellos_per_second = 0);
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    let Some(ClearPacket::Retry(retry)) = bed.send(address(1), &hello) else { panic!("no RETRY") };
    let with = |cookie| changed(&hello, |hello| hello.cookie = Some(cookie));
    let mut forged = retry.cookie.0;
    forged[23] ^= 1;
    for (from, cookie) in [(1, Cookie(forged)), (2, retry.cookie)] {
        let answer = bed.send(address(from), &with(cookie));
        assert!(matches!(answer, Some(ClearPacket::Retry(_))), "{from}");
    }
    assert_eq!(bed.endpoint.counters().dropped(DropReason::NoCookie), 3);
    assert!(matches!(bed.send(address(1), &with(retry.cookie)), Some(ClearPacket::HelloAck(_))));
}

/// HELLOs with forged addresses cannot take the places of clients that receive at their addresses.
#[test]
fn a_prefix_with_many_half_opens_must_prove_its_addresses() {
    let mut bed = Bed::with(|config| config.cookie_from_half_open_per_prefix = 2);
    let grants = ["anna", "bob", "cat"].map(|user| bed.grant(user));
    let [anna, bob, cat] = grants.each_ref().map(|grant| bed.hello(grant));
    let is_accepted = |answer| matches!(answer, Some(ClearPacket::HelloAck(_)));
    assert!(is_accepted(bed.send(address(1), &anna)) && is_accepted(bed.send(address(2), &bob)));
    let Some(ClearPacket::Retry(retry)) = bed.send(address(3), &cat) else { panic!("no RETRY") };
    let proven = changed(&cat, |hello| hello.cookie = Some(retry.cookie));
    assert!(is_accepted(bed.send(address(3), &proven)));
    let elsewhere = bed.grant("dan");
    let elsewhere = bed.hello(&elsewhere);
    assert!(is_accepted(bed.send(SocketAddr::from(([198, 51, 100, 1], 1)), &elsewhere)));
}

// spec-test: HSK-5
#[test]
fn load_is_hellos_in_a_second() {
    let mut bed = Bed::with(|config| config.cookie_from_hellos_per_second = 3);
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    let bad = changed(&hello, |hello| hello.noise = flip(&hello.noise, 0));
    assert_eq!(bed.send(address(1), &bad), None);
    assert_eq!(bed.send(address(1), &bad), None);
    assert!(matches!(bed.send(address(1), &bad), Some(ClearPacket::Retry(_))));
    bed.advance(Duration::from_secs(3));
    assert_eq!(bed.send(address(1), &bad), None, "the load is over");
}

#[test]
fn a_full_endpoint_refuses() {
    let full = (vec![DropReason::Full], Some(RejectCode::Full));
    let mut bed = Bed::with(|config| config.max_connections = 1);
    let (first, second) = (bed.grant("anna"), bed.grant("bob"));
    let mut client = bed.half_open(address(1), &first);
    let hello = bed.hello(&second);
    assert_eq!(bed.fate(address(2), &hello), full, "half-open ones count");
    let packet = packet_of(&mut client, bed.now);
    bed.input(address(1), &packet);
    assert_eq!(bed.endpoint.connection_count(), 1);
    assert_eq!(bed.fate(address(2), &hello), full);
}

/// Both requests find a place free, and the first to be accepted takes it.
// spec-test: TOK-6
#[test]
fn a_token_that_is_refused_after_its_admission_is_not_used_up() {
    let mut bed = Bed::with(|config| config.max_connections = 1);
    let (first, second) = (bed.grant("anna"), bed.grant("bob"));
    let hellos = [bed.hello(&first), bed.hello(&second)];
    let admitted = [1, 2].map(|at| match bed.input(address(at), &hellos[usize::from(at) - 1]) {
        Some(ForOwner::Incoming(incoming)) => (address(at), incoming),
        _ => panic!("{at} is not admitted"),
    });
    let answers = admitted.map(|(from, incoming)| {
        bed.endpoint.accept(bed.now, incoming);
        bed.answer(from)
    });
    assert!(matches!(&answers[0], Some(ClearPacket::HelloAck(_))));
    assert!(matches!(&answers[1], Some(ClearPacket::Reject(reject)) if reject.code == RejectCode::Full));
    bed.advance(Duration::from_secs(8));
    let later = bed.send(address(2), &hellos[1]);
    assert!(matches!(later, Some(ClearPacket::HelloAck(_))), "no handshake of the token is open");
}

#[test]
fn half_opens_are_bounded_and_half_of_them_are_load() {
    let mut bed = Bed::with(|config| config.max_half_open = 1);
    let (first, second) = (bed.grant("anna"), bed.grant("bob"));
    bed.half_open(address(1), &first);
    let hello = bed.hello(&second);
    let Some(ClearPacket::Retry(retry)) = bed.send(address(2), &hello) else { panic!("no RETRY") };
    let proved = changed(&hello, |hello| hello.cookie = Some(retry.cookie));
    let full = (vec![DropReason::HandshakesFull], Some(RejectCode::Full));
    assert_eq!(bed.fate(address(2), &proved), full, "nobody has more than others");
    bed.advance(Duration::from_secs(2));
    assert_eq!(bed.fate(address(2), &proved), full, "however old it is");
}

const fn elsewhere(third: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, third, 1)), 1)
}

/// Begins a connection of `user` and returns why it is refused, if it is.
fn begin(bed: &mut Bed, from: SocketAddr, user: &str) -> Option<DropReason> {
    let grant = bed.grant(user);
    let hello = bed.hello(&grant);
    let before = bed.endpoint.counters().clone();
    if let Some(ClearPacket::Retry(retry)) = bed.send(from, &hello) {
        bed.send(from, &changed(&hello, |hello| hello.cookie = Some(retry.cookie)));
    }
    let after = bed.endpoint.counters();
    let refused = |reason: &&DropReason| {
        **reason != DropReason::NoCookie && after.dropped(**reason) > before.dropped(**reason)
    };
    DropReason::ALL.iter().find(refused).copied()
}

// spec-test: HSK-11
#[test]
fn who_has_most_half_opens_gives_the_oldest_to_a_newcomer() {
    // By user, then by prefix: where each begins, and how many of the first three are left at the end.
    let by_user = [("anna", 1), ("anna", 2), ("anna", 3), ("bob", 4)];
    let by_prefix = [("anna", 1), ("bob", 1), ("cat", 1), ("dan", 4)];
    for crowd in [by_user, by_prefix] {
        let mut bed = Bed::with(|config| config.max_half_open = 4);
        for (user, third) in crowd {
            assert_eq!(begin(&mut bed, elsewhere(third), user), None);
            bed.advance(Duration::from_millis(10));
        }
        let oldest = bed.endpoint.half_opens.next_end();
        assert_eq!(begin(&mut bed, elsewhere(5), "eve"), Some(DropReason::HandshakesFull));
        bed.advance(Duration::from_millis(960));
        assert_eq!(begin(&mut bed, elsewhere(5), "eve"), None, "the oldest has had its second");
        assert_eq!(begin(&mut bed, elsewhere(6), "fay"), Some(DropReason::HandshakesFull), "others have not");
        bed.advance(Duration::from_secs(1));
        assert_eq!(begin(&mut bed, elsewhere(6), "fay"), None);
        assert_eq!(begin(&mut bed, elsewhere(7), "gus"), Some(DropReason::HandshakesFull), "each has one");
        assert_eq!(bed.endpoint.half_open_count(), 4);
        let first = bed.endpoint.half_opens.ending_at(oldest.unwrap());
        assert_eq!(first, None, "it was the oldest that went");
    }
}

#[test]
fn a_closing_connection_gives_its_place_to_a_newcomer() {
    let mut bed = Bed::with(|config| config.max_connections = 1);
    let grant = bed.grant("anna");
    let mut client = bed.half_open(address(1), &grant);
    let packet = packet_of(&mut client, bed.now);
    bed.input(address(1), &packet);
    let id = bed.drain_events()[0].connection();
    assert_eq!(begin(&mut bed, address(2), "bob"), Some(DropReason::Full));
    bed.endpoint.connection(id).unwrap().close(bed.now.mono, CloseCode::ShuttingDown, "");
    assert_eq!(bed.answer(address(1)), None);
    assert_eq!(bed.endpoint.connection_count(), 1, "it repeats its CLOSE");
    assert_eq!(begin(&mut bed, address(2), "bob"), None);
    assert_eq!((bed.endpoint.connection_count(), bed.endpoint.half_open_count()), (0, 1));
    assert_eq!(begin(&mut bed, address(3), "cat"), Some(DropReason::Full));
}

#[test]
fn a_full_ledger_refuses_and_the_spent_stay_spent() {
    let mut bed = Bed::new();
    bed.ledger = Arc::new(TokenLedger::new(1));
    let rng = StdRng::seed_from_u64(7);
    bed.endpoint = endpoint(WorkerId(2), bed.ledger.clone(), rng, |config| {
        config.max_half_open_per_prefix = 1_000;
    });
    let mut fates = Vec::new();
    for _ in 0..64 {
        let grant = bed.grant("anna");
        let mut connecting = bed.connecting(&grant);
        let mut hello = BytesMut::new();
        connecting.poll_transmit(bed.now.mono, &mut hello);
        match bed.send(address(1), &hello) {
            Some(ClearPacket::HelloAck(_)) => fates.push(None),
            Some(ClearPacket::Reject(reject)) => fates.push(Some(reject.code)),
            other => panic!("{other:?}"),
        }
        bed.advance(Duration::from_millis(1));
        let ended: Vec<_> =
            std::iter::from_fn(|| bed.endpoint.half_opens.pop_ended(Timestamp::MAX)).collect();
        ended.into_iter().for_each(|id| bed.endpoint.end_half_open(bed.now.mono, id));
    }
    assert!(fates.contains(&None) && fates.contains(&Some(RejectCode::Full)));
    assert_eq!(fates.last(), Some(&Some(RejectCode::Full)), "nothing was evicted");
    assert!(bed.ledger.len() <= 16);
}

#[test]
fn a_newcomer_that_is_refused_for_its_token_takes_nobodys_place() {
    let mut bed = Bed::with(|config| config.max_half_open = 2);
    for port in [1, 2] {
        assert_eq!(begin(&mut bed, address(port), "anna"), None);
    }
    bed.advance(Duration::from_secs(2));
    let wall = bed.now.wall;
    for number in 0..20_000 {
        let id = TokenId::new(&number.to_string()).unwrap();
        _ = bed.ledger.reserve(&id, wall + Duration::from_secs(60), wall, true);
    }
    assert_eq!(begin(&mut bed, elsewhere(3), "bob"), Some(DropReason::LedgerFull));
    assert_eq!(bed.endpoint.half_open_count(), 2);
}

#[test]
fn a_draining_endpoint_refuses_and_so_may_its_owner() {
    let mut bed = Bed::new();
    let grant = bed.grant("anna");
    let hello = bed.hello(&grant);
    bed.endpoint.set_draining(true);
    let draining = (vec![DropReason::Draining], Some(RejectCode::Draining));
    assert_eq!(bed.fate(address(1), &hello), draining);
    bed.endpoint.set_draining(false);
    let Some(ForOwner::Incoming(incoming)) = bed.input(address(1), &hello) else { panic!("not incoming") };
    assert_eq!(incoming.claims().user.as_str(), "anna");
    bed.endpoint.refuse(bed.now, &incoming, RejectCode::Draining);
    assert!(
        matches!(bed.answer(address(1)), Some(ClearPacket::Reject(reject)) if reject.code == RejectCode::Draining)
    );
    assert!(matches!(bed.send(address(1), &hello), Some(ClearPacket::HelloAck(_))), "the token is fresh");
}

#[test]
fn half_opens_of_a_user_and_of_a_prefix_are_limited() {
    let mut bed = Bed::with(|config| {
        config.max_half_open_per_user = 2;
        config.max_half_open_per_prefix = 3;
    });
    let far = SocketAddr::from(([198, 51, 100, 1], 1));
    for user in ["anna", "anna", "bob"] {
        let grant = bed.grant(user);
        bed.half_open(address(1), &grant);
    }
    let (anna, bob) = (bed.grant("anna"), bed.grant("bob"));
    let (anna, bob) = (bed.hello(&anna), bed.hello(&bob));
    assert_eq!(bed.fate(far, &anna), (vec![DropReason::UserLimit], Some(RejectCode::UserLimit)));
    assert_eq!(
        bed.fate(address(200), &bob),
        (vec![DropReason::AddressLimit], Some(RejectCode::AddressLimit))
    );
    assert!(matches!(bed.send(far, &bob), Some(ClearPacket::HelloAck(_))));
    bed.advance(Duration::from_secs(8));
    assert!(matches!(bed.send(address(1), &anna), Some(ClearPacket::HelloAck(_))), "all are free again");
}

// spec-test: HSK-8
#[test]
fn rejects_are_rate_limited() {
    let mut bed = Bed::with(|config| config.max_rejects_per_second = 2);
    let packet = forge(GAME, 9, 1, &[5; 1_192]);
    let answers = (0..5).filter(|_| bed.send(address(1), &packet).is_some()).count();
    assert_eq!(answers, 2);
    assert_eq!(bed.endpoint.counters().dropped(DropReason::BadVersion), 5);
    bed.advance(Duration::from_secs(1));
    assert!(bed.send(address(1), &packet).is_some());
}

/// An early fault hides a later one: the answer shows the step that failed.
// spec-test: HSK-10
#[test]
fn the_first_failing_step_decides() {
    let mut bed = Bed::with(|config| config.max_half_open_per_user = 0);
    bed.endpoint.set_draining(true);
    let wrong_server = bed.grant_of(&key(1), "anna", "elsewhere");
    let grant = bed.grant("anna");
    let (hello, wrong_server) = (bed.hello(&grant), bed.hello(&wrong_server));
    let tampered = |hello: &Bytes| changed(hello, |hello| hello.noise = flip(&hello.noise, 40));
    assert_eq!(bed.fate(address(1), &hello).1, Some(RejectCode::Draining), "draining before user limit");
    assert_eq!(
        bed.fate(address(1), &tampered(&hello)).0,
        [DropReason::HandshakeForged],
        "noise before limits"
    );
    bed.ledger.reserve(&token_id(&grant), grant.expires, WALL, false).unwrap();
    assert!(bed.ledger.spend(&token_id(&grant)));
    assert_eq!(bed.fate(address(1), &tampered(&hello)).0, [DropReason::TokenUsed], "spent before noise");
    assert_eq!(bed.fate(address(1), &wrong_server).0, [DropReason::WrongServer]);
    bed.now.wall = WALL + Duration::from_secs(60);
    assert_eq!(bed.fate(address(1), &wrong_server).0, [DropReason::TokenExpired], "times before audience");
    assert_eq!(bed.fate(address(1), &tampered(&hello)).0, [DropReason::TokenExpired], "times before spent");
}

/// Under load, a HELLO that was answered is answered again, and for all others no token is opened without a
/// cookie.
// spec-test: HSK-10
#[test]
fn a_cookie_is_asked_for_after_known_hellos_and_before_the_token() {
    let mut bed = Bed::with(|config| config.cookie_from_hellos_per_second = 2);
    let (good, forged) = (bed.grant("anna"), bed.grant_of(&key(7), "eve", SERVER));
    let (good, forged) = (bed.hello(&good), bed.hello(&forged));
    let first = bed.send(address(1), &good);
    assert!(matches!(first, Some(ClearPacket::HelloAck(_))));
    assert!(matches!(bed.send(address(2), &forged), Some(ClearPacket::Retry(_))));
    assert_eq!(bed.send(address(1), &good), first);
}

fn token_id(grant: &ConnectGrant) -> crate::secure::TokenId {
    token::open(&[key(1)], grant.token.as_bytes()).unwrap().id
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever arrives: no panic, and at most a tenth of the bytes is sent back.
    // spec-test: HSK-8
    #[test]
    fn a_flood_is_answered_with_a_tenth_at_most(
        packets in prop::collection::vec((0u8..9, 0usize..1_200, any::<[u8; 24]>()), 1..150), loaded: bool
    ) {
        let mut bed = Bed::with(|config| {
            config.cookie_from_hellos_per_second = if loaded { 0 } else { u32::MAX };
        });
        let grants = [bed.grant("anna"), bed.grant("bob")];
        let foreign = bed.grant_of(&key(7), "eve", SERVER);
        let hellos = [bed.hello(&grants[0]), bed.hello(&grants[1]), bed.hello(&foreign)];
        let mut sent = 0;
        for (kind, at, bytes) in packets {
            let datagram = match kind {
                0..3 => hellos[usize::from(kind)].clone(),
                3 => changed(&hellos[0], |hello| hello.cookie = Some(Cookie(bytes))),
                4 => flip(&hellos[1], at),
                5 => forge(GAME, bytes[0], bytes[1], &bytes).freeze(),
                6 => forge(GAME, bytes[0], 1, &[bytes[1]; 1_192]).freeze(),
                7 => Bytes::copy_from_slice(&[&[0x80], &bytes[..at % 24]].concat()),
                // Addressed to this worker, so that the id is looked up.
                _ => Bytes::copy_from_slice(&[&[0x80, 2], &bytes[..at % 24]].concat()),
            };
            sent += datagram.len() as u64;
            bed.send(address(bytes[2]), &datagram);
            bed.advance(Duration::from_millis(u64::from(bytes[3])));
        }
        let counters = bed.endpoint.counters();
        prop_assert!(counters.unproven_bytes_received <= sent);
        prop_assert_eq!(counters.unproven_bytes_sent, bed.sent_bytes);
        prop_assert!(bed.sent_bytes * 10 <= sent);
    }
}

/// What a server has that is not told otherwise. The limits of `serve` are in a table of their own.
// spec-test: HSK-8, HSK-10
#[test]
fn the_usual_limits_are_those_of_the_specification() {
    let config = EndpointConfig::new(GAME, vec![], Arc::new(KeyRing::new(vec![key(1)]).unwrap()));
    assert_eq!(config.cookie_from_hellos_per_second, 2_000);
    assert_eq!(config.cookie_from_half_open_per_prefix, 64);
    assert_eq!((config.max_half_open_per_user, config.max_half_open_per_prefix), (8, 512));
    assert_eq!((config.max_half_open, config.max_rejects_per_second), (1_024, 1_000));
    assert_eq!(config.half_open_timeout, Duration::from_secs(8));
}
