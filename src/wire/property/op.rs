//! [`PropertyOp`]: an operation on a session's properties that a member requests.

use std::sync::Arc;

use super::{MAX_PROPERTIES, PropertyKey, PropertyValue, WriteRule};
use crate::base::{DecodeError, OutOfBounds, Reader, Wire, Writer};

/// Bytes that an operation counts besides those of its key and values: those of kinds, lengths and a rule,
/// with a length as large as it can be.
pub const OP_OVERHEAD_BYTES: usize = 8;

/// One operation on one property. Spec: PRP-7.
///
/// ```text
/// 0 set:             0 | key | value            | rule u8 (0 none)
/// 1 delete:          1 | key
/// 2 increment:       2 | key | delta, 8 bytes
/// 3 compare and set: 3 | key | expected or absent | value or absent | rule u8 (0 none)
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PropertyOp {
    /// Sets a value, whatever the previous one.
    Set {
        /// The property.
        key: PropertyKey,
        /// Its new value.
        value: PropertyValue,
        /// Rule of a property that this creates, otherwise without effect. `None` means
        /// [`WriteRule::Creator`].
        rule: Option<WriteRule>,
    },
    /// Deletes a property, which must exist.
    Delete {
        /// The property.
        key: PropertyKey,
    },
    /// Adds to an integer, which must exist.
    Increment {
        /// The property.
        key: PropertyKey,
        /// Amount to add; may be negative.
        delta: i64,
    },
    /// Sets or deletes a property if it has the value that the sender expects.
    CompareAndSet {
        /// The property.
        key: PropertyKey,
        /// Expected value; `None` if the property must not exist.
        expected: Option<PropertyValue>,
        /// New value; `None` to delete the property.
        value: Option<PropertyValue>,
        /// As in [`PropertyOp::Set`].
        rule: Option<WriteRule>,
    },
}

impl PropertyOp {
    /// Sets a value, whatever the previous one, to an integer, a text or bytes; text and bytes are limited to
    /// 65,536 bytes. A property that this creates has [`WriteRule::Creator`] unless [`Self::with_rule`] sets
    /// another rule, so other members cannot write it.
    pub fn set(key: PropertyKey, value: impl Into<PropertyValue>) -> Self {
        Self::Set { key, value: value.into(), rule: None }
    }

    /// Deletes a property, which must exist.
    pub fn delete(key: PropertyKey) -> Self {
        Self::Delete { key }
    }

    /// Adds to an integer, which must exist.
    pub fn increment(key: PropertyKey, delta: i64) -> Self {
        Self::Increment { key, delta }
    }

    /// Sets a property to `value` if its value is `expected`. For `value`, `None` deletes the property; for
    /// `expected`, it means that the property does not exist. A property that this creates has the same write
    /// rule as with [`Self::set`].
    pub fn compare_and_set(
        key: PropertyKey,
        expected: Option<PropertyValue>,
        value: Option<PropertyValue>,
    ) -> Self {
        Self::CompareAndSet { key, expected, value, rule: None }
    }

    /// Sets the rule for a property that the operation creates, if it creates one.
    pub fn with_rule(mut self, new: WriteRule) -> Self {
        if let Self::Set { rule, .. } | Self::CompareAndSet { rule, .. } = &mut self {
            *rule = Some(new);
        }
        self
    }

    /// Returns the bytes that the operation counts toward the rates of a session: at least those of its
    /// change in the event. Spec: LIM-3.
    pub fn counted_bytes(&self) -> usize {
        let values: usize = self.values().map(PropertyValue::counted_bytes).sum();
        let delta = if matches!(self, Self::Increment { .. }) { 8 } else { 0 };
        self.key().as_str().len() + values + delta + OP_OVERHEAD_BYTES
    }

    fn values(&self) -> impl Iterator<Item = &PropertyValue> {
        let values = match self {
            Self::Set { value, .. } => [Some(value), None],
            Self::Delete { .. } | Self::Increment { .. } => [None, None],
            Self::CompareAndSet { expected, value, .. } => [expected.as_ref(), value.as_ref()],
        };
        values.into_iter().flatten()
    }

    /// Returns the key of the property.
    pub fn key(&self) -> &PropertyKey {
        match self {
            Self::Set { key, .. }
            | Self::Delete { key }
            | Self::Increment { key, .. }
            | Self::CompareAndSet { key, .. } => key,
        }
    }
}

fn read_rule(reader: &mut Reader) -> Result<Option<WriteRule>, DecodeError> {
    match reader.u8("write rule")? {
        0 => Ok(None),
        number => WriteRule::from_number(number).map(Some),
    }
}

fn write_rule(rule: Option<WriteRule>, writer: &mut Writer) {
    writer.u8(rule.map_or(0, |rule| rule as u8));
}

impl Wire for PropertyOp {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let kind = reader.u8("property operation")?;
        if kind > 3 {
            return Err(DecodeError::Unknown { what: "property operation", value: u64::from(kind) });
        }
        let key = PropertyKey::read(reader)?;
        Ok(match kind {
            0 => Self::Set { key, value: PropertyValue::read(reader)?, rule: read_rule(reader)? },
            1 => Self::Delete { key },
            2 => Self::Increment { key, delta: reader.i64("delta")? },
            _ => Self::CompareAndSet {
                key,
                expected: PropertyValue::read_optional(reader)?,
                value: PropertyValue::read_optional(reader)?,
                rule: read_rule(reader)?,
            },
        })
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Set { key, value, rule } => {
                writer.u8(0);
                key.write(writer);
                value.write(writer);
                write_rule(*rule, writer);
            }
            Self::Delete { key } => {
                writer.u8(1);
                key.write(writer);
            }
            Self::Increment { key, delta } => {
                writer.u8(2);
                key.write(writer);
                writer.i64(*delta);
            }
            Self::CompareAndSet { key, expected, value, rule } => {
                writer.u8(3);
                key.write(writer);
                PropertyValue::write_optional(expected.as_ref(), writer);
                PropertyValue::write_optional(value.as_ref(), writer);
                write_rule(*rule, writer);
            }
        }
    }
}

/// 1 to 256 operations, carried out in order, all or none. Spec: PRP-8.
///
/// ```text
/// count varint | operations
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PropertyOps(Arc<[PropertyOp]>);

impl PropertyOps {
    /// Checks and wraps a list of operations.
    ///
    /// # Errors
    /// [`OutOfBounds::Range`] when there are none or more than [`MAX_PROPERTIES`],
    /// [`OutOfBounds::Length`] when a value has more than 65,536 bytes.
    pub fn new(ops: Vec<PropertyOp>) -> Result<Self, OutOfBounds> {
        OutOfBounds::check_count("number of property operations", ops.len(), 1, MAX_PROPERTIES)?;
        ops.iter().flat_map(PropertyOp::values).try_for_each(PropertyValue::check)?;
        Ok(Self(ops.into()))
    }

    /// Returns the bytes that all operations count toward the rates of a session.
    pub fn counted_bytes(&self) -> usize {
        self.0.iter().map(PropertyOp::counted_bytes).sum()
    }

    /// Returns the operations in order.
    pub fn as_slice(&self) -> &[PropertyOp] {
        &self.0
    }
}

impl Wire for PropertyOps {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self(reader.list("number of property operations", 1, MAX_PROPERTIES)?.into()))
    }

    fn write(&self, writer: &mut Writer) {
        writer.list(&self.0);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::tests::{any_key, any_rule, any_value};
    use super::*;
    use crate::wire::PropertyChange;
    use crate::wire::command::{InitialProperties, InitialProperty};
    use crate::wire::tests::check_canonical;
    use bytes::Bytes;
    use proptest::option;
    use proptest::prelude::*;

    pub(crate) fn any_op() -> impl Strategy<Value = PropertyOp> {
        prop_oneof![
            (any_key(), any_value(), option::of(any_rule())).prop_map(|(key, value, rule)| PropertyOp::Set {
                key,
                value,
                rule
            }),
            any_key().prop_map(|key| PropertyOp::Delete { key }),
            (any_key(), any::<i64>()).prop_map(|(key, delta)| PropertyOp::Increment { key, delta }),
            (any_key(), option::of(any_value()), option::of(any_value()), option::of(any_rule())).prop_map(
                |(key, expected, value, rule)| PropertyOp::CompareAndSet { key, expected, value, rule }
            ),
        ]
    }

    pub(crate) fn any_ops() -> impl Strategy<Value = PropertyOps> {
        prop::collection::vec(any_op(), 1..6).prop_map(|ops| PropertyOps::new(ops).unwrap())
    }

    // spec-test: PRP-7
    #[test]
    fn known_bytes() {
        let op = PropertyOp::CompareAndSet {
            key: PropertyKey::new("k").unwrap(),
            expected: None,
            value: Some(PropertyValue::Bytes(Bytes::from_static(b"v"))),
            rule: Some(WriteRule::Owner),
        };
        let bytes = [3, 1, b'k', 2, 0, 1, b'v', 1];
        assert_eq!(op.to_bytes(), &bytes[..]);
        assert_eq!(PropertyOp::from_bytes(Bytes::copy_from_slice(&bytes)), Ok(op));
    }

    // spec-test: PRP-4
    #[test]
    fn a_value_that_is_too_long_is_refused_before_it_is_sent() {
        let key = || PropertyKey::new("k").unwrap();
        let text = |bytes: usize| "x".repeat(bytes);
        let value = |bytes| Some(PropertyValue::from(text(bytes)));
        let one = |op| PropertyOps::new(vec![op]).map(|_| ());
        let initial = |bytes| {
            let property = InitialProperty { key: key(), value: text(bytes).into(), rule: WriteRule::Any };
            InitialProperties::new(vec![property]).map(|_| ())
        };
        let long = Err(OutOfBounds::Length { what: PropertyValue::WHAT, bytes: 65_537, min: 0, max: 65_536 });
        assert_eq!([one(PropertyOp::set(key(), text(65_536))), initial(65_536)], [Ok(()), Ok(())]);
        assert_eq!([one(PropertyOp::set(key(), text(65_537))), initial(65_537)], [long, long]);
        assert_eq!(one(PropertyOp::compare_and_set(key(), value(65_537), value(1))), long);
        assert_eq!(one(PropertyOp::compare_and_set(key(), value(1), value(65_537))), long);
    }

    /// The change that an operation causes, with the rule if it may create the property.
    fn change_by(op: &PropertyOp) -> PropertyChange {
        let key = op.key().clone();
        match op {
            PropertyOp::Set { value, .. } | PropertyOp::CompareAndSet { value: Some(value), .. } => {
                PropertyChange::Created { key, value: value.clone(), rule: WriteRule::Any }
            }
            PropertyOp::Increment { delta, .. } => PropertyChange::Set { key, value: (*delta).into() },
            PropertyOp::Delete { .. } | PropertyOp::CompareAndSet { value: None, .. } => {
                PropertyChange::Deleted { key }
            }
        }
    }

    // spec-test: LIM-3
    #[test]
    fn an_operation_counts_at_least_its_change() {
        let key = PropertyKey::new("k").unwrap();
        let value = Bytes::from(vec![0; 65_536]);
        for op in [
            PropertyOp::set(key.clone(), value.clone()),
            PropertyOp::set(key.clone(), ""),
            PropertyOp::delete(key.clone()),
            PropertyOp::increment(key.clone(), 1),
            PropertyOp::compare_and_set(key.clone(), None, Some(value.into())),
            PropertyOp::compare_and_set(key, Some(1.into()), None),
        ] {
            let change = change_by(&op).to_bytes().len();
            assert!((change..change + 20).contains(&op.counted_bytes()), "{op:?}: {change}");
        }
    }

    /// The key has 1 byte, the values 60,000 and 5; and 8 more.
    // spec-test: LIM-3
    #[test]
    fn what_a_compare_and_set_expects_counts_as_well() {
        let key = PropertyKey::new("k").unwrap();
        let expected = || Some(Bytes::from(vec![0; 60_000]).into());
        let counted = |value| PropertyOp::compare_and_set(key.clone(), expected(), value).counted_bytes();
        assert_eq!((counted(None), counted(Some("hello".into()))), (60_009, 60_014));
    }

    // spec-test: PRP-8
    #[test]
    fn no_operation_and_257_are_refused() {
        let op = PropertyOp::Delete { key: PropertyKey::new("k").unwrap() };
        assert!(PropertyOps::new(vec![]).is_err());
        assert!(PropertyOps::new(vec![op.clone(); 256]).is_ok());
        assert!(PropertyOps::new(vec![op; 257]).is_err());
        assert!(PropertyOps::from_bytes(Bytes::from_static(&[0])).is_err());
    }

    proptest! {
        #[test]
        fn operations_are_read_as_they_were_written(ops in any_ops()) {
            prop_assert_eq!(PropertyOps::from_bytes(ops.to_bytes()), Ok(ops));
        }

        #[test]
        fn what_is_accepted_is_canonical(bytes in prop::collection::vec(prop_oneof![8 => 0..5u8, 1 => prop::sample::select(vec![0x3f, 0x40, 0x80, 0xc0])], 0..24)) {
            check_canonical::<PropertyOps>(bytes)?;
        }
    }
}
