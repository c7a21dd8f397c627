//! REJECT: the server refuses a HELLO, and why.
//!
//! ```text
//! echo [8] | code u8 | supported version u8
//! ```

use super::clear::Echo;
use crate::base::{DecodeError, Reader, Wire, Writer};

/// The server refuses. Not authenticated: to a client a hint, until its own deadline. Spec: HSK-7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// Echo of the HELLO.
    pub echo: Echo,
    /// Why.
    pub code: RejectCode,
    /// Version of the protocol that the server speaks.
    pub version: u8,
}

/// Why a server refuses a HELLO. Spec: HSK-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u8)]
pub enum RejectCode {
    /// The server speaks another version of the protocol.
    #[error("server speaks another version")]
    Version = 1,
    /// The token's time is over.
    #[error("token has expired")]
    TokenExpired = 2,
    /// The token has made its connection already, or is making two.
    #[error("token was used")]
    TokenUsed = 3,
    /// The token is for another server.
    #[error("token is for another server")]
    WrongServer = 4,
    /// No room for another connection.
    #[error("server is full")]
    Full = 5,
    /// The server is about to stop.
    #[error("server is shutting down")]
    Draining = 6,
    /// The user has too many connections in the making.
    #[error("too many attempts of this user")]
    UserLimit = 8,
    /// The address has too many connections, or asks for them too often.
    #[error("too many attempts from this address")]
    AddressLimit = 9,
}

impl RejectCode {
    /// All codes; 7 is never sent.
    pub const ALL: [Self; 8] = [
        Self::Version,
        Self::TokenExpired,
        Self::TokenUsed,
        Self::WrongServer,
        Self::Full,
        Self::Draining,
        Self::UserLimit,
        Self::AddressLimit,
    ];

    fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|code| *code as u8 == byte)
            .ok_or(DecodeError::Unknown { what: "reject code", value: u64::from(byte) })
    }
}

impl Wire for Reject {
    // spec: HSK-7
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            echo: Echo(reader.array("echo")?),
            code: RejectCode::from_byte(reader.u8("reject code")?)?,
            version: reader.u8("supported version")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.slice(&self.echo.0);
        writer.u8(self.code as u8);
        writer.u8(self.version);
    }
}
