//! Invites: the session decides, and the directory keeps them for users that are not in the session,
//! connected or not.
//!
//! The two are locked one after the other, never together: an invite is reserved in the directory first, and
//! committed or cancelled once the session has answered.

use super::Worker;
use super::client::Seat;
use super::dispatch::Caller;
use crate::base::codec::varint_len;
use crate::base::{InviteId, Timestamp, UserId};
use crate::server::directory::{InviteNews, OpenInvite};
use crate::server::mail::{Post, Word};
use crate::session::{EndedInvite, Expired, Inviting, NewInvite};
use crate::wire::command::{Decline, Invite};
use crate::wire::result::MAX_LISTED;
use crate::wire::{ErrorCode, UserEvent, Value};

impl Worker {
    /// Invites users; each gets its own answer.
    // spec: INV-6
    pub(super) fn invite(
        &mut self,
        now: Timestamp,
        by: &UserId,
        seat: Seat,
        invite: &Invite,
    ) -> Result<Value, ErrorCode> {
        // Users are notified by mail that cannot be refused, so a server that is behind stops here.
        if !self.shared.mailboxes.have_room() {
            return Err(ErrorCode::Busy);
        }
        let directory = &self.shared.directory;
        let users = invite.users.as_slice();
        let reserve = |user: &UserId| directory.reserve_invite(now, user, by, seat.member.session).is_ok();
        let reserved: Vec<bool> = users.iter().map(reserve).collect();
        let let_through = users.iter().zip(&reserved).filter(|(_, reserved)| **reserved);
        let let_through: Vec<UserId> = let_through.map(|(user, _)| user.clone()).collect();
        let inviting =
            self.with_table(|table, port| table.invite(now, seat.member, invite, &let_through, port));
        let inviting = match inviting {
            Ok(inviting) => inviting,
            Err(code) => {
                let_through.iter().for_each(|user| self.shared.directory.cancel_invite(user, by));
                return Err(code);
            }
        };
        let mut answers = self.commit_invites(now, &inviting, &let_through).into_iter();
        let answer = |reserved| match reserved {
            true => answers.next().unwrap_or(Err(ErrorCode::Busy)),
            false => Err(ErrorCode::TooManyInvites),
        };
        Ok(Value::Invited(reserved.into_iter().map(answer).collect()))
    }

    /// Enters the session's answers for `users`, whose invites are reserved, in the directory.
    fn commit_invites(
        &mut self,
        now: Timestamp,
        inviting: &Inviting,
        users: &[UserId],
    ) -> Vec<Result<u32, ErrorCode>> {
        let mut answers = Vec::with_capacity(users.len());
        for (user, answer) in users.iter().zip(&inviting.users) {
            match answer {
                Ok(NewInvite { invite, replaced }) => {
                    let open = OpenInvite {
                        id: *invite,
                        kind: inviting.kind,
                        owner: inviting.owner.clone(),
                        expires: inviting.expires,
                        note: inviting.note.clone(),
                    };
                    let mut post = Post::new(&self.shared.mailboxes, &mut self.to_wake);
                    self.shared.directory.commit_invite(now, user, open, *replaced, |connection, news| {
                        let event = match news {
                            InviteNews::Invited(open) => UserEvent::Invited(open.invitation(now)),
                            InviteNews::Revoked(invite) => UserEvent::InviteRevoked { invite },
                        };
                        post.to_user(connection, Word::Event(event));
                    });
                    answers.push(Ok(invite.number));
                }
                Err(code) => {
                    self.shared.directory.cancel_invite(user, &inviting.owner);
                    answers.push(Err(*code));
                }
            }
        }
        answers
    }

    /// Revokes an invite on behalf of the owner.
    pub(super) fn revoke(&mut self, now: Timestamp, seat: Seat, number: u32) -> Result<Value, ErrorCode> {
        let ended = self.with_table(|table, port| table.revoke(now, seat.member, number, port))?;
        self.invites_revoked(now, &[ended]);
        Ok(Value::Empty)
    }

    /// Declines an invite on behalf of its user; the owner is notified by mail.
    pub(super) fn decline(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        decline: Decline,
    ) -> Result<Value, ErrorCode> {
        let invite = decline.invite;
        self.with_table(|table, port| table.decline(now, &caller.user, decline, port))?;
        self.settle_invite(caller, invite);
        Ok(Value::Empty)
    }

    /// Removes an invite that the caller has used or declined. A newer connection of the user may have been
    /// notified of it since, and is then notified of its end.
    pub(super) fn settle_invite(&mut self, caller: &Caller, invite: InviteId) {
        let mut post = Post::new(&self.shared.mailboxes, &mut self.to_wake);
        self.shared.directory.settle_invite(&caller.user, invite, |live| {
            if live != caller.connection {
                post.to_user(live, Word::Event(UserEvent::InviteRevoked { invite }));
            }
        });
    }

    /// Returns the caller's open invites if the caller's budget covers their bytes, which are counted before
    /// the list is made: a request of three bytes asks for thousands.
    // spec: LIM-2
    pub(super) fn list_invites(&mut self, now: Timestamp, caller: &Caller) -> Result<Value, ErrorCode> {
        let client = self.clients.get_mut(caller.connection).ok_or(ErrorCode::Busy)?;
        self.shared.directory.read_invites(&caller.user, |open| {
            // One that has just been replaced may still be listed here.
            let listed = open.get(..MAX_LISTED).unwrap_or(open);
            if !client.budget.take_answer(now, list_bytes(now, listed)) {
                return Err(ErrorCode::RateLimited);
            }
            Ok(Value::Invites(listed.iter().map(|invite| invite.invitation(now)).collect()))
        })
    }

    /// Handles what a stripe's deadlines have ended.
    pub(super) fn expired(&mut self, now: Timestamp, expired: Vec<Expired>) {
        for expired in expired {
            match expired {
                Expired::Invite(ended) => self.invites_expired(now, &[ended]),
                Expired::Session(session, departed) => {
                    self.departed(now, session, &departed);
                }
            }
        }
    }

    /// Notifies users that the time of their invites is over.
    pub(super) fn invites_expired(&mut self, now: Timestamp, expired: &[EndedInvite]) {
        for EndedInvite { invite, user } in expired {
            let event = UserEvent::InviteExpired { invite: *invite, user: None };
            self.withdraw_invite(now, user, *invite, event);
        }
    }

    /// Notifies users that their invites no longer admit.
    pub(super) fn invites_revoked(&mut self, now: Timestamp, revoked: &[EndedInvite]) {
        for EndedInvite { invite, user } in revoked {
            self.withdraw_invite(now, user, *invite, UserEvent::InviteRevoked { invite: *invite });
        }
    }

    fn withdraw_invite(&mut self, now: Timestamp, user: &UserId, invite: InviteId, event: UserEvent) {
        let mut post = Post::new(&self.shared.mailboxes, &mut self.to_wake);
        self.shared.directory.withdraw_invite(now, user, invite, |connection| {
            post.to_user(connection, Word::Event(event));
        });
    }
}

/// Returns the bytes of a list of these invites on the wire: the kind of value, their number, and each.
fn list_bytes(now: Timestamp, invites: &[OpenInvite]) -> usize {
    let each = invites.iter().map(|invite| invite.invitation_bytes(now));
    1 + varint_len(invites.len() as u64) + each.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SessionId, SessionKind, Wire};
    use crate::wire::Note;

    // spec-test: LIM-2
    #[test]
    fn a_list_is_as_long_as_is_said_before_it_is_made() {
        let invite = OpenInvite {
            id: InviteId { session: SessionId(7), number: 1 },
            kind: SessionKind(1),
            owner: UserId::new("ann").unwrap(),
            expires: Timestamp::from_millis(1_000),
            note: Note::none(),
        };
        for count in [0, 1, 63, 64, MAX_LISTED] {
            let invites = vec![invite.clone(); count];
            let list = Value::Invites(invites.iter().map(|it| it.invitation(Timestamp::ZERO)).collect());
            assert_eq!(list_bytes(Timestamp::ZERO, &invites), list.to_bytes().len());
        }
    }
}
