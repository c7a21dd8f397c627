//! The wire forms of the identifiers in commands, results and events.

use crate::base::codec::VARINT_MAX;
use crate::base::{
    DecodeError, EventNumber, InviteId, MemberId, Reader, RequestId, Revision, SessionId, SessionKind, Slot,
    Wire, Writer,
};

/// Encodes identifiers that fit in 32 bits as varints.
macro_rules! varint_u32 {
    ($($name:ident: $what:literal),+ $(,)?) => {$(
        impl Wire for $name {
            fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
                reader.varint_u32($what).map(Self)
            }

            fn write(&self, writer: &mut Writer) {
                writer.varint(u64::from(self.0));
            }
        }
    )+};
}

/// Encodes counters from `$min` on that fit in 62 bits as varints; larger values are never reached.
macro_rules! varint_u62 {
    ($($name:ident: $what:literal from $min:literal),+ $(,)?) => {$(
        impl Wire for $name {
            fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
                reader.varint_in($what, $min, VARINT_MAX).map(Self)
            }

            fn write(&self, writer: &mut Writer) {
                writer.varint(self.0.min(VARINT_MAX));
            }
        }
    )+};
}

varint_u32!(MemberId: "member", Slot: "slot", RequestId: "request id");
// spec: EVT-1
varint_u62!(EventNumber: "event number" from 1, Revision: "revision" from 0);

impl Wire for SessionId {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.u64("session").map(Self)
    }

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.0);
    }
}

impl Wire for SessionKind {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.u16("session kind").map(Self)
    }

    fn write(&self, writer: &mut Writer) {
        writer.u16(self.0);
    }
}

impl Wire for InviteId {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { session: SessionId::read(reader)?, number: reader.varint_u32("invite number")? })
    }

    fn write(&self, writer: &mut Writer) {
        self.session.write(writer);
        writer.varint(u64::from(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{OutOfBounds, UserId};
    use bytes::Bytes;

    // spec-test: WIR-5
    #[test]
    fn known_bytes() {
        let invite = InviteId { session: SessionId(0x0102_0304_0506_0708), number: 300 };
        let bytes = Bytes::from_static(&[1, 2, 3, 4, 5, 6, 7, 8, 0x41, 0x2c]);
        assert_eq!(invite.to_bytes(), bytes);
        assert_eq!(InviteId::from_bytes(bytes), Ok(invite));
        assert_eq!(UserId::new("ann").unwrap().to_bytes(), &b"\x03ann"[..]);
        assert_eq!(SessionKind(7).to_bytes(), &[0, 7][..]);
    }

    // spec-test: WIR-5
    #[test]
    fn ids_that_look_alike_are_different() {
        let composed = UserId::new("\u{e9}").unwrap();
        let decomposed = UserId::new("e\u{301}").unwrap();
        assert_ne!(composed, decomposed, "no normalization");
        assert_ne!(UserId::new("ann"), UserId::new("Ann"));
        assert_eq!(decomposed.to_bytes(), &b"\x03e\xcc\x81"[..]);
    }

    #[test]
    fn a_member_id_fits_32_bits() {
        let mut writer = Writer::new();
        writer.varint(1 << 32);
        assert!(matches!(
            MemberId::from_bytes(writer.finish()),
            Err(DecodeError::OutOfBounds(OutOfBounds::Range { .. }))
        ));
    }

    #[test]
    fn an_empty_user_id_is_refused() {
        assert!(matches!(
            UserId::from_bytes(Bytes::from_static(&[0])),
            Err(DecodeError::OutOfBounds(OutOfBounds::Length { what: "user id", .. }))
        ));
    }
}
