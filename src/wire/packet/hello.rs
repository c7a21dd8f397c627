//! HELLO: a client requests a connection.
//!
//! ```text
//! token length u16 | token | cookie length u8 (0 or 24) | cookie
//! | noise length u16 | noise message 1 | zeros
//! ```
//! Padded to exactly 1,200 bytes including the header, so that no answer is ever larger than the request.

use bytes::Bytes;

use super::clear::{ClearHeader, Echo};
use super::retry::{COOKIE_BYTES, Cookie};
use crate::base::{DecodeError, OutOfBounds, Reader, Wire, Writer};

/// Length of every HELLO, including header and padding. Spec: HSK-1.
pub const HELLO_BYTES: usize = 1_200;

/// Length of a client's ephemeral key, which begins Noise message 1.
pub const EPHEMERAL_BYTES: usize = 32;

/// Longest token, in bytes of text. Spec: TOK-1.
pub const TOKEN_MAX_BYTES: usize = 900;

const NOISE_MIN_BYTES: usize = 48;
const NOISE_MAX_BYTES: usize = 160;

/// A client's request for a connection. Spec: HSK-1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Text of the connect token, 1 to 900 bytes. Its contents are not checked here.
    pub token: Bytes,
    /// The cookie of the RETRY that this answers, if any.
    pub cookie: Option<Cookie>,
    /// Noise message 1, 48 to 160 bytes.
    pub noise: Bytes,
}

impl Hello {
    /// Returns the client's ephemeral key, by which the server recognizes a repeated HELLO.
    pub fn ephemeral(&self) -> [u8; EPHEMERAL_BYTES] {
        let mut ephemeral = [0; EPHEMERAL_BYTES];
        for (to, from) in ephemeral.iter_mut().zip(&self.noise) {
            *to = *from;
        }
        ephemeral
    }

    /// Returns the echo that answers to this HELLO carry: the first 8 bytes of the ephemeral key.
    /// Spec: HSK-3.
    pub fn echo(&self) -> Echo {
        let mut echo = [0; 8];
        for (to, from) in echo.iter_mut().zip(&self.noise) {
            *to = *from;
        }
        Echo(echo)
    }
}

impl Wire for Hello {
    // spec: HSK-1
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let whole = HELLO_BYTES - ClearHeader::BYTES;
        if reader.remaining() != whole {
            return Err(DecodeError::NotCanonical { what: "hello length" });
        }
        let length = read_length("token length", 1, TOKEN_MAX_BYTES, reader)?;
        let token = reader.bytes("token", length)?;
        let cookie = match reader.u8("cookie length")? {
            0 => None,
            length if usize::from(length) == COOKIE_BYTES => Some(Cookie(reader.array("cookie")?)),
            length => return Err(DecodeError::Unknown { what: "cookie length", value: u64::from(length) }),
        };
        let length = read_length("noise length", NOISE_MIN_BYTES, NOISE_MAX_BYTES, reader)?;
        let noise = reader.bytes("noise message", length)?;
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(DecodeError::NotCanonical { what: "hello padding" });
        }
        Ok(Self { token, cookie, noise })
    }

    /// # Panics
    /// If the token or the Noise message is longer than allowed.
    fn write(&self, writer: &mut Writer) {
        let start = writer.len();
        assert!(self.token.len() <= TOKEN_MAX_BYTES && self.noise.len() <= NOISE_MAX_BYTES);
        writer.u16(short(self.token.len()));
        writer.slice(&self.token);
        match &self.cookie {
            None => writer.u8(0),
            Some(cookie) => {
                writer.u8(24);
                writer.slice(&cookie.0);
            }
        }
        writer.u16(short(self.noise.len()));
        writer.slice(&self.noise);
        let padding = HELLO_BYTES - ClearHeader::BYTES - (writer.len() - start);
        writer.slice(&vec![0; padding]);
    }
}

fn read_length(
    what: &'static str,
    min: usize,
    max: usize,
    reader: &mut Reader,
) -> Result<usize, DecodeError> {
    let length = usize::from(reader.u16(what)?);
    OutOfBounds::check_count(what, length, min, max)?;
    Ok(length)
}

fn short(length: usize) -> u16 {
    u16::try_from(length).expect("invariant: checked to be at most 900")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            token: Bytes::from_static(b"token"),
            cookie: Some(Cookie([7; COOKIE_BYTES])),
            noise: (0..80).collect::<Vec<u8>>().into(),
        }
    }

    fn with(at: usize, byte: u8) -> Result<Hello, DecodeError> {
        let mut bytes = hello().to_bytes().to_vec();
        bytes[at] = byte;
        Hello::from_bytes(bytes.into())
    }

    // spec-test: HSK-1
    #[test]
    fn known_bytes() {
        let bytes = hello().to_bytes();
        assert_eq!(bytes.len(), 1_192);
        assert_eq!(bytes[..8], *b"\0\x05token\x18");
        assert_eq!(bytes[32..37], [0, 80, 0, 1, 2]);
        assert!(bytes[114..].iter().all(|byte| *byte == 0));
        assert_eq!(Hello::from_bytes(bytes), Ok(hello()));
    }

    // spec-test: HSK-1
    #[test]
    fn lengths_and_padding_are_checked() {
        let too_long = hello().to_bytes().iter().chain(&[0]).copied().collect::<Vec<u8>>();
        assert_eq!(
            Hello::from_bytes(too_long.into()),
            Err(DecodeError::NotCanonical { what: "hello length" })
        );
        assert_eq!(with(1_191, 1), Err(DecodeError::NotCanonical { what: "hello padding" }));
        assert_eq!(with(7, 23), Err(DecodeError::Unknown { what: "cookie length", value: 23 }));
        assert!(matches!(
            with(1, 0),
            Err(DecodeError::OutOfBounds(OutOfBounds::Range { what: "token length", .. }))
        ));
        assert!(matches!(
            with(33, 47),
            Err(DecodeError::OutOfBounds(OutOfBounds::Range { what: "noise length", .. }))
        ));
    }

    // spec-test: HSK-3
    #[test]
    fn the_echo_is_the_beginning_of_the_ephemeral() {
        assert_eq!(hello().echo().0, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(hello().ephemeral()[24..], [24, 25, 26, 27, 28, 29, 30, 31]);
    }
}
