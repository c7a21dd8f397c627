//! Frames of an opened packet: reading never panics, and everything that is accepted is canonical.
// spec-test: WIR-3, WIR-4
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rallypoint::base::Writer;
use rallypoint::wire::frame::{LengthField, read_frames, write_frames};

fuzz_target!(|data: &[u8]| {
    if let Ok(frames) = read_frames(Bytes::copy_from_slice(data)) {
        let mut writer = Writer::new();
        write_frames(&frames, &mut writer);
        assert_eq!(writer.as_slice(), data);
        let count = frames.len();
        let lengths =
            (0..).zip(&frames).map(|(at, frame)| frame.encoded_len(LengthField::of_frame(at, count)));
        assert_eq!(lengths.sum::<usize>(), data.len());
    }
});
