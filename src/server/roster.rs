//! Rosters: the members of each session that a worker serves.
//!
//! Changed only by the worker's mail, in order, so that mail need not list members: an event goes to the
//! members that are in the roster when it is handled.

use std::collections::hash_map;

use super::keys::KeyTable;
use crate::base::{ConnectionId, IdMap, MemberId, SessionId, Slot, UserId};

/// The rosters of one worker, by session. A session without local members has none.
#[derive(Debug, Default)]
pub struct Rosters {
    sessions: IdMap<SessionId, Roster>,
}

/// The local members of one session.
#[derive(Debug, Default)]
pub struct Roster {
    /// By member id.
    members: Vec<LocalMember>,
    /// Keys on the streams of these members.
    pub keys: KeyTable,
}

/// A member whose connection is on this worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMember {
    /// The member.
    pub member: MemberId,
    /// User of the member.
    pub user: UserId,
    /// The connection that it joined on.
    pub connection: ConnectionId,
    /// Slot of the session in that connection.
    pub slot: Slot,
}

impl Rosters {
    /// Returns the roster of `session`, if it has local members.
    pub fn get(&self, session: SessionId) -> Option<&Roster> {
        self.sessions.get(&session)
    }

    /// Like [`Self::get`], to change its keys.
    pub fn get_mut(&mut self, session: SessionId) -> Option<&mut Roster> {
        self.sessions.get_mut(&session)
    }

    /// Adds a member.
    pub fn join(&mut self, session: SessionId, member: LocalMember) {
        let members = &mut self.sessions.entry(session).or_default().members;
        // Ids grow, so this is the end of the list, except for members that joined at the same moment.
        let at = members.partition_point(|other| other.member < member.member);
        members.insert(at, member);
    }

    /// Removes a member and returns it; `None` if it is not local.
    pub fn leave(&mut self, session: SessionId, member: MemberId) -> Option<LocalMember> {
        let hash_map::Entry::Occupied(mut entry) = self.sessions.entry(session) else { return None };
        let members = &mut entry.get_mut().members;
        let at = members.binary_search_by_key(&member, |local| local.member).ok()?;
        let left = members.remove(at);
        if members.is_empty() {
            entry.remove();
        }
        Some(left)
    }

    /// Removes a session and returns its local members.
    pub fn end(&mut self, session: SessionId) -> Vec<LocalMember> {
        self.sessions.remove(&session).map(|roster| roster.members).unwrap_or_default()
    }

    /// Returns true if no session has local members.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

impl Roster {
    /// Returns the local members by id.
    pub fn members(&self) -> &[LocalMember] {
        &self.members
    }

    /// Returns the local member with this id.
    pub fn member(&self, member: MemberId) -> Option<&LocalMember> {
        let at = self.members.binary_search_by_key(&member, |local| local.member).ok()?;
        self.members.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(7);

    fn local(member: u32) -> LocalMember {
        LocalMember {
            member: MemberId(member),
            user: UserId::new("ann").unwrap(),
            connection: ConnectionId(member),
            slot: Slot(1),
        }
    }

    #[test]
    fn members_stay_sorted_whatever_the_order() {
        let mut rosters = Rosters::default();
        for member in [2, 9, 4] {
            rosters.join(SESSION, local(member));
        }
        let roster = rosters.get(SESSION).unwrap();
        assert_eq!(roster.members(), [local(2), local(4), local(9)]);
        assert_eq!(roster.member(MemberId(4)), Some(&local(4)));
        assert_eq!(roster.member(MemberId(5)), None);
    }

    #[test]
    fn a_roster_ends_with_its_last_member() {
        let mut rosters = Rosters::default();
        rosters.join(SESSION, local(1));
        rosters.join(SESSION, local(2));
        assert_eq!(rosters.leave(SESSION, MemberId(3)), None);
        assert_eq!(rosters.leave(SESSION, MemberId(1)), Some(local(1)));
        assert_eq!(rosters.leave(SESSION, MemberId(1)), None, "only once");
        assert_eq!(rosters.end(SESSION), [local(2)]);
        assert!(rosters.is_empty() && rosters.get(SESSION).is_none());
    }
}
