//! The settings that a session is created with, and the bounded numbers and texts that commands and events
//! share.

use crate::base::bounded::{bounded_number, bounded_text};
use crate::base::{DecodeError, Reader, SessionKind, Wire, Writer};

bounded_number! {
    /// Number of seats in a session, 1 to 1,024. Spec: SES-4.
    MaxMembers(u16), "max members", 1..=1024
}
bounded_number! {
    /// Time that an empty session is kept, 0 to 86,400 s. Spec: SES-5.
    IdleTtl(u32), "idle ttl", 0..=86_400
}
bounded_number! {
    /// Time that an invite is valid, 1 to 86,400 s. Spec: INV-3.
    InviteTtl(u32), "invite ttl", 1..=86_400
}
bounded_text! {
    /// The owner's text to the invited user, at most 256 B. Spec: INV-4.
    Note, "note", 0..=256
}
bounded_text! {
    /// A member's reason for declining, kicking or deleting, for people, at most 128 B; often empty.
    /// Spec: CMD-7.
    Reason, "reason", 0..=128
}

impl Reason {
    /// Returns an empty reason.
    pub fn none() -> Self {
        Self("".into())
    }
}

impl Note {
    /// Returns an empty note.
    pub fn none() -> Self {
        Self("".into())
    }
}

/// Declares a choice of two or more values, one byte on the wire.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$case_doc:meta])* $case:ident = $number:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$case_doc])* $case = $number,)+
        }

        impl Wire for $name {
            fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
                match reader.u8($what)? {
                    $($number => Ok(Self::$case),)+
                    value => Err(DecodeError::Unknown { what: $what, value: u64::from(value) }),
                }
            }

            fn write(&self, writer: &mut Writer) {
                writer.u8(*self as u8);
            }
        }
    };
}

choice! {
    /// Effect of an owner's departure on its session. Spec: SES-6.
    OnOwnerLeave, "on owner leave" {
        /// The longest-standing member becomes the owner.
        Transfer = 0,
        /// The session ends.
        Delete = 1,
    }
}
choice! {
    /// Users who may join a session. Spec: SES-7.
    Admission, "admission" {
        /// Users with an invite of their own.
        Invited = 0,
        /// Every user who knows the session's id.
        Open = 1,
    }
}

/// The settings of a session, which never change. Spec: SES-8.
///
/// ```text
/// kind u16 | max members varint | idle ttl varint | on owner leave u8 | admission u8
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The application's class of the session.
    pub kind: SessionKind,
    /// Number of seats.
    pub max_members: MaxMembers,
    /// Time that it is kept when empty.
    pub idle_ttl: IdleTtl,
    /// Effect of the owner's departure.
    pub on_owner_leave: OnOwnerLeave,
    /// Users who may join.
    pub admission: Admission,
}

impl Wire for Settings {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: SessionKind::read(reader)?,
            max_members: MaxMembers::read(reader)?,
            idle_ttl: IdleTtl::read(reader)?,
            on_owner_leave: OnOwnerLeave::read(reader)?,
            admission: Admission::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.kind.write(writer);
        self.max_members.write(writer);
        self.idle_ttl.write(writer);
        self.on_owner_leave.write(writer);
        self.admission.write(writer);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::OutOfBounds;
    use bytes::Bytes;
    use proptest::prelude::*;

    pub(crate) fn any_reason() -> impl Strategy<Value = Reason> {
        ".{0,20}".prop_map(|text| Reason::new(&text).unwrap())
    }

    pub(crate) fn any_note() -> impl Strategy<Value = Note> {
        ".{0,40}".prop_map(|text| Note::new(&text).unwrap())
    }

    pub(crate) fn any_settings() -> impl Strategy<Value = Settings> {
        (any::<u16>(), 1..=1024u16, 0..=86_400u32, any::<bool>(), any::<bool>()).prop_map(
            |(kind, max_members, idle_ttl, delete, open)| Settings {
                kind: SessionKind(kind),
                max_members: MaxMembers::new(max_members).unwrap(),
                idle_ttl: IdleTtl::new(idle_ttl).unwrap(),
                on_owner_leave: if delete { OnOwnerLeave::Delete } else { OnOwnerLeave::Transfer },
                admission: if open { Admission::Open } else { Admission::Invited },
            },
        )
    }

    // spec-test: SES-8
    #[test]
    fn known_bytes() {
        let settings = Settings {
            kind: SessionKind(0x0102),
            max_members: MaxMembers::MAX,
            idle_ttl: IdleTtl::new(60).unwrap(),
            on_owner_leave: OnOwnerLeave::Delete,
            admission: Admission::Invited,
        };
        let bytes = [1, 2, 0x44, 0, 60, 1, 0];
        assert_eq!(settings.to_bytes(), &bytes[..]);
        assert_eq!(Settings::from_bytes(Bytes::copy_from_slice(&bytes)), Ok(settings));
    }

    // spec-test: SES-4, INV-3, INV-4, CMD-7
    #[test]
    fn what_is_out_of_bounds_can_neither_be_made_nor_read() {
        assert!(MaxMembers::new(0).is_err() && MaxMembers::new(1025).is_err());
        assert!(InviteTtl::new(0).is_err() && InviteTtl::new(86_401).is_err());
        assert!(Note::new(&"n".repeat(257)).is_err() && Note::new(&"n".repeat(256)).is_ok());
        assert!(Reason::new(&"r".repeat(129)).is_err() && Reason::new(&"r".repeat(128)).is_ok());
        for bytes in [&[0u8][..], &[0x44, 1]] {
            let read = MaxMembers::from_bytes(Bytes::copy_from_slice(bytes));
            assert!(matches!(
                read,
                Err(DecodeError::OutOfBounds(OutOfBounds::Range { min: 1, max: 1024, .. }))
            ));
        }
    }

    proptest! {
        #[test]
        fn settings_are_read_as_they_were_written(settings in any_settings()) {
            prop_assert_eq!(Settings::from_bytes(settings.to_bytes()), Ok(settings));
        }
    }
}
