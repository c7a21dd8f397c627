//! The checksum of clear packets (PKT-4).

/// The protocol id of all targets.
pub const GAME: u64 = 0x5261_6c6c_7970_6f69;

/// Gives a clear packet, magic included, the checksum of what it holds; leaves alone what is too short for one.
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
