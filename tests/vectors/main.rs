//! `protocol-spec/vectors/`: generated from the crate's own types, and compared with the files there.
//!
//! `RALLYPOINT_WRITE_VECTORS=1 cargo test --test vectors` writes the files; a change of the wire format shows
//! in their diff. `protocol-spec/check.py` decodes them from the spec alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod commands;
mod describe;
mod events;
mod frames;
mod handshake;
mod numbers;
mod packets;
mod receiver;
mod results;
mod samples;
mod tokens;

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use rallypoint::base::{DecodeError, Reader, Truncated, Writer};
use rallypoint::wire::Delivery;
use serde_json::{Value, json};

/// One file of vectors under construction.
pub(crate) struct Vectors {
    family: &'static str,
    vectors: Vec<Value>,
}

impl Vectors {
    pub(crate) fn new(family: &'static str) -> Self {
        Self { family, vectors: Vec::new() }
    }

    /// Adds bytes that decode to `value`.
    pub(crate) fn good(&mut self, name: &str, bytes: &[u8], value: Value) {
        self.push(json!({ "name": name, "bytes": hex(bytes), "value": value }));
    }

    /// Adds bytes that are refused, and the reason.
    pub(crate) fn bad(&mut self, name: &str, bytes: &[u8], error: DecodeError) {
        self.push(json!({ "name": name, "bytes": hex(bytes), "refused": error.to_string() }));
    }

    /// Adds a vector of another form.
    pub(crate) fn push(&mut self, vector: Value) {
        let name = &vector["name"];
        assert!(self.vectors.iter().all(|other| other["name"] != *name), "{name} twice in {}", self.family);
        self.vectors.push(vector);
    }

    /// Compares the vectors with the file of this family, or writes it when asked to.
    pub(crate) fn settle(self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("protocol-spec/vectors")
            .join(format!("{}.json", self.family));
        let lines: Vec<String> = self.vectors.iter().map(Value::to_string).collect();
        let text = format!("[\n{}\n]\n", lines.join(",\n"));
        if std::env::var_os("RALLYPOINT_WRITE_VECTORS").is_some() {
            std::fs::write(&path, text).unwrap();
            return;
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        for (made, stored) in text.lines().zip(stored.lines()) {
            assert_eq!(made, stored, "{} differs: see the head of tests/vectors/main.rs", path.display());
        }
        assert_eq!(text.len(), stored.len(), "{} differs in length", path.display());
    }
}

/// Returns what `write` appends.
pub(crate) fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.finish()
}

/// Reads a value with `read`, which must consume all of `bytes`.
pub(crate) fn read_all<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    let value = read(&mut reader)?;
    reader.end().map(|()| value)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter(|byte| *byte != b' ').map(|digit| nibble(char::from(digit))).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn nibble(digit: char) -> u8 {
    u8::try_from(digit.to_digit(16).unwrap()).unwrap()
}

/// Returns a delivery in the form that the vectors use.
pub(crate) fn delivery_json(delivery: Delivery) -> Value {
    match delivery {
        Delivery::Unreliable => json!({ "mode": "unreliable" }),
        Delivery::Sequenced { key } => json!({ "mode": "sequenced", "key": key }),
        Delivery::ReliableUnordered => json!({ "mode": "reliable_unordered" }),
        Delivery::ReliableOrdered => json!({ "mode": "reliable_ordered" }),
        Delivery::ReliableLatest { key } => json!({ "mode": "reliable_latest", "key": key }),
    }
}

/// Returns a truncated number in the form that the vectors use.
pub(crate) fn truncated_json(number: Truncated) -> Value {
    match number {
        Truncated::Bits8(value) => json!({ "bits": 8, "value": value }),
        Truncated::Bits16(value) => json!({ "bits": 16, "value": value }),
        Truncated::Bits32(value) => json!({ "bits": 32, "value": value }),
    }
}
