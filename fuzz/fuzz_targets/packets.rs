//! Datagrams, unchanged and with a corrected checksum. Everything that is accepted is canonical.
// spec-test: WIR-3, WIR-4
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rallypoint::base::Writer;
use rallypoint::wire::packet::{ClearPacket, Direction, SealedHeader, is_clear};

const GAME: u64 = 0x5261_6c6c_7970_6f69;

fuzz_target!(|data: &[u8]| {
    check_clear(data);
    if let Some((head, body)) = data.split_at_checked(8) {
        let [_, _, version, kind, ..] = head else { return };
        let mut crc = crc32fast::Hasher::new();
        crc.update(&GAME.to_be_bytes());
        crc.update(&[b'R', b'P', *version, *kind]);
        crc.update(body);
        let crc = crc.finalize().to_be_bytes();
        check_clear(&[&[b'R', b'P', *version, *kind][..], &crc, body].concat());
    }
    for direction in [Direction::ToClient, Direction::ToServer] {
        if let Ok((header, length)) = SealedHeader::read(data, direction) {
            assert!(!is_clear(data));
            let mut writer = Writer::new();
            header.write(&mut writer);
            assert_eq!(writer.as_slice(), &data[..length]);
            assert_eq!(header.encoded_len(), length);
        }
    }
});

fn check_clear(data: &[u8]) {
    if let Ok(packet) = ClearPacket::read(GAME, &Bytes::copy_from_slice(data)) {
        assert!(is_clear(data));
        assert_eq!(packet.to_bytes(GAME), data);
    }
}
