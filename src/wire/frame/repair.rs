//! REPAIR: the messages of earlier packets, repeated and XORed together.
//!
//! ```text
//! type 0x05 | count (varint, 1..4) | lag (1) × count, ascending | length (varint, 3..514) | symbol
//! ```

use bytes::Bytes;

use super::lags::{self, Lags};
use crate::base::{DecodeError, Reader, Writer};

/// The XOR of the symbols of earlier packets. A receiver that has all of these packets except one recovers
/// the messages of that packet from it. Spec: FRM-8.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repair {
    /// The packets, 1 to 4 of them, as lags below the packet with this frame.
    pub lags: Lags,
    /// Their symbols, XORed; shorter ones count as padded with zeros.
    pub symbol: Bytes,
}

/// Maximum number of packets that one REPAIR covers.
pub const MAX_REPAIR_PACKETS: usize = 4;
/// Length of a symbol: a length field of two bytes, and content of 1 to 512 bytes. Spec: FRM-9.
pub const SYMBOL_BYTES: std::ops::RangeInclusive<usize> = 3..=514;

pub(super) const TYPE: u8 = 0x05;

impl Repair {
    /// Returns the encoded length of a REPAIR of `packets` packets whose longest symbol has `symbol_bytes`.
    pub fn encoded_len(packets: usize, symbol_bytes: usize) -> usize {
        2 + packets + crate::base::codec::varint_len(symbol_bytes as u64) + symbol_bytes
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let lags = lags::read(reader, MAX_REPAIR_PACKETS)?;
        let length = reader.count("symbol length", *SYMBOL_BYTES.start(), *SYMBOL_BYTES.end())?;
        Ok(Self { lags, symbol: reader.bytes("symbol", length)? })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u8(TYPE);
        lags::write(&self.lags, writer);
        writer.varint(self.symbol.len() as u64);
        writer.slice(&self.symbol);
    }
}
