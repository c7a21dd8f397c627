//! Clear packets, and packets sealed with known keys.

use bytes::{BufMut, Bytes, BytesMut};
use rallypoint::base::{ConnectionId, PacketNumber, Truncated, Writer};
use rallypoint::secure::{HandshakeSecrets, OpenKey, SealKey};
use rallypoint::wire::frame::{Frame, Message, MessageHead, Place, write_frames};
use rallypoint::wire::packet::{
    ClearPacket, Cookie, Direction, Echo, Hello, HelloAck, Reject, Retry, SealedHeader,
};
use rallypoint::wire::{Delivery, RejectCode};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::frames::frame_json;
use super::{Vectors, hex, truncated_json, written};

const GAME: u64 = 0x5261_6c6c_7970_6f69;

// spec-test: PKT-1, PKT-2, PKT-3, PKT-4, HSK-1, HSK-5, HSK-6, ERR-1, WIR-3
#[test]
fn clear_packets() {
    let mut vectors = Vectors::new("clear");
    let mut push = |name: &str, game: u64, bytes: &[u8], outcome: (&str, Value)| {
        vectors.push(
            json!({ "name": name, "protocol_id": game.to_string(), "bytes": hex(bytes), outcome.0: outcome.1 }),
        );
    };
    for (name, packet) in good() {
        let bytes = packet.to_bytes(GAME);
        assert_eq!(ClearPacket::read(GAME, &bytes).as_ref(), Ok(&packet), "{name}");
        push(name, GAME, &bytes, ("value", clear_json(&packet)));
    }
    for (name, game, bytes) in bad() {
        let error = ClearPacket::read(game, &bytes).expect_err(name);
        push(name, game, &bytes, ("refused", error.to_string().into()));
    }
    vectors.settle();
}

fn good() -> Vec<(&'static str, ClearPacket)> {
    let codes = RejectCode::ALL.iter().map(|&code| {
        let name: &'static str = format!("reject {}", code as u8).leak();
        (name, ClearPacket::Reject(Reject { echo: echo(), code, version: 1 }))
    });
    let packets = [
        ("hello", hello(b"v4.local.token", None, 61)),
        ("hello with a cookie", hello(b"v4.local.token", Some(Cookie([0xc0; 24])), 61)),
        ("hello with the shortest parts", hello(b"t", None, 48)),
        ("hello with the longest parts", hello(&[b't'; 900], Some(Cookie([0xc0; 24])), 160)),
        ("hello_ack", ClearPacket::HelloAck(HelloAck { echo: echo(), noise: noise(65) })),
        ("shortest hello_ack", ClearPacket::HelloAck(HelloAck { echo: echo(), noise: noise(48) })),
        ("longest hello_ack", ClearPacket::HelloAck(HelloAck { echo: echo(), noise: noise(104) })),
        ("retry", ClearPacket::Retry(Retry { echo: echo(), cookie: Cookie([0xc0; 24]) })),
    ];
    packets.into_iter().chain(codes).collect()
}

fn bad() -> Vec<(&'static str, u64, Bytes)> {
    let reject = good().pop().unwrap().1.to_bytes(GAME);
    let flipped = |at: usize| {
        let mut bytes = reject.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let hello = hello(b"v4.local.token", None, 61).to_bytes(GAME).slice(8..);
    let hello_with = |at: usize, byte: u8| {
        let mut body = hello.to_vec();
        body[at] = byte;
        forged(1, 1, &body)
    };
    let body = |length: usize| vec![7; length];
    vec![
        ("empty", GAME, Bytes::new()),
        ("half a header", GAME, Bytes::from_static(b"RP\x01\x04")),
        ("another game", GAME + 1, reject.clone()),
        ("magic changed", GAME, flipped(0)),
        ("version changed on the way", GAME, flipped(2)),
        ("kind changed on the way", GAME, flipped(3)),
        ("crc changed", GAME, flipped(7)),
        ("body changed", GAME, flipped(9)),
        ("another version", GAME, forged(2, 1, &hello)),
        ("kind 0", GAME, forged(1, 0, &body(10))),
        ("kind 5", GAME, forged(1, 5, &body(10))),
        ("hello of 1,199 bytes", GAME, forged(1, 1, &hello[..1_191])),
        ("hello of 1,201 bytes", GAME, forged(1, 1, &[&hello[..], &[0]].concat())),
        ("hello with padding that is not zero", GAME, hello_with(1_191, 1)),
        ("hello without a token", GAME, hello_with(1, 0)),
        (
            "hello with a token of 901 bytes",
            GAME,
            forged(1, 1, &{
                let mut body = vec![0x03, 0x85];
                body.resize(1_192, 0);
                body
            }),
        ),
        ("hello with a cookie of 23 bytes", GAME, hello_with(16, 23)),
        ("hello with a Noise message of 47 bytes", GAME, hello_with(18, 47)),
        ("hello with a Noise message of 161 bytes", GAME, hello_with(18, 161)),
        ("hello_ack with a Noise message of 47 bytes", GAME, forged(1, 2, &body(8 + 47))),
        ("hello_ack with a Noise message of 105 bytes", GAME, forged(1, 2, &body(8 + 105))),
        ("retry cut", GAME, forged(1, 3, &body(31))),
        ("retry with a byte too many", GAME, forged(1, 3, &body(33))),
        ("reject with code 0", GAME, forged(1, 4, b"echoecho\x00\x01")),
        ("reject with code 200", GAME, forged(1, 4, b"echoecho\xc8\x01")),
        ("reject with a byte too many", GAME, forged(1, 4, b"echoecho\x05\x01\x00")),
    ]
}

fn hello(token: &[u8], cookie: Option<Cookie>, noise_bytes: u8) -> ClearPacket {
    ClearPacket::Hello(Hello { token: Bytes::copy_from_slice(token), cookie, noise: noise(noise_bytes) })
}

fn echo() -> Echo {
    Echo([0, 1, 2, 3, 4, 5, 6, 7])
}

fn noise(length: u8) -> Bytes {
    (0..length).collect::<Vec<u8>>().into()
}

/// Returns a clear packet with any content and a correct checksum.
fn forged(version: u8, kind: u8, body: &[u8]) -> Bytes {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&GAME.to_be_bytes());
    crc.update(&[b'R', b'P', version, kind]);
    crc.update(body);
    let mut packet = BytesMut::new();
    packet.put_slice(&[b'R', b'P', version, kind]);
    packet.put_u32(crc.finalize());
    packet.put_slice(body);
    packet.freeze()
}

fn clear_json(packet: &ClearPacket) -> Value {
    match packet {
        ClearPacket::Hello(Hello { token, cookie, noise }) => json!({
            "packet": "hello", "token": hex(token), "cookie": cookie.map(|cookie| hex(&cookie.0)),
            "noise": hex(noise),
        }),
        ClearPacket::HelloAck(HelloAck { echo, noise }) => {
            json!({ "packet": "hello_ack", "echo": hex(&echo.0), "noise": hex(noise) })
        }
        ClearPacket::Retry(Retry { echo, cookie }) => {
            json!({ "packet": "retry", "echo": hex(&echo.0), "cookie": hex(&cookie.0) })
        }
        ClearPacket::Reject(Reject { echo, code, version }) => {
            json!({ "packet": "reject", "echo": hex(&echo.0), "code": code.name(), "version": version })
        }
    }
}

const HASH: [u8; 32] = [0x11; 32];
const CLIENT_TO_SERVER: [u8; 32] = [0x22; 32];
const SERVER_TO_CLIENT: [u8; 32] = [0x33; 32];

/// A sealed packet under construction.
struct Sealed {
    name: &'static str,
    from_client: bool,
    /// Key generation; 0 is the one of the handshake.
    generation: u32,
    number: u64,
    wide: bool,
    /// The number that the receiver expects: one above the largest that it has opened.
    expected: u64,
    frames: Vec<Frame>,
}

// spec-test: PKT-5, PKT-6, PKT-8, KEY-2, KEY-3, KEY-4
#[test]
fn sealed_packets() {
    let mut vectors = Vectors::new("sealed");
    let common = |sealed: &Sealed, bytes: &[u8]| {
        json!({
            "name": sealed.name, "bytes": hex(bytes), "handshake_hash": hex(&HASH),
            "k1": hex(&CLIENT_TO_SERVER), "k2": hex(&SERVER_TO_CLIENT),
            "from": if sealed.from_client { "client" } else { "server" },
            "generation": sealed.generation, "expected": sealed.expected.to_string(),
        })
    };
    for sealed in sealed_good() {
        let packet = seal(&sealed);
        let (header, number, frames) = open(&sealed, &packet).expect(sealed.name);
        assert_eq!((number, &frames), (sealed.number, &sealed.frames), "{}", sealed.name);
        let mut vector = common(&sealed, &packet);
        vector["value"] = json!({
            "key_phase": header.key_phase, "connection": header.connection.map(|id| id.0),
            "truncated": truncated_json(header.number), "number": number.to_string(),
            "frames": frames.iter().map(frame_json).collect::<Vec<_>>(),
        });
        vectors.push(vector);
    }
    for (sealed, damage, why) in sealed_bad() {
        let mut packet = seal(&sealed);
        damage(&mut packet);
        assert!(open(&sealed, &packet).is_none(), "{}", sealed.name);
        let mut vector = common(&sealed, &packet);
        vector["refused"] = why.into();
        vectors.push(vector);
    }
    vectors.settle();
}

fn sealed_good() -> Vec<Sealed> {
    let plain = |name, from_client, number, expected, wide| Sealed {
        name,
        from_client,
        generation: 0,
        number,
        wide,
        expected,
        frames: vec![message()],
    };
    vec![
        Sealed { frames: vec![Frame::Ping], ..plain("the client's first packet", true, 0, 0, false) },
        plain("the server's first packet", false, 0, 0, false),
        plain("a later packet of the client", true, 70_000, 69_990, false),
        plain("a later packet of the server", false, 70_000, 70_003, false),
        plain("a number of 4 bytes", false, 0x1_2345_6789, 0x1_2300_0000, true),
        plain("the largest number", true, (1 << 62) - 1, (1 << 62) - 1, true),
        Sealed { generation: 1, ..plain("the next generation of keys", true, 5, 5, false) },
        Sealed { generation: 2, ..plain("the generation after that", false, 6, 6, false) },
    ]
}

type Damage = fn(&mut Vec<u8>);

fn sealed_bad() -> Vec<(Sealed, Damage, &'static str)> {
    vec![
        (sealed("number changed"), |packet| packet[6] ^= 1, "the header is authenticated"),
        (sealed("connection id changed"), |packet| packet[4] ^= 1, "the header is authenticated"),
        (sealed("frames changed"), |packet| packet[7] ^= 1, "the seal does not open"),
        (sealed("tag changed"), |packet| *packet.last_mut().unwrap() ^= 1, "the seal does not open"),
        (sealed("cut"), |packet| packet.truncate(packet.len() - 1), "the seal does not open"),
        (sealed("shorter than a tag"), |packet| packet.truncate(20), "no room for a tag"),
        (sealed("header alone"), |packet| packet.truncate(5), "the number is cut"),
        (sealed("a reserved bit"), |packet| packet[0] |= 0x01, "a reserved bit is set"),
        (sealed("top bit clear"), |packet| packet[0] &= 0x7f, "not a sealed packet"),
        (
            sealed("of another generation"),
            |packet| *packet = seal(&Sealed { generation: 1, ..sealed("") }),
            "the seal does not open",
        ),
        (
            Sealed { expected: 0x1_0007, ..sealed("far from what is expected") },
            |_| {},
            "another number, so another nonce",
        ),
    ]
}

fn sealed(name: &'static str) -> Sealed {
    let frames = vec![message()];
    Sealed { name, from_client: true, generation: 0, number: 7, wide: false, expected: 7, frames }
}

fn message() -> Frame {
    let place = Place { stream: rallypoint::base::StreamId(1), number: Truncated::Bits8(3) };
    let head = MessageHead::Numbered { place, delivery: Delivery::ReliableOrdered };
    Frame::Message(Message { head, payload: Bytes::from_static(b"hello") })
}

fn secrets() -> HandshakeSecrets {
    HandshakeSecrets::new(
        Zeroizing::new(HASH),
        Zeroizing::new(CLIENT_TO_SERVER),
        Zeroizing::new(SERVER_TO_CLIENT),
    )
}

fn seal(sealed: &Sealed) -> Vec<u8> {
    let keys = if sealed.from_client { secrets().client_keys() } else { secrets().server_keys() };
    let mut key: SealKey = (0..sealed.generation).fold(keys.seal, |key, _| key.next());
    let number =
        if sealed.wide { Truncated::bits32(sealed.number) } else { Truncated::bits16(sealed.number) };
    let connection = sealed.from_client.then_some(ConnectionId(0x0301_0203));
    let header =
        written(|writer: &mut Writer| SealedHeader { key_phase: false, connection, number }.write(writer));
    let mut payload = written(|writer| write_frames(&sealed.frames, writer)).to_vec();
    let tag = key.seal(PacketNumber(sealed.number), &header, &mut payload);
    [&header[..], &payload, &tag].concat()
}

fn open(sealed: &Sealed, packet: &[u8]) -> Option<(SealedHeader, u64, Vec<Frame>)> {
    let keys = if sealed.from_client { secrets().server_keys() } else { secrets().client_keys() };
    let mut key: OpenKey = (0..sealed.generation).fold(keys.open, |key, _| key.next());
    let direction = if sealed.from_client { Direction::ToServer } else { Direction::ToClient };
    let (header, length) = SealedHeader::read(packet, direction).ok()?;
    let number = header.number.expand(sealed.expected);
    let mut body = packet[length..].to_vec();
    let opened = key.open(PacketNumber(number), &packet[..length], &mut body).ok()?;
    let frames = rallypoint::wire::frame::read_frames(Bytes::copy_from_slice(opened)).ok()?;
    Some((header, number, frames.into_vec()))
}
