//! The checksum of clear packets (PKT-4).

/// The protocol id of all targets.
pub const GAME: u64 = 0x5261_6c6c_7970_6f69;

/// The place of the checksum in a packet.
pub const CHECKSUM: std::ops::Range<usize> = 4..8;

/// Makes a packet a clear one, by its magic, with the checksum of what it holds. Does nothing to one that is
/// too short.
pub fn set_checksum(packet: &mut [u8]) {
    if let Some((head, body)) = packet.split_at_mut_checked(8) {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&GAME.to_be_bytes());
        head[..2].copy_from_slice(b"RP");
        crc.update(&head[..4]);
        crc.update(body);
        head[4..].copy_from_slice(&crc.finalize().to_be_bytes());
    }
}
