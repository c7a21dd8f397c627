//! Results and events on either kind of stream: decoding never panics, and everything that is accepted is
//! canonical.
// spec-test: WIR-3, WIR-4
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rallypoint::wire::ServerMessage;

fuzz_target!(|data: &[u8]| {
    for slot_stream in [false, true] {
        if let Ok(message) = ServerMessage::decode(slot_stream, Bytes::copy_from_slice(data)) {
            assert_eq!(message.encode(), data);
        }
    }
});
