//! The members of one session: by id, by user, and by the worker that serves them.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::MemberAt;
use crate::base::{MemberId, SessionId, UserId, WorkerId};

/// Identifies a member and its session. The member may have left, and the session may have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberRef {
    /// The session.
    pub session: SessionId,
    /// Id of the member in that session.
    pub member: MemberId,
}

/// A member of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Id of the member, never reused in the session.
    pub id: MemberId,
    /// User of the member; a user is in a session at most once.
    pub user: UserId,
    /// Location of the member.
    pub at: MemberAt,
}

/// Distinct workers. Most sessions have members on few of them.
pub(super) type Workers = SmallVec<[WorkerId; 8]>;

/// The members. Ids grow, so the order by id is the order by age.
#[derive(Debug)]
pub(super) struct Members {
    /// By id. Shared with snapshots; copied on write while a snapshot is in use.
    list: Arc<Vec<Member>>,
    by_user: BTreeMap<UserId, MemberId>,
    /// Number of members that each worker serves; workers without members are not listed.
    workers: SmallVec<[(WorkerId, u32); 8]>,
    /// Id of the next new member; `None` when no id is left.
    next: Option<u32>,
}

impl Members {
    /// Creates an empty list; the first member gets id 1.
    pub(super) fn new() -> Self {
        Self { list: Arc::default(), by_user: BTreeMap::new(), workers: SmallVec::new(), next: Some(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn list(&self) -> &Arc<Vec<Member>> {
        &self.list
    }

    pub(super) fn get(&self, id: MemberId) -> Option<&Member> {
        let index = self.list.binary_search_by_key(&id, |member| member.id).ok()?;
        self.list.get(index)
    }

    pub(super) fn id_of(&self, user: &UserId) -> Option<MemberId> {
        self.by_user.get(user).copied()
    }

    /// Returns the longest-standing member.
    pub(super) fn oldest(&self) -> Option<&Member> {
        self.list.first()
    }

    /// Returns true if a member was given this id, even if that member has left.
    pub(super) fn was_given(&self, id: MemberId) -> bool {
        id.0 >= 1 && self.next.is_none_or(|next| id.0 < next)
    }

    /// Returns the id that the next member gets.
    pub(super) fn next_id(&self) -> Option<MemberId> {
        self.next.map(MemberId)
    }

    /// Adds the member with [`Members::next_id`].
    pub(super) fn add(&mut self, id: MemberId, user: UserId, at: MemberAt) {
        debug_assert_eq!(self.next_id(), Some(id));
        self.next = id.0.checked_add(1);
        self.by_user.insert(user.clone(), id);
        match self.workers.iter_mut().find(|(worker, _)| *worker == at.worker) {
            Some((_, members)) => *members += 1,
            None => self.workers.push((at.worker, 1)),
        }
        Arc::make_mut(&mut self.list).push(Member { id, user, at });
    }

    /// Removes a member, if it exists.
    pub(super) fn remove(&mut self, id: MemberId) -> Option<Member> {
        let index = self.list.binary_search_by_key(&id, |member| member.id).ok()?;
        let member = Arc::make_mut(&mut self.list).remove(index);
        self.by_user.remove(&member.user);
        for (worker, members) in &mut self.workers {
            if *worker == member.at.worker {
                *members -= 1;
            }
        }
        self.workers.retain(|(_, members)| *members > 0);
        Some(member)
    }

    /// Returns the workers that serve members.
    pub(super) fn workers(&self) -> Workers {
        self.workers.iter().map(|(worker, _)| *worker).collect()
    }

    /// Returns the worker that serves most members, the first one on a tie.
    pub(super) fn busiest(&self) -> Option<WorkerId> {
        let most = self.workers.iter().rev().max_by_key(|(_, members)| *members);
        most.map(|(worker, _)| *worker)
    }

    /// Returns the workers that serve members, and `also`.
    pub(super) fn workers_and(&self, also: WorkerId) -> Workers {
        let mut workers = self.workers();
        if !workers.contains(&also) {
            workers.push(also);
        }
        workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ConnectionId, LoginNumber, Slot};

    fn at(worker: u8) -> MemberAt {
        MemberAt {
            worker: WorkerId(worker),
            connection: ConnectionId(1),
            slot: Slot(1),
            login: LoginNumber(1),
        }
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[test]
    fn a_worker_counts_while_it_serves_a_member() {
        let mut members = Members::new();
        members.add(MemberId(1), user("ann"), at(3));
        members.add(MemberId(2), user("bob"), at(3));
        members.add(MemberId(3), user("cat"), at(0));
        assert_eq!(members.workers().as_slice(), [WorkerId(3), WorkerId(0)]);
        assert_eq!(members.busiest(), Some(WorkerId(3)));
        members.remove(MemberId(1));
        assert_eq!(members.busiest(), Some(WorkerId(3)), "of two alike the first");
        assert_eq!(members.workers().len(), 2);
        members.remove(MemberId(2));
        assert_eq!(members.workers().as_slice(), [WorkerId(0)]);
        assert_eq!(members.workers_and(WorkerId(0)).len(), 1);
    }

    #[test]
    fn an_id_is_never_given_again() {
        let mut members = Members::new();
        members.add(MemberId(1), user("ann"), at(0));
        assert!(members.remove(MemberId(1)).is_some() && members.remove(MemberId(1)).is_none());
        assert_eq!(members.next_id(), Some(MemberId(2)));
        assert!(members.was_given(MemberId(1)) && !members.was_given(MemberId(2)));
        assert!(!members.was_given(MemberId(0)));
    }

    // spec-test: SES-2
    #[test]
    fn the_last_id_is_given_once_and_none_after_it() {
        let mut members = Members { next: Some(u32::MAX), ..Members::new() };
        members.add(MemberId(u32::MAX), user("ann"), at(0));
        assert_eq!(members.next_id(), None);
        assert!(members.was_given(MemberId(u32::MAX)));
    }

    #[test]
    fn a_list_that_is_out_does_not_change() {
        let mut members = Members::new();
        members.add(MemberId(1), user("ann"), at(0));
        let out = Arc::clone(members.list());
        members.add(MemberId(2), user("bob"), at(0));
        assert_eq!((out.len(), members.len()), (1, 2));
    }
}
