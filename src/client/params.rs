//! Parameters of commands: sessions to create, users to invite.

use std::time::Duration;

use bytes::Bytes;

use super::core::RequestError;
use crate::base::{SessionKind, UserId};
use crate::wire::command::{Create, InitialProperties, InitialProperty, Invite, InvitedUsers};
use crate::wire::{
    Admission, IdleTtl, InviteTtl, MaxMembers, Note, OnOwnerLeave, PropertyKey, PropertyValue, Settings,
    WriteRule,
};

/// A session to create. Defaults: 8 seats, invited users only, kept for a minute when empty, ownership passed
/// to the longest-standing member when the owner leaves, no properties.
///
/// Values out of range are reported when the session is requested: by `Client::create`, or
/// [`CreateSession::build`].
#[must_use]
#[derive(Debug, Clone)]
pub struct CreateSession {
    kind: SessionKind,
    max_members: u16,
    idle_ttl: Duration,
    on_owner_leave: OnOwnerLeave,
    admission: Admission,
    properties: Vec<(String, PropertyValue, WriteRule)>,
}

impl CreateSession {
    /// Describes a session of `kind`, a class defined by the app.
    pub fn new(kind: u16) -> Self {
        Self {
            kind: SessionKind(kind),
            max_members: 8,
            idle_ttl: Duration::from_secs(60),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission: Admission::Invited,
            properties: Vec::new(),
        }
    }

    /// Sets the number of seats, 1 to 1,024.
    pub fn max_members(mut self, seats: u16) -> Self {
        self.max_members = seats;
        self
    }

    /// Sets how long the session is kept when empty, 0 to 86,400 s; fractions of a second are rounded up.
    pub fn idle_ttl(mut self, ttl: Duration) -> Self {
        self.idle_ttl = ttl;
        self
    }

    /// Lets anyone who knows the session's id join.
    pub fn open(mut self) -> Self {
        self.admission = Admission::Open;
        self
    }

    /// Deletes the session when its owner leaves.
    pub fn delete_when_owner_leaves(mut self) -> Self {
        self.on_owner_leave = OnOwnerLeave::Delete;
        self
    }

    /// Adds a property.
    pub fn property(mut self, key: &str, value: impl Into<PropertyValue>, rule: WriteRule) -> Self {
        self.properties.push((key.to_owned(), value.into(), rule));
        self
    }

    /// Adds a property of bytes.
    pub fn bytes(self, key: &str, value: impl Into<Bytes>, rule: WriteRule) -> Self {
        self.property(key, PropertyValue::Bytes(value.into()), rule)
    }

    /// Adds an integer property, which can be incremented.
    pub fn integer(self, key: &str, value: i64, rule: WriteRule) -> Self {
        self.property(key, PropertyValue::Integer(value), rule)
    }

    /// Builds the command, for [`Core::request`](super::core::Core::request).
    ///
    /// # Errors
    /// [`RequestError::Illegal`], naming the value that is out of range.
    pub fn build(self) -> Result<Create, RequestError> {
        let property = |(key, value, rule): (String, PropertyValue, WriteRule)| {
            Ok(InitialProperty { key: PropertyKey::new(&key)?, value, rule })
        };
        let properties: Result<Vec<_>, RequestError> = self.properties.into_iter().map(property).collect();
        Ok(Create {
            settings: Settings {
                kind: self.kind,
                max_members: MaxMembers::new(self.max_members)?,
                idle_ttl: IdleTtl::new(seconds(self.idle_ttl))?,
                on_owner_leave: self.on_owner_leave,
                admission: self.admission,
            },
            properties: InitialProperties::new(properties?)?,
        })
    }
}

/// Users to invite. Defaults: valid for 60 s, no note, no held seats.
///
/// Values out of range are reported when the users are invited: by `Client::invite`, or
/// [`InviteUsers::build`].
#[must_use]
#[derive(Debug, Clone)]
pub struct InviteUsers {
    users: Vec<UserId>,
    ttl: Duration,
    note: String,
    hold_seat: bool,
}

impl InviteUsers {
    /// Invites `users`: 1 to 64, none twice.
    pub fn new(users: impl IntoIterator<Item = UserId>) -> Self {
        let users = users.into_iter().collect();
        Self { users, ttl: Duration::from_secs(60), note: String::new(), hold_seat: false }
    }

    /// Sets how long the invites are valid, 1 to 86,400 s; fractions of a second are rounded up.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets a note to the users, at most 256 bytes.
    pub fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }

    /// Holds a seat for each user while the invite is valid, so that nobody else can take it. The answer for
    /// a user with no seat left is `session_full`. Spec: INV-9.
    pub fn hold_seat(mut self) -> Self {
        self.hold_seat = true;
        self
    }

    #[cfg(feature = "client")]
    pub(super) fn users(&self) -> &[UserId] {
        &self.users
    }

    /// Builds the command, for [`Core::request_in`](super::core::Core::request_in).
    ///
    /// # Errors
    /// [`RequestError::Illegal`], naming the value that is out of range.
    pub fn build(&self) -> Result<Invite, RequestError> {
        Ok(Invite {
            users: InvitedUsers::new(self.users.clone())?,
            ttl: InviteTtl::new(seconds(self.ttl))?,
            hold_seat: self.hold_seat,
            note: Note::new(&self.note)?,
        })
    }
}

/// Returns whole seconds, rounded up.
fn seconds(time: Duration) -> u32 {
    let whole = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    u32::try_from(whole).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::OutOfBounds;

    #[test]
    fn what_is_out_of_range_is_named_before_anything_is_sent() {
        let refused = |create: CreateSession| match create.build() {
            Err(RequestError::Illegal(
                OutOfBounds::Range { what, .. }
                | OutOfBounds::Length { what, .. }
                | OutOfBounds::Repeated { what },
            )) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(CreateSession::new(1).max_members(0)), "max members");
        assert_eq!(refused(CreateSession::new(1).idle_ttl(Duration::from_secs(86_401))), "idle ttl");
        assert_eq!(refused(CreateSession::new(1).integer("", 1, WriteRule::Any)), "property key");
        let long = vec![0; (64 << 10) + 1];
        assert_eq!(refused(CreateSession::new(1).bytes("k", long, WriteRule::Any)), "property value");
        let twice = CreateSession::new(1).integer("k", 1, WriteRule::Any).integer("k", 2, WriteRule::Any);
        assert_eq!(refused(twice), "initial properties");
        assert!(InviteUsers::new([]).build().is_err());
    }

    #[test]
    fn parts_of_a_second_count_as_a_whole_one() {
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(3)), 3);
        assert_eq!(seconds(Duration::MAX), u32::MAX);
    }
}
