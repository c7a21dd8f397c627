//! Properties: a session's shared values, the operations on them and their changes.
//!
//! This file contains the values. [`PropertyOp`] is a member's request, [`PropertyChange`] its result.

mod change;
mod op;

#[cfg(test)]
pub(crate) use change::tests as change_tests;
#[cfg(test)]
pub(crate) use op::tests as op_tests;

pub use change::{PropertyChange, PropertyChanges};
pub use op::{OP_OVERHEAD_BYTES, PropertyOp, PropertyOps};

use bytes::Bytes;

use crate::base::bounded::bounded_text;
use crate::base::{DecodeError, MemberId, OutOfBounds, Reader, Wire, Writer};

/// Maximum number of properties in a session, and of operations in one command. Spec: PRP-2.
pub const MAX_PROPERTIES: usize = 256;

/// Maximum number of bytes of a session's keys and values together, and thus of one value. Spec: PRP-2.
pub const MAX_PROPERTY_BYTES: usize = 64 << 10;

bounded_text! {
    /// Name of a property: UTF-8, 1 to 64 bytes. Spec: PRP-3.
    PropertyKey, "property key", 1..=64
}

/// A property's value. Spec: PRP-4.
///
/// ```text
/// 0 | length varint (0..=65,536) | bytes
/// 1 | integer, 8 bytes
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PropertyValue {
    /// Bytes that only the application interprets, at most [`MAX_PROPERTY_BYTES`].
    Bytes(Bytes),
    /// A number that can be incremented.
    Integer(i64),
}

impl From<i64> for PropertyValue {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<&str> for PropertyValue {
    fn from(text: &str) -> Self {
        Self::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<Vec<u8>> for PropertyValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<String> for PropertyValue {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<Bytes> for PropertyValue {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl PropertyValue {
    /// Checks the number of bytes and wraps them.
    ///
    /// # Errors
    /// [`OutOfBounds::Length`] above [`MAX_PROPERTY_BYTES`].
    pub fn bytes(bytes: Bytes) -> Result<Self, OutOfBounds> {
        let value = Self::Bytes(bytes);
        value.check().map(|()| value)
    }

    /// Checks that the value is not too long.
    pub(in crate::wire) fn check(&self) -> Result<(), OutOfBounds> {
        OutOfBounds::check_length(Self::WHAT, self.counted_bytes(), 0, MAX_PROPERTY_BYTES)
    }

    /// Returns the integer, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(integer) = self { Some(*integer) } else { None }
    }

    /// Returns the bytes, if it is not an integer.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// Returns the number of bytes that the value counts toward [`MAX_PROPERTY_BYTES`].
    pub fn counted_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Integer(_) => 8,
        }
    }

    /// Its name in errors, by which [`CommandError`](crate::wire::command::CommandError) selects the code.
    pub(super) const WHAT: &'static str = "property value";

    const BYTES: u8 = 0;
    const INTEGER: u8 = 1;
    const ABSENT: u8 = 2;

    /// Reads a value or, as kind 2, its absence.
    fn read_optional(reader: &mut Reader) -> Result<Option<Self>, DecodeError> {
        match reader.u8("property value kind")? {
            Self::BYTES => {
                let slice = reader.prefixed(Self::WHAT, 0, MAX_PROPERTY_BYTES)?;
                // A copy, so that a small value does not keep a large datagram alive.
                Ok(Some(Self::Bytes(Bytes::copy_from_slice(&slice))))
            }
            Self::INTEGER => Ok(Some(Self::Integer(reader.i64(Self::WHAT)?))),
            Self::ABSENT => Ok(None),
            kind => Err(DecodeError::Unknown { what: "property value kind", value: u64::from(kind) }),
        }
    }

    fn write_optional(value: Option<&Self>, writer: &mut Writer) {
        match value {
            Some(value) => value.write(writer),
            None => writer.u8(Self::ABSENT),
        }
    }
}

impl Wire for PropertyValue {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Self::read_optional(reader)?
            .ok_or(DecodeError::Unknown { what: "property value kind", value: u64::from(Self::ABSENT) })
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Bytes(bytes) => {
                writer.u8(Self::BYTES);
                writer.prefixed(bytes);
            }
            Self::Integer(integer) => {
                writer.u8(Self::INTEGER);
                writer.i64(*integer);
            }
        }
    }
}

/// Members that may change or delete a property. Spec: PRP-5.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum WriteRule {
    /// The session's owner; only the owner can create such a property.
    Owner = 1,
    /// Every member.
    Any = 2,
    /// The member that created it or, after that member has left, the owner.
    Creator = 3,
}

impl WriteRule {
    /// Returns the rule's name in text: `owner`, `any` or `creator`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Any => "any",
            Self::Creator => "creator",
        }
    }

    fn from_number(number: u8) -> Result<Self, DecodeError> {
        match number {
            1 => Ok(Self::Owner),
            2 => Ok(Self::Any),
            3 => Ok(Self::Creator),
            _ => Err(DecodeError::Unknown { what: "write rule", value: u64::from(number) }),
        }
    }
}

impl Wire for WriteRule {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Self::from_number(reader.u8("write rule")?)
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(*self as u8);
    }
}

/// A property with all its attributes, as in a snapshot. Spec: PRP-6.
///
/// ```text
/// key | value | rule u8 | creator varint
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Property {
    /// Its key.
    pub key: PropertyKey,
    /// Its value.
    pub value: PropertyValue,
    /// Members that may change it.
    pub rule: WriteRule,
    /// The member that created it.
    pub creator: MemberId,
}

impl Wire for Property {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            key: PropertyKey::read(reader)?,
            value: PropertyValue::read(reader)?,
            rule: WriteRule::read(reader)?,
            creator: MemberId::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.key.write(writer);
        self.value.write(writer);
        self.rule.write(writer);
        self.creator.write(writer);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::wire::tests::check_canonical;
    use proptest::prelude::*;

    pub(crate) fn any_key() -> impl Strategy<Value = PropertyKey> {
        "[a-zé]{1,32}".prop_map(|text| PropertyKey::new(&text).unwrap())
    }

    pub(crate) fn any_value() -> impl Strategy<Value = PropertyValue> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| PropertyValue::Bytes(bytes.into())),
            any::<i64>().prop_map(PropertyValue::Integer),
        ]
    }

    pub(crate) fn any_rule() -> impl Strategy<Value = WriteRule> {
        prop_oneof![Just(WriteRule::Owner), Just(WriteRule::Any), Just(WriteRule::Creator)]
    }

    pub(crate) fn any_property() -> impl Strategy<Value = Property> {
        (any_key(), any_value(), any_rule(), any::<u32>()).prop_map(|(key, value, rule, creator)| Property {
            key,
            value,
            rule,
            creator: MemberId(creator),
        })
    }

    // spec-test: PRP-6
    #[test]
    fn known_bytes() {
        let property = Property {
            key: PropertyKey::new("hp").unwrap(),
            value: PropertyValue::Integer(-2),
            rule: WriteRule::Any,
            creator: MemberId(1),
        };
        let bytes = [2, b'h', b'p', 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 2, 1];
        assert_eq!(property.to_bytes(), &bytes[..]);
        assert_eq!(Property::from_bytes(Bytes::copy_from_slice(&bytes)), Ok(property));
    }

    // spec-test: PRP-3
    #[test]
    fn a_key_is_text_of_1_to_64_bytes() {
        let read = |bytes: &[u8]| {
            let mut writer = Writer::new();
            writer.prefixed(bytes);
            PropertyKey::from_bytes(writer.finish())
        };
        assert!(PropertyKey::new("").is_err() && read(b"").is_err());
        assert!(PropertyKey::new(&"k".repeat(64)).is_ok() && read(&[b'k'; 64]).is_ok());
        assert!(PropertyKey::new(&"k".repeat(65)).is_err() && read(&[b'k'; 65]).is_err());
        assert_eq!(read(&[0xc3, 0x28]), Err(DecodeError::NotUtf8 { what: "property key" }));
    }

    // spec-test: PRP-4
    #[test]
    fn known_bytes_of_values() {
        let values = [
            (PropertyValue::Bytes(Bytes::from_static(b"v")), &[0, 1, b'v'][..]),
            (PropertyValue::Bytes(Bytes::new()), &[0, 0]),
            (PropertyValue::Integer(-2), &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
        ];
        for (value, bytes) in values {
            assert_eq!(value.to_bytes(), bytes);
            let mut writer = Writer::new();
            PropertyValue::write_optional(Some(&value), &mut writer);
            assert_eq!(writer.as_slice(), bytes, "the same where it may be absent");
            assert_eq!(PropertyValue::from_bytes(Bytes::from_static(bytes)), Ok(value));
        }
        let mut writer = Writer::new();
        PropertyValue::write_optional(None, &mut writer);
        assert_eq!(writer.as_slice(), [2]);
        assert!(PropertyValue::from_bytes(Bytes::from_static(&[2])).is_err(), "only where it may be");
    }

    // spec-test: PRP-2
    #[test]
    fn a_value_has_at_most_64_kib() {
        assert!(PropertyValue::bytes(Bytes::from(vec![0; MAX_PROPERTY_BYTES])).is_ok());
        assert!(PropertyValue::bytes(Bytes::from(vec![0; MAX_PROPERTY_BYTES + 1])).is_err());
        let mut writer = Writer::new();
        writer.u8(0);
        writer.prefixed(&vec![0; MAX_PROPERTY_BYTES + 1]);
        assert!(matches!(
            PropertyValue::from_bytes(writer.finish()),
            Err(DecodeError::OutOfBounds(OutOfBounds::Length { what: "property value", .. }))
        ));
    }

    proptest! {
        #[test]
        fn a_property_is_read_as_it_was_written(property in any_property()) {
            prop_assert_eq!(Property::from_bytes(property.to_bytes()), Ok(property));
        }

        #[test]
        fn what_is_accepted_is_canonical(bytes in prop::collection::vec(prop_oneof![8 => 0..4u8, 1 => prop::sample::select(vec![0x3f, 0x40, 0x80, 0xc0])], 0..24)) {
            check_canonical::<Property>(bytes)?;
        }
    }
}
