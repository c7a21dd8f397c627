//! The rules of properties, written a second time: what a command does, or why it is refused, and what
//! follows from the changes that members are told of.

use std::collections::BTreeMap;

use crate::base::MemberId;
use crate::client::core::Mirror;
use crate::wire::{ErrorCode, Property, PropertyChange, PropertyKey, PropertyOp, PropertyValue, WriteRule};

/// Maximum number of a session's properties.
const MOST: usize = 256;
/// Maximum size of a session's properties, in bytes of keys and values.
const MOST_BYTES: usize = 65_536;
/// Bytes that an integer counts.
const INTEGER_BYTES: usize = 8;

/// The properties of a session, with what decides who may change them.
#[derive(Clone)]
pub(super) struct Properties<'a> {
    all: BTreeMap<PropertyKey, Property>,
    session: &'a Mirror,
}

impl<'a> Properties<'a> {
    /// Returns the properties as a member knows them.
    pub(super) fn of(session: &'a Mirror) -> Self {
        let all = session.properties().map(|property| (property.key.clone(), property.clone()));
        Self { all: all.collect(), session }
    }

    /// Carries out a command of `member`. Returns its changes, or the reason to refuse it.
    // spec: PRP-2, PRP-8, PRP-9
    pub(super) fn carry_out(
        &mut self,
        member: MemberId,
        ops: &[PropertyOp],
    ) -> Result<Vec<PropertyChange>, ErrorCode> {
        let mut changes = Vec::new();
        for op in ops {
            let change = self.change(member, op)?;
            self.apply(member, &change);
            changes.push(change);
        }
        if self.all.len() > MOST {
            return Err(ErrorCode::TooManyProperties);
        }
        if self.bytes() > MOST_BYTES {
            return Err(ErrorCode::PropertiesTooLarge);
        }
        Ok(changes)
    }

    /// Applies a change made by `member`; false if it contradicts what is there.
    pub(super) fn apply(&mut self, member: MemberId, change: &PropertyChange) -> bool {
        match change {
            PropertyChange::Created { key, value, rule } => {
                let created =
                    Property { key: key.clone(), value: value.clone(), rule: *rule, creator: member };
                self.all.insert(key.clone(), created).is_none()
            }
            PropertyChange::Set { key, value } => {
                let known = self.all.get_mut(key);
                known.map(|property| property.value = value.clone()).is_some()
            }
            PropertyChange::Deleted { key } => self.all.remove(key).is_some(),
        }
    }

    /// Whether a member knows exactly these properties.
    pub(super) fn are_those_of(&self, mirror: &Mirror) -> bool {
        self.all.values().eq(mirror.properties())
    }

    /// Returns the change that an operation makes.
    // spec: PRP-5, PRP-7
    fn change(&self, member: MemberId, op: &PropertyOp) -> Result<PropertyChange, ErrorCode> {
        let key = op.key().clone();
        let known = self.all.get(&key);
        if known.is_some_and(|property| !self.may_write(member, property)) {
            return Err(ErrorCode::PropertyDenied);
        }
        match op {
            PropertyOp::Set { value, rule, .. } => self.set(member, key, value, *rule),
            PropertyOp::Delete { .. } if known.is_none() => Err(ErrorCode::NoSuchProperty),
            PropertyOp::Delete { .. } => Ok(PropertyChange::Deleted { key }),
            PropertyOp::Increment { delta, .. } => match known.map(|property| &property.value) {
                None => Err(ErrorCode::NoSuchProperty),
                Some(PropertyValue::Bytes(_)) => Err(ErrorCode::PropertyNotInteger),
                Some(PropertyValue::Integer(old)) => {
                    let sum = i64::try_from(i128::from(*old) + i128::from(*delta));
                    let value = PropertyValue::Integer(sum.map_err(|_| ErrorCode::PropertyOverflow)?);
                    Ok(PropertyChange::Set { key, value })
                }
            },
            PropertyOp::CompareAndSet { expected, value, rule, .. } => {
                match (known.map(|property| &property.value) == expected.as_ref(), value) {
                    (false, _) => Err(ErrorCode::PropertyMismatch),
                    (true, Some(value)) => self.set(member, key, value, *rule),
                    (true, None) if known.is_none() => Err(ErrorCode::NoSuchProperty),
                    (true, None) => Ok(PropertyChange::Deleted { key }),
                }
            }
        }
    }

    fn set(
        &self,
        member: MemberId,
        key: PropertyKey,
        value: &PropertyValue,
        rule: Option<WriteRule>,
    ) -> Result<PropertyChange, ErrorCode> {
        let value = value.clone();
        match rule.unwrap_or(WriteRule::Creator) {
            _ if self.all.contains_key(&key) => Ok(PropertyChange::Set { key, value }),
            WriteRule::Owner if member != self.session.owner() => Err(ErrorCode::PropertyDenied),
            rule => Ok(PropertyChange::Created { key, value, rule }),
        }
    }

    fn may_write(&self, member: MemberId, property: &Property) -> bool {
        let is_owner = member == self.session.owner();
        match property.rule {
            WriteRule::Any => true,
            WriteRule::Owner => is_owner,
            WriteRule::Creator if self.session.user(property.creator).is_none() => is_owner,
            WriteRule::Creator => member == property.creator,
        }
    }

    fn bytes(&self) -> usize {
        let of_value = |value: &PropertyValue| match value {
            PropertyValue::Bytes(bytes) => bytes.len(),
            PropertyValue::Integer(_) => INTEGER_BYTES,
        };
        self.all.values().map(|property| property.key.as_str().len() + of_value(&property.value)).sum()
    }
}
