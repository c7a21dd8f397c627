//! Commands on either kind of stream: decoding never panics, and everything that is accepted is canonical.
// spec-test: WIR-3, WIR-4, CMD-3
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rallypoint::wire::Command;

fuzz_target!(|data: &[u8]| {
    for slot_stream in [false, true] {
        if let Ok(command) = Command::decode(slot_stream, Bytes::copy_from_slice(data)) {
            assert_eq!(command.is_for_slot_stream(), slot_stream);
            assert_eq!(command.encode(), data);
        }
    }
});
