//! The properties of one session: operations in, changes out, all or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SessionLimits;
use crate::base::{MemberId, Revision};
use crate::wire::command::InitialProperties;
use crate::wire::{
    ErrorCode, PropertyChange, PropertyChanges, PropertyKey, PropertyOp, PropertyOps, PropertyValue,
    WriteRule,
};

/// Value of a property, and who may change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyEntry {
    /// The value.
    pub value: PropertyValue,
    /// Which members may change the property.
    pub rule: WriteRule,
    /// The member that created it.
    pub creator: MemberId,
}

/// Properties by key.
pub type PropertyMap = BTreeMap<PropertyKey, PropertyEntry>;

/// The properties with their revision.
#[derive(Debug)]
pub(super) struct Properties {
    /// Shared with snapshots; copied on write while a snapshot is in use.
    map: Arc<PropertyMap>,
    /// Bytes of all keys and values.
    bytes: usize,
    revision: Revision,
}

/// The member that changes properties.
pub(super) struct Writer<'a> {
    pub(super) member: MemberId,
    pub(super) is_owner: bool,
    /// Returns whether a member is still in the session.
    pub(super) is_member: &'a dyn Fn(MemberId) -> bool,
}

impl Properties {
    /// Returns the bytes of all keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Creates the initial properties of a session, owned by its first member.
    ///
    /// # Errors
    /// `too_many_properties`, `properties_too_large`.
    pub(super) fn new(
        initial: InitialProperties,
        creator: MemberId,
        limits: &SessionLimits,
    ) -> Result<Self, ErrorCode> {
        let entry = |value, rule| PropertyEntry { value, rule, creator };
        let initial = initial.into_vec().into_iter();
        let map: PropertyMap = initial.map(|new| (new.key, entry(new.value, new.rule))).collect();
        let bytes = map.iter().map(|(key, entry)| counted_bytes(key, entry)).sum();
        check_limits(map.len(), bytes, limits)?;
        Ok(Self { map: Arc::new(map), bytes, revision: Revision(0) })
    }

    pub(super) fn map(&self) -> &Arc<PropertyMap> {
        &self.map
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Computes the effect of operations; nothing changes before [`Properties::commit`].
    ///
    /// # Errors
    /// The code of the first operation that is refused, or of the limit that the operations exceed together.
    // spec: PRP-8
    pub(super) fn stage(
        &self,
        ops: &PropertyOps,
        writer: &Writer<'_>,
        limits: &SessionLimits,
    ) -> Result<Staged, ErrorCode> {
        let mut staged = Staged { touched: BTreeMap::new(), changes: Vec::new(), bytes: self.bytes };
        for op in ops.as_slice() {
            let current = match staged.touched.get(op.key()) {
                Some(entry) => entry.as_ref(),
                None => self.map.get(op.key()),
            };
            let next = outcome(op, current, writer)?;
            staged.bytes -= current.map_or(0, |entry| counted_bytes(op.key(), entry));
            staged.bytes += next.as_ref().map_or(0, |entry| counted_bytes(op.key(), entry));
            staged.changes.push(change(op.key(), current, next.as_ref()));
            staged.touched.insert(op.key().clone(), next);
        }
        let added = staged.touched.iter().filter(|(_, entry)| entry.is_some()).count();
        let known = staged.touched.keys().filter(|key| self.map.contains_key(*key)).count();
        check_limits(self.map.len() - known + added, staged.bytes, limits)?;
        Ok(staged)
    }

    /// Applies what was staged on these same properties.
    pub(super) fn commit(&mut self, staged: Staged) -> (Revision, PropertyChanges) {
        let map = Arc::make_mut(&mut self.map);
        for (key, entry) in staged.touched {
            match entry {
                Some(entry) => map.insert(key, entry),
                None => map.remove(&key),
            };
        }
        self.bytes = staged.bytes;
        self.revision = Revision(self.revision.0 + 1);
        let changes = PropertyChanges::new(staged.changes);
        (self.revision, changes.expect("invariant: one change for each of 1 to 256 operations"))
    }
}

/// The effect of operations.
pub(super) struct Staged {
    touched: BTreeMap<PropertyKey, Option<PropertyEntry>>,
    changes: Vec<PropertyChange>,
    bytes: usize,
}

fn counted_bytes(key: &PropertyKey, entry: &PropertyEntry) -> usize {
    key.as_str().len() + entry.value.counted_bytes()
}

fn check_limits(count: usize, bytes: usize, limits: &SessionLimits) -> Result<(), ErrorCode> {
    if count > limits.max_properties {
        return Err(ErrorCode::TooManyProperties);
    }
    if bytes > limits.max_property_bytes {
        return Err(ErrorCode::PropertiesTooLarge);
    }
    Ok(())
}

/// Computes a property after one operation; `None` if the operation deletes it.
// spec: PRP-7
fn outcome(
    op: &PropertyOp,
    current: Option<&PropertyEntry>,
    writer: &Writer<'_>,
) -> Result<Option<PropertyEntry>, ErrorCode> {
    if let Some(entry) = current {
        check_rule(entry, writer)?;
    }
    match op {
        PropertyOp::Set { value, rule, .. } => set(value, *rule, current, writer).map(Some),
        PropertyOp::Delete { .. } => current.map(|_| None).ok_or(ErrorCode::NoSuchProperty),
        PropertyOp::Increment { delta, .. } => {
            let entry = current.ok_or(ErrorCode::NoSuchProperty)?;
            let PropertyValue::Integer(integer) = entry.value else {
                return Err(ErrorCode::PropertyNotInteger);
            };
            let sum = integer.checked_add(*delta).ok_or(ErrorCode::PropertyOverflow)?;
            Ok(Some(PropertyEntry { value: PropertyValue::Integer(sum), ..entry.clone() }))
        }
        PropertyOp::CompareAndSet { expected, value, rule, .. } => {
            if current.map(|entry| &entry.value) != expected.as_ref() {
                return Err(ErrorCode::PropertyMismatch);
            }
            if current.is_none() && value.is_none() {
                return Err(ErrorCode::NoSuchProperty);
            }
            value.as_ref().map(|value| set(value, *rule, current, writer)).transpose()
        }
    }
}

/// Sets the value of a property, or creates it.
fn set(
    value: &PropertyValue,
    rule: Option<WriteRule>,
    current: Option<&PropertyEntry>,
    writer: &Writer<'_>,
) -> Result<PropertyEntry, ErrorCode> {
    let value = value.clone();
    if let Some(entry) = current {
        return Ok(PropertyEntry { value, ..entry.clone() });
    }
    let rule = rule.unwrap_or(WriteRule::Creator);
    if rule == WriteRule::Owner && !writer.is_owner {
        return Err(ErrorCode::PropertyDenied);
    }
    Ok(PropertyEntry { value, rule, creator: writer.member })
}

// spec: PRP-5
fn check_rule(entry: &PropertyEntry, writer: &Writer<'_>) -> Result<(), ErrorCode> {
    let allowed = match entry.rule {
        WriteRule::Any => true,
        WriteRule::Owner => writer.is_owner,
        WriteRule::Creator if entry.creator == writer.member => true,
        WriteRule::Creator => writer.is_owner && !(writer.is_member)(entry.creator),
    };
    if allowed { Ok(()) } else { Err(ErrorCode::PropertyDenied) }
}

/// Returns the change of a property as the members receive it.
fn change(
    key: &PropertyKey,
    current: Option<&PropertyEntry>,
    next: Option<&PropertyEntry>,
) -> PropertyChange {
    let key = key.clone();
    match (current, next) {
        (_, None) => PropertyChange::Deleted { key },
        (None, Some(entry)) => PropertyChange::Created { key, value: entry.value.clone(), rule: entry.rule },
        (Some(_), Some(entry)) => PropertyChange::Set { key, value: entry.value.clone() },
    }
}

#[cfg(test)]
mod tests;
