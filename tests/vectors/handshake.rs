//! Complete handshakes with fixed keys: HELLO, HELLO_ACK, and the first sealed packet of each end.

use bytes::Bytes;
use rallypoint::base::{ConnectionId, PacketNumber, Truncated, Wire, Writer};
use rallypoint::secure::token::open;
use rallypoint::secure::{Binding, HandshakeSecrets, Initiator, OpenKey, Psk, Responder, SealKey, TokenKey};
use rallypoint::wire::TransportParameters;
use rallypoint::wire::frame::{Frame, write_frames};
use rallypoint::wire::packet::{ClearPacket, Cookie, Hello, HelloAck, SealedHeader};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde_json::{Value, json};

use super::tokens::tokens_json;
use super::{Vectors, hex, unhex, written};

const GAME: u64 = 0x5261_6c6c_7970_6f69;
const SERVER: &str = "127.0.0.1:7777";
const CONNECTION: ConnectionId = ConnectionId(0x0301_0203);

/// One handshake with all its inputs fixed.
struct Case {
    name: &'static str,
    seed: u64,
    cookie: Option<Cookie>,
    client: TransportParameters,
    server: TransportParameters,
}

// spec-test: HSK-2, HSK-3, HSK-9, KEY-1, KEY-2, PKT-6
#[test]
fn handshakes() {
    let mut vectors = Vectors::new("handshake");
    for case in cases() {
        vectors.push(run(&case));
    }
    for (name, damage, why) in DAMAGES {
        let case = Case { name, ..cases().swap_remove(0) };
        let mut vector = run(&case);
        damage(&mut vector);
        assert!(!server_accepts(&vector), "{name}");
        let object = vector.as_object_mut().unwrap();
        for after in ["hello_ack", "server_ephemeral", "client_packet", "server_packet", "value"] {
            object.remove(after);
        }
        object.insert("refused".into(), (*why).into());
        vectors.push(vector);
    }
    vectors.settle();
}

fn cases() -> Vec<Case> {
    let client = TransportParameters {
        idle_timeout_ms: 10_000,
        max_ack_delay_ms: 10,
        max_datagram_bytes: 1_472,
        max_message_bytes: 1 << 20,
        receive_buffer_bytes: 4 << 20,
    };
    let server = TransportParameters { idle_timeout_ms: 600_000, receive_buffer_bytes: 1 << 20, ..client };
    let cookie = Some(Cookie([0xc0; 24]));
    vec![
        Case { name: "in one round trip", seed: 1, cookie: None, client, server },
        Case { name: "in two, with a cookie", seed: 2, cookie, client: server, server: client },
    ]
}

/// The token that all cases use, the first of its family.
fn token() -> (TokenKey, String) {
    let vector = tokens_json().swap_remove(0);
    let key = TokenKey::from_bytes(&unhex(vector["key"].as_str().unwrap()).try_into().unwrap());
    (key, vector["token"].as_str().unwrap().to_owned())
}

fn binding<'a>(server: &'a str, token: &'a str) -> Binding<'a> {
    Binding { protocol_id: GAME, server, token: token.as_bytes() }
}

fn run(case: &Case) -> Value {
    let (key, token) = token();
    let claims = open(&[key], token.as_bytes()).unwrap();
    let mut client_rng = StdRng::seed_from_u64(case.seed);
    let mut server_rng = StdRng::seed_from_u64(case.seed + 1_000);
    let ephemerals = (ephemeral_of(&client_rng), ephemeral_of(&server_rng));

    let (mut initiator, message) =
        Initiator::start(binding(SERVER, &token), &claims.psk, &case.client, &mut client_rng);
    let (responder, parameters) =
        Responder::read(binding(SERVER, &token), &claims.psk, &message, &mut server_rng).unwrap();
    assert_eq!(parameters, case.client);
    let (answer, server_secrets) = responder.answer(CONNECTION, &case.server).unwrap();
    let agreed = initiator.finish(&answer).unwrap();
    assert_eq!((agreed.connection, agreed.parameters), (CONNECTION, case.server));

    let hello = Hello { token: token.clone().into(), cookie: case.cookie, noise: message };
    let ack = HelloAck { echo: hello.echo(), noise: answer };
    let (from_client, from_server) = first_packets(&agreed.secrets, &server_secrets);
    assert_eq!(agreed.secrets.parts(), server_secrets.parts());
    let [hash, k1, k2] = agreed.secrets.parts().map(|part| hex(part));
    json!({
        "name": case.name, "protocol_id": GAME.to_string(), "server": SERVER,
        "token_key": tokens_json().swap_remove(0)["key"],
        "client_ephemeral": hex(&ephemerals.0), "server_ephemeral": hex(&ephemerals.1),
        "hello": hex(&ClearPacket::Hello(hello).to_bytes(GAME)),
        "hello_ack": hex(&ClearPacket::HelloAck(ack).to_bytes(GAME)),
        "client_packet": hex(&from_client), "server_packet": hex(&from_server),
        "value": {
            "connection": CONNECTION.0,
            "cookie": case.cookie.map(|cookie| hex(&cookie.0)),
            "client_parameters": hex(&case.client.to_bytes()),
            "server_parameters": hex(&case.server.to_bytes()),
            "handshake_hash": hash, "k1": k1, "k2": k2,
        },
    })
}

/// Returns the private key that a handshake will draw from `rng`.
fn ephemeral_of(rng: &StdRng) -> [u8; 32] {
    let mut private = [0; 32];
    rng.clone().fill_bytes(&mut private);
    private
}

/// Returns a PING with number 0 from each end, after the other end has opened it.
fn first_packets(client: &HandshakeSecrets, server: &HandshakeSecrets) -> (Vec<u8>, Vec<u8>) {
    let (client, server) = (client.client_keys(), server.server_keys());
    let from_client = ping(client.seal, server.open, Some(CONNECTION));
    let from_server = ping(server.seal, client.open, None);
    (from_client, from_server)
}

fn ping(mut from: SealKey, mut to: OpenKey, connection: Option<ConnectionId>) -> Vec<u8> {
    let header = SealedHeader { key_phase: false, connection, number: Truncated::bits16(0) };
    let header = written(|writer: &mut Writer| header.write(writer));
    let mut frames = written(|writer| write_frames(&[Frame::Ping], writer)).to_vec();
    let tag = from.seal(PacketNumber(0), &header, &mut frames);
    let mut sealed = [&frames[..], &tag].concat();
    let packet = [&header[..], &sealed].concat();
    assert_eq!(to.open(PacketNumber(0), &header, &mut sealed).unwrap(), [0x01]);
    packet
}

type Damage = fn(&mut Value);

const DAMAGES: &[(&str, Damage, &str)] = &[
    ("another game", |vector| rewrite(vector, GAME + 1, |_| {}), "the prologue differs"),
    ("another server", |vector| vector["server"] = "127.0.0.1:7778".into(), "the prologue differs"),
    (
        "ephemeral changed",
        |vector| rewrite(vector, GAME, |hello| flip(&mut hello.noise, 3)),
        "the seal does not open",
    ),
    (
        "payload changed",
        |vector| rewrite(vector, GAME, |hello| flip(&mut hello.noise, 40)),
        "the seal does not open",
    ),
    (
        "another token of the same key",
        |vector| {
            let other = tokens_json().swap_remove(1)["token"].as_str().unwrap().to_owned();
            rewrite(vector, GAME, |hello| hello.token = other.into());
        },
        "the prologue differs",
    ),
];

/// Changes the vector's HELLO and recomputes its checksum.
fn rewrite(vector: &mut Value, game: u64, change: impl FnOnce(&mut Hello)) {
    let bytes = Bytes::from(unhex(vector["hello"].as_str().unwrap()));
    let Ok(ClearPacket::Hello(mut hello)) = ClearPacket::read(GAME, &bytes) else { panic!("a HELLO") };
    change(&mut hello);
    vector["protocol_id"] = game.to_string().into();
    vector["hello"] = hex(&ClearPacket::Hello(hello).to_bytes(game)).into();
}

fn flip(bytes: &mut Bytes, at: usize) {
    let mut changed = bytes.to_vec();
    changed[at] ^= 1;
    *bytes = changed.into();
}

/// Returns whether a server accepts the vector's HELLO.
fn server_accepts(vector: &Value) -> bool {
    let game: u64 = vector["protocol_id"].as_str().unwrap().parse().unwrap();
    let bytes = Bytes::from(unhex(vector["hello"].as_str().unwrap()));
    let Ok(ClearPacket::Hello(hello)) = ClearPacket::read(game, &bytes) else { return false };
    let claims = open(&[token().0], &hello.token).unwrap();
    let server = vector["server"].as_str().unwrap();
    let binding = Binding { protocol_id: game, server, token: &hello.token };
    let psk: &Psk = &claims.psk;
    Responder::read(binding, psk, &hello.noise, &mut StdRng::seed_from_u64(9)).is_ok()
}
