//! Datagrams that no honest client sends.

use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use rallypoint::base::{UnixTime, UserId};
use rallypoint::cli::PROTOCOL_ID;
use rallypoint::secure::token::{MintRequest, mint};
use rallypoint::secure::{Binding, Initiator, TokenKey};
use rallypoint::wire::TransportParameters;
use rallypoint::wire::packet::{ClearPacket, Hello};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// Prepared datagrams, and a seeded generator that chooses among them.
pub struct Arsenal {
    rng: StdRng,
    hellos: Vec<Bytes>,
    captured: Vec<Bytes>,
}

const HELLOS_A_KIND: usize = 50;

impl Arsenal {
    /// `captured` holds an honest client's datagrams: its HELLO and sealed packets.
    pub fn new(key: &str, server: SocketAddr, captured: Vec<Bytes>) -> Self {
        assert!(captured.iter().any(|datagram| datagram[0] & 0x80 != 0), "no sealed packet was captured");
        assert!(captured.iter().any(|datagram| datagram[0] & 0x80 == 0), "no HELLO was captured");
        let mut rng = StdRng::seed_from_u64(1);
        let key = TokenKey::from_paserk(key.trim()).unwrap();
        let foreign = TokenKey::generate(&mut rng);
        let now = UnixTime::from(SystemTime::now());
        let long_ago = UnixTime::from_millis(now.as_millis() - 600_000);
        let mut hellos = Vec::new();
        for _ in 0..HELLOS_A_KIND {
            hellos.push(hello(&key, server, long_ago, Tamper::Nothing, &mut rng));
            hellos.push(hello(&foreign, server, now, Tamper::Nothing, &mut rng));
            hellos.push(hello(&key, server, now, Tamper::Token, &mut rng));
            hellos.push(hello(&key, server, now, Tamper::Noise, &mut rng));
            hellos.push(hello(&key, server, now, Tamper::Checksum, &mut rng));
            hellos.push(hello(&key, server, now, Tamper::Version, &mut rng));
        }
        Self { rng, hellos, captured }
    }

    /// Returns the next datagram to send.
    pub fn next(&mut self) -> Bytes {
        match self.rng.random_range(0..5) {
            0 => self.noise(),
            1 => self.hellos[self.rng.random_range(0..self.hellos.len())].clone(),
            2 => self.captured[self.rng.random_range(0..self.captured.len())].clone(),
            3 => self.bent(),
            _ => self.sealed_noise(),
        }
    }

    fn noise(&mut self) -> Bytes {
        let mut bytes = BytesMut::zeroed(self.rng.random_range(1..1_400));
        self.rng.fill_bytes(&mut bytes);
        bytes.freeze()
    }

    /// Returns noise that looks like a sealed packet of some connection.
    fn sealed_noise(&mut self) -> Bytes {
        let mut bytes = BytesMut::from(&self.noise()[..]);
        bytes[0] = 0x80 | (bytes[0] & 0x60);
        bytes.freeze()
    }

    /// Returns a captured datagram with one bit flipped, or truncated.
    fn bent(&mut self) -> Bytes {
        let datagram = &self.captured[self.rng.random_range(0..self.captured.len())];
        let mut bytes = BytesMut::from(&datagram[..]);
        let at = self.rng.random_range(0..bytes.len());
        if self.rng.random_bool(0.5) {
            bytes[at] ^= 1 << self.rng.random_range(0..8);
        } else {
            bytes.truncate(at + 1);
        }
        bytes.freeze()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Tamper {
    Nothing,
    Token,
    Noise,
    Checksum,
    Version,
}

fn hello(key: &TokenKey, server: SocketAddr, issued: UnixTime, tamper: Tamper, rng: &mut StdRng) -> Bytes {
    let request = MintRequest::new(UserId::new("mallory").unwrap(), server.to_string());
    let mut grant = mint(key, request, issued, rng).unwrap();
    if tamper == Tamper::Token {
        let end = grant.token.rfind('.').unwrap() - 4;
        let bent = if grant.token.as_bytes()[end] == b'A' { "B" } else { "A" };
        grant.token.replace_range(end..=end, bent);
    }
    let binding =
        Binding { protocol_id: PROTOCOL_ID, server: &grant.servers[0], token: grant.token.as_bytes() };
    let (_, noise) = Initiator::start(binding, &grant.psk, &TransportParameters::default(), rng);
    let mut noise = noise.to_vec();
    if tamper == Tamper::Noise {
        noise[40] ^= 1;
    }
    let hello = Hello { token: grant.token.into_bytes().into(), cookie: None, noise: noise.into() };
    let mut packet = ClearPacket::Hello(hello).to_bytes(PROTOCOL_ID).to_vec();
    match tamper {
        Tamper::Checksum => packet[600] ^= 1,
        Tamper::Version => {
            packet[2] = 200;
            let mut checksum = crc32fast::Hasher::new();
            checksum.update(&PROTOCOL_ID.to_be_bytes());
            checksum.update(&packet[..4]);
            checksum.update(&packet[8..]);
            packet[4..8].copy_from_slice(&checksum.finalize().to_be_bytes());
        }
        _ => {}
    }
    packet.into()
}
