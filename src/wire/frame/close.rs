//! CLOSE: the end of the connection and its reason.
//!
//! ```text
//! type 0x04 | code (varint) | reason length (varint) | reason (UTF-8)
//! ```

use crate::base::codec::varint_len;
use crate::base::{DecodeError, Reader, Writer};

/// Ends the connection. Spec: CON-5.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Close {
    /// One of the close codes, below 2^14.
    pub code: u16,
    /// Reason for people: UTF-8, at most [`MAX_CLOSE_REASON_BYTES`].
    pub reason: String,
}

/// Longest reason in bytes.
pub const MAX_CLOSE_REASON_BYTES: usize = 128;

impl Close {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let value = reader.varint_in("close code", 0, 0x3fff)?;
        let code = u16::try_from(value).map_err(|_| DecodeError::Unknown { what: "close code", value })?;
        Ok(Self { code, reason: reader.text("close reason", 0, MAX_CLOSE_REASON_BYTES)? })
    }

    pub(super) fn encoded_len(&self) -> usize {
        varint_len(u64::from(self.code)) + varint_len(self.reason.len() as u64) + self.reason.len()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.varint(u64::from(self.code));
        writer.prefixed(self.reason.as_bytes());
    }
}
