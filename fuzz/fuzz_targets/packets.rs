//! Datagrams, unchanged and with a corrected checksum. Everything that is accepted is canonical.
// spec-test: WIR-3, WIR-4
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rallypoint::base::Writer;
use rallypoint::wire::packet::{ClearPacket, Direction, SealedHeader, is_clear};
use rallypoint_fuzz::{GAME, set_checksum};

fuzz_target!(|data: &[u8]| {
    check_clear(data);
    let mut corrected = data.to_vec();
    set_checksum(&mut corrected);
    check_clear(&corrected);
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
