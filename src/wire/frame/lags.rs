//! [`Lags`]: packets, as distances of their numbers below another number.
//!
//! ```text
//! count (varint) | lag (1) × count, ascending, each at least 1
//! ```

use smallvec::SmallVec;

use crate::base::{DecodeError, Reader, Writer};

/// Distances of some packet numbers below a number that the frame's description defines; ascending, each at
/// least 1.
pub type Lags = SmallVec<[u8; 4]>;

/// Reads 1 to `max` lags.
pub(super) fn read(reader: &mut Reader, max: usize) -> Result<Lags, DecodeError> {
    let count = reader.count("lags", 1, max)?;
    let mut lags = Lags::new();
    for _ in 0..count {
        let lag = reader.u8("lag")?;
        if lag <= lags.last().copied().unwrap_or(0) {
            return Err(DecodeError::NotCanonical { what: "order of lags" });
        }
        lags.push(lag);
    }
    Ok(lags)
}

pub(super) fn write(lags: &Lags, writer: &mut Writer) {
    writer.varint(lags.len() as u64);
    writer.slice(lags);
}
