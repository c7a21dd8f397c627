//! [`Forger`]: a peer that holds the keys and seals arbitrary bytes.

use bytes::BytesMut;
use rallypoint::base::{ConnectionId, PacketNumber, Timestamp, Truncated, Writer};
use rallypoint::rudp::{Connection, ConnectionConfig, Role};
use rallypoint::secure::{HandshakeSecrets, SealKey};
use rallypoint::wire::packet::SealedHeader;
use rand::SeedableRng;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

pub const CONNECTION: ConnectionId = ConnectionId(0x0300_0001);

/// Returns the secrets that both ends share in every target.
pub fn secrets() -> HandshakeSecrets {
    HandshakeSecrets::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]))
}

pub struct Forger {
    seal: SealKey,
    /// The connection id that packets to a server carry.
    connection: Option<ConnectionId>,
    next: u64,
}

impl Forger {
    /// The peer's address, unless it moves.
    pub const ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 1], 4_000);

    /// Returns a connection, and the forger that acts as its peer.
    pub fn with_victim(is_server: bool, config: ConnectionConfig) -> (Self, Connection) {
        let (role, keys, seal) = if is_server {
            (Role::Server, secrets().server_keys(), secrets().client_keys().seal)
        } else {
            (Role::Client { id: CONNECTION }, secrets().client_keys(), secrets().server_keys().seal)
        };
        let rng = StdRng::seed_from_u64(7);
        let parameters = ConnectionConfig::default().parameters();
        let victim =
            Connection::new(Timestamp::ZERO, role, Self::ADDRESS.into(), keys, parameters, config, rng);
        (Self { seal, connection: is_server.then_some(CONNECTION), next: 0 }, victim)
    }

    /// Skips `numbers` packet numbers.
    pub fn skip(&mut self, numbers: u64) {
        self.next += numbers;
    }

    /// Returns the next packet, with these encoded frames.
    pub fn seal(&mut self, frames: &[u8]) -> BytesMut {
        let number = self.next;
        self.next += 1;
        let header =
            SealedHeader { key_phase: false, connection: self.connection, number: Truncated::bits32(number) };
        let mut writer = Writer::new();
        header.write(&mut writer);
        let mut sealed = BytesMut::from(frames);
        let tag = self.seal.seal(PacketNumber(number), writer.as_slice(), &mut sealed);
        writer.slice(&sealed);
        writer.slice(&tag);
        writer.into_inner()
    }
}
