//! [`PropertyChange`]: the result of an operation on a session's properties.

use std::sync::Arc;

use super::{MAX_PROPERTIES, PropertyKey, PropertyValue, WriteRule};
use crate::base::{DecodeError, OutOfBounds, Reader, Wire, Writer};

/// The result for one property. Spec: PRP-9.
///
/// Changes are results, not operations, so applying them needs no arithmetic and no rules.
/// ```text
/// 0 created: 0 | key | value | rule u8
/// 1 set:     1 | key | value
/// 2 deleted: 2 | key
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PropertyChange {
    /// A property was created; its creator is the member that the event names.
    Created {
        /// The property.
        key: PropertyKey,
        /// Its value.
        value: PropertyValue,
        /// Members that may change it.
        rule: WriteRule,
    },
    /// A property has a new value.
    Set {
        /// The property.
        key: PropertyKey,
        /// Its value.
        value: PropertyValue,
    },
    /// A property was deleted.
    Deleted {
        /// The property.
        key: PropertyKey,
    },
}

impl Wire for PropertyChange {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let kind = reader.u8("property change")?;
        if kind > 2 {
            return Err(DecodeError::Unknown { what: "property change", value: u64::from(kind) });
        }
        let key = PropertyKey::read(reader)?;
        Ok(match kind {
            0 => Self::Created { key, value: PropertyValue::read(reader)?, rule: WriteRule::read(reader)? },
            1 => Self::Set { key, value: PropertyValue::read(reader)? },
            _ => Self::Deleted { key },
        })
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Created { key, value, rule } => {
                writer.u8(0);
                key.write(writer);
                value.write(writer);
                rule.write(writer);
            }
            Self::Set { key, value } => {
                writer.u8(1);
                key.write(writer);
                value.write(writer);
            }
            Self::Deleted { key } => {
                writer.u8(2);
                key.write(writer);
            }
        }
    }
}

/// The changes of one command in order, one for each of its 1 to 256 operations. Spec: PRP-9.
///
/// ```text
/// count varint | changes
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PropertyChanges(Arc<[PropertyChange]>);

impl PropertyChanges {
    /// Checks and wraps a list of changes.
    ///
    /// # Errors
    /// [`OutOfBounds::Range`] when there are none or more than [`MAX_PROPERTIES`].
    pub fn new(changes: Vec<PropertyChange>) -> Result<Self, OutOfBounds> {
        OutOfBounds::check_count("number of property changes", changes.len(), 1, MAX_PROPERTIES)?;
        Ok(Self(changes.into()))
    }

    /// Returns the changes in order.
    pub fn as_slice(&self) -> &[PropertyChange] {
        &self.0
    }
}

impl Wire for PropertyChanges {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self(reader.list("number of property changes", 1, MAX_PROPERTIES)?.into()))
    }

    fn write(&self, writer: &mut Writer) {
        writer.list(&self.0);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::tests::{any_key, any_rule, any_value};
    use super::*;
    use crate::wire::tests::check_canonical;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn any_change() -> impl Strategy<Value = PropertyChange> {
        prop_oneof![
            (any_key(), any_value(), any_rule()).prop_map(|(key, value, rule)| PropertyChange::Created {
                key,
                value,
                rule
            }),
            (any_key(), any_value()).prop_map(|(key, value)| PropertyChange::Set { key, value }),
            any_key().prop_map(|key| PropertyChange::Deleted { key }),
        ]
    }

    pub(crate) fn any_changes() -> impl Strategy<Value = PropertyChanges> {
        prop::collection::vec(any_change(), 1..6).prop_map(|changes| PropertyChanges::new(changes).unwrap())
    }

    // spec-test: PRP-9
    #[test]
    fn known_bytes() {
        let key = PropertyKey::new("k").unwrap();
        let changes = PropertyChanges::new(vec![
            PropertyChange::Created {
                key: key.clone(),
                value: PropertyValue::Bytes(Bytes::new()),
                rule: WriteRule::Creator,
            },
            PropertyChange::Deleted { key },
        ])
        .unwrap();
        let bytes = [2, 0, 1, b'k', 0, 0, 3, 2, 1, b'k'];
        assert_eq!(changes.to_bytes(), &bytes[..]);
        assert_eq!(PropertyChanges::from_bytes(Bytes::copy_from_slice(&bytes)), Ok(changes));
    }

    proptest! {
        #[test]
        fn changes_are_read_as_they_were_written(changes in any_changes()) {
            prop_assert_eq!(PropertyChanges::from_bytes(changes.to_bytes()), Ok(changes));
        }

        #[test]
        fn what_is_accepted_is_canonical(bytes in prop::collection::vec(prop_oneof![8 => 0..4u8, 1 => prop::sample::select(vec![0x3f, 0x40, 0x80, 0xc0])], 0..24)) {
            check_canonical::<PropertyChanges>(bytes)?;
        }
    }
}
