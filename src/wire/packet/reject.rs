//! REJECT: the server refuses a HELLO, with a reason.
//!
//! ```text
//! echo [8] | code u8 | supported version u8
//! ```

use super::clear::Echo;
use crate::base::{DecodeError, Reader, Wire, Writer};
use crate::wire::RejectCode;

/// The server's refusal. It is not authenticated, so a client takes it as a hint until its own deadline.
/// Spec: HSK-7, HSK-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// Echo of the HELLO.
    pub echo: Echo,
    /// Reason for the refusal.
    pub code: RejectCode,
    /// Protocol version that the server supports.
    pub version: u8,
}

impl Wire for Reject {
    // spec: HSK-7
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            echo: Echo(reader.array("echo")?),
            code: read_code(reader)?,
            version: reader.u8("supported version")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.slice(&self.echo.0);
        writer.u8(self.code.number());
        writer.u8(self.version);
    }
}

fn read_code(reader: &mut Reader) -> Result<RejectCode, DecodeError> {
    let value = u64::from(reader.u8("reject code")?);
    RejectCode::from_number(value).ok_or(DecodeError::Unknown { what: "reject code", value })
}
