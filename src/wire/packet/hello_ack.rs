//! HELLO_ACK: the server accepts a connection.
//!
//! ```text
//! echo [8] | noise message 2
//! ```

use bytes::Bytes;

use super::clear::Echo;
use crate::base::{DecodeError, OutOfBounds, Reader, Wire, Writer};

/// The server's acceptance; sent only in answer to a HELLO, at most 120 bytes. Spec: HSK-6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloAck {
    /// Echo of the HELLO.
    pub echo: Echo,
    /// Noise message 2, 48 to 104 bytes.
    pub noise: Bytes,
}

const NOISE_MIN_BYTES: usize = 48;
const NOISE_MAX_BYTES: usize = 104;

impl Wire for HelloAck {
    // spec: HSK-6
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let echo = Echo(reader.array("echo")?);
        let noise = reader.rest();
        OutOfBounds::check_count("noise length", noise.len(), NOISE_MIN_BYTES, NOISE_MAX_BYTES)?;
        Ok(Self { echo, noise })
    }

    fn write(&self, writer: &mut Writer) {
        writer.slice(&self.echo.0);
        writer.slice(&self.noise);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec-test: HSK-6
    #[test]
    fn the_noise_message_is_48_to_104_bytes() {
        for (length, legal) in [(47, false), (48, true), (104, true), (105, false)] {
            let ack = HelloAck { echo: Echo([1; 8]), noise: vec![2; length].into() };
            assert_eq!(HelloAck::from_bytes(ack.to_bytes()).is_ok(), legal, "{length}");
        }
    }
}
