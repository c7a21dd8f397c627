//! Decoding never reserves memory according to a length that it has only read.

// A global allocator requires unsafe code.
#![allow(unsafe_code, clippy::unwrap_used, clippy::indexing_slicing)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rallypoint::base::Wire;
use rallypoint::wire::frame::read_frames;
use rallypoint::wire::{Command, CommandResult, ServerMessage, StreamKind};
use serde_json::Value;

/// The largest allocation since the last reset.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Watched;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

// SAFETY: the system's allocator does all of the work.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: it came from `alloc`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: it came from `alloc`.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Counts and lengths near the limits of the protocol, as varints.
const CLAIMS: [&[u8]; 6] = [
    &[0x40, 0x40],
    &[0x41, 0x00],
    &[0x44, 0x00],
    &[0x80, 0x00, 0xff, 0xff],
    &[0x80, 0x10, 0x00, 0x00],
    &[0xbf, 0xff, 0xff, 0xff],
];

type Decode = fn(StreamKind, Bytes);

/// Each vector is truncated at each position and continued with a large number, after which no data follows.
// spec-test: WIR-4
#[test]
fn a_number_without_the_bytes_it_promises_reserves_nothing() {
    let families: [(&str, Decode); 4] = [
        ("frames", |_, bytes| drop(read_frames(bytes))),
        ("commands", |on, bytes| drop(Command::decode(on, bytes))),
        ("results", |_, bytes| drop(CommandResult::from_bytes(bytes))),
        ("events", |on, bytes| drop(ServerMessage::decode(on, bytes))),
    ];
    for (family, decode) in families {
        let mut tried = 0;
        for (on, bytes) in vectors(family) {
            // Counts and lengths are near the beginning.
            for cut in 0..bytes.len().min(80) {
                for claim in CLAIMS {
                    let claimed = Bytes::from([&bytes[..cut], claim].concat());
                    let length = claimed.len();
                    LARGEST.store(0, Ordering::Relaxed);
                    decode(on, claimed);
                    let largest = LARGEST.load(Ordering::Relaxed);
                    assert!(largest <= 16 * length + 512, "{family}: {largest} bytes for {length}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 500, "{family}: {tried}");
    }
}

/// Returns the bytes of a family's vectors, each with the kind of stream that it arrives on.
fn vectors(family: &str) -> Vec<(StreamKind, Vec<u8>)> {
    let path = format!("{}/protocol-spec/vectors/{family}.json", env!("CARGO_MANIFEST_DIR"));
    let Value::Array(vectors) = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap() else {
        panic!("{family} is no array")
    };
    let unhex = |text: &str| {
        let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
    };
    let on = |vector: &Value| {
        if vector["stream"] == "slot" { StreamKind::Slot } else { StreamKind::Control }
    };
    vectors.iter().map(|vector| (on(vector), unhex(vector["bytes"].as_str().unwrap()))).collect()
}
