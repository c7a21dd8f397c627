//! RETRY: the server asks for the HELLO again, with a cookie that proves the client's address.
//!
//! ```text
//! echo [8] | cookie [24]
//! ```

use super::clear::Echo;
use crate::base::{DecodeError, Reader, Wire, Writer};

/// Length of a cookie.
pub const COOKIE_BYTES: usize = 24;

/// Opaque bytes that a client sends back unchanged. Only the server that made them can verify them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie(pub [u8; COOKIE_BYTES]);

/// A server under load asks for the HELLO again, with `cookie`. Spec: HSK-5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Echo of the HELLO.
    pub echo: Echo,
    /// Cookie to send back.
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
