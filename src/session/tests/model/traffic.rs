//! Traffic between members of the [`Reference`], and its properties.

use super::reference::{At, Event, Reference};
use super::*;
use crate::wire::{PropertyChange, PropertyValue, WriteRule};

impl Reference {
    pub(super) fn broadcast(
        &mut self,
        sender: MemberId,
        (delivery, to): (Delivery, To),
        at: &At<'_>,
    ) -> Result<(), ErrorCode> {
        self.user_of(sender).ok_or(ErrorCode::NotAMember)?;
        self.room_for_all(at)?;
        if delivery == Delivery::ReliableOrdered {
            self.log.push(Event::Message(sender, to));
        } else {
            let ids = self.members.iter().map(|(id, _)| *id);
            self.received = ids.filter(|id| to == To::All || *id != sender).collect();
        }
        Ok(())
    }

    pub(super) fn message(
        &mut self,
        sender: MemberId,
        to: &[MemberId],
        at: &At<'_>,
    ) -> Result<(), ErrorCode> {
        self.user_of(sender).ok_or(ErrorCode::NotAMember)?;
        let strangers = to.iter().any(|id| id.0 == 0 || id.0 > self.joined);
        let there: Vec<_> = self.members.iter().filter(|(id, _)| to.contains(id)).collect();
        if strangers || there.is_empty() {
            return Err(ErrorCode::NoSuchMember);
        }
        if there.iter().any(|(_, user)| at.full.contains(&super::at(user.as_str()).worker)) {
            return Err(ErrorCode::Busy);
        }
        self.received = there.iter().map(|(id, _)| *id).collect();
        Ok(())
    }

    /// Applies the operations one by one, and restores the previous properties if one of them fails.
    pub(super) fn set_properties(
        &mut self,
        member: MemberId,
        ops: &[PropertyOp],
        at: &At<'_>,
    ) -> Result<u64, ErrorCode> {
        self.user_of(member).ok_or(ErrorCode::NotAMember)?;
        let before = self.properties.clone();
        let changes: Result<Vec<_>, _> = ops.iter().map(|op| self.apply(member, op)).collect();
        let checked = changes.and_then(|changes| {
            let too_many = self.properties.len() > limits().max_properties;
            if too_many { Err(ErrorCode::TooManyProperties) } else { Ok(changes) }
        });
        let changes = checked.and_then(|changes| self.room_for_all(at).map(|()| changes));
        if changes.is_err() {
            self.properties = before;
        }
        self.revision += u64::from(changes.is_ok());
        self.log.push(Event::Properties(member, self.revision, changes?));
        Ok(self.revision)
    }

    fn apply(&mut self, by: MemberId, op: &PropertyOp) -> Result<PropertyChange, ErrorCode> {
        let key = op.key().clone();
        let current = self.properties.get(&key).cloned();
        if current.as_ref().is_some_and(|entry| !self.may_write(by, entry)) {
            return Err(ErrorCode::PropertyDenied);
        }
        let old = current.map(|entry| entry.value);
        let (new, rule) = match op {
            PropertyOp::Set { value, rule, .. } => (Some(value.clone()), *rule),
            PropertyOp::CompareAndSet { expected, .. } if *expected != old => {
                return Err(ErrorCode::PropertyMismatch);
            }
            PropertyOp::CompareAndSet { value: None, .. } if old.is_none() => {
                return Err(ErrorCode::NoSuchProperty);
            }
            PropertyOp::CompareAndSet { value, rule, .. } => (value.clone(), *rule),
            PropertyOp::Delete { .. } if old.is_some() => (None, None),
            PropertyOp::Increment { delta, .. } if old.is_some() => {
                let Some(PropertyValue::Integer(old)) = old else {
                    return Err(ErrorCode::PropertyNotInteger);
                };
                let sum = i64::try_from(i128::from(old) + i128::from(*delta));
                (Some(PropertyValue::Integer(sum.map_err(|_| ErrorCode::PropertyOverflow)?)), None)
            }
            PropertyOp::Delete { .. } | PropertyOp::Increment { .. } => {
                return Err(ErrorCode::NoSuchProperty);
            }
        };
        let Some(value) = new else {
            self.properties.remove(&key);
            return Ok(PropertyChange::Deleted { key });
        };
        if let Some(entry) = self.properties.get_mut(&key) {
            entry.value = value.clone();
            return Ok(PropertyChange::Set { key, value });
        }
        let rule = rule.unwrap_or(WriteRule::Creator);
        if rule == WriteRule::Owner && by != self.owner {
            return Err(ErrorCode::PropertyDenied);
        }
        self.properties.insert(key.clone(), PropertyEntry { value: value.clone(), rule, creator: by });
        Ok(PropertyChange::Created { key, value, rule })
    }

    fn may_write(&self, by: MemberId, entry: &PropertyEntry) -> bool {
        let is_owner = by == self.owner;
        match entry.rule {
            WriteRule::Any => true,
            WriteRule::Owner => is_owner,
            WriteRule::Creator => entry.creator == by || (is_owner && self.user_of(entry.creator).is_none()),
        }
    }

    fn room_for_all(&self, at: &At<'_>) -> Result<(), ErrorCode> {
        let mut workers = self.members.iter().map(|(_, user)| super::at(user.as_str()).worker);
        if workers.any(|worker| at.full.contains(&worker)) { Err(ErrorCode::Busy) } else { Ok(()) }
    }
}
