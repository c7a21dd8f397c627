//! RETRY: the server wants the HELLO again, with a cookie that proves the client's address.
//!
//! ```text
//! echo [8] | cookie [24]
//! ```

use super::clear::Echo;
use crate::base::{DecodeError, Reader, Wire, Writer};

/// Bytes of a cookie.
pub const COOKIE_BYTES: usize = 24;

/// What a client sends back unread: only the server that made it can tell whether it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie(pub [u8; COOKIE_BYTES]);

/// The server is under load and wants the HELLO again, with `cookie`. Spec: HSK-5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Echo of the HELLO.
    pub echo: Echo,
    /// To be sent back.
    pub cookie: Cookie,
}

impl Wire for Retry {
    // spec: HSK-5
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { echo: Echo(reader.array("echo")?), cookie: Cookie(reader.array("cookie")?) })
    }

    fn write(&self, writer: &mut Writer) {
        writer.slice(&self.echo.0);
        writer.slice(&self.cookie.0);
    }
}
