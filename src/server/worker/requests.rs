//! Commands with a result: each asks the session table, and the directory if it concerns a limit of the user.

use super::Worker;
use super::client::Seat;
use super::dispatch::{Caller, Scope};
use super::held::Entering;
use crate::base::{RequestId, SessionId, Timestamp, UserId, Wire};
use crate::server::observer::ServerEvent;
use crate::session::{
    Admitted, Departed, Ended, Entrant, Left, MemberAt, MemberRef, SessionTable, WorkerPort,
};
use crate::wire::result::{Entered, Membership};
use crate::wire::{ErrorCode, LeaveReason, Request, Value};

impl Worker {
    /// Carries out a request of the control stream and answers it.
    pub(super) fn user_command(&mut self, now: Timestamp, caller: &Caller, id: RequestId, request: Request) {
        let outcome = match request {
            Request::Create(create) => {
                let create = |table: &SessionTable, entrant: Entrant<'_>, port: &mut dyn WorkerPort| {
                    table.create(now, entrant, create, port)
                };
                self.enter(caller, id, create).map(|admitted| {
                    let Admitted { session, kind, .. } = admitted;
                    self.shared.tell(&ServerEvent::SessionBegan { session, kind, owner: &caller.user });
                    self.tell_admitted(caller, &admitted);
                    None
                })
            }
            Request::Join(join) => {
                let join = |table: &SessionTable, entrant: Entrant<'_>, port: &mut dyn WorkerPort| {
                    table.join(now, entrant, join, port)
                };
                self.enter(caller, id, join).map(|admitted| {
                    self.tell_admitted(caller, &admitted);
                    None
                })
            }
            Request::Decline(decline) => self.decline(now, caller, decline).map(Some),
            Request::Info(session) => self.info(caller, session).map(Some),
            Request::ListMine => self.list_mine(now, caller).map(Some),
            Request::ListInvites => self.list_invites(now, caller).map(Some),
            _ => Err(ErrorCode::UnknownCommand),
        };
        if let Some(outcome) = outcome.transpose() {
            self.answer(now, caller.connection, Scope::User, id, outcome);
        }
    }

    /// Carries out a request about a session that the caller is in.
    pub(super) fn seat_request(
        &mut self,
        now: Timestamp,
        user: &UserId,
        seat: Seat,
        request: Request,
    ) -> Result<Value, ErrorCode> {
        let by = seat.member;
        let departed = match request {
            Request::Leave => self.with_table(|table, port| table.leave(now, by, LeaveReason::Left, port))?,
            Request::Kick(kick) => self.with_table(|table, port| table.kick(now, by, kick, port))?,
            Request::Delete(delete) => {
                self.with_table(|table, port| table.delete(now, by, delete.reason, port))?
            }
            Request::Invite(invite) => return self.invite(now, user, seat, &invite),
            Request::Revoke(revoke) => return self.revoke(now, seat, revoke.number),
            Request::Transfer(transfer) => {
                self.with_table(|table, port| table.transfer(now, by, transfer.member, port))?;
                return Ok(Value::Empty);
            }
            Request::SetProperties(ops) => {
                let revision = self.with_table(|table, port| table.set_properties(now, by, &ops, port))?;
                return Ok(Value::Revision(revision));
            }
            _ => return Err(ErrorCode::UnknownCommand),
        };
        self.departed(now, by.session, &departed);
        Ok(Value::Empty)
    }

    /// Makes the caller a member through `admit`, in a new slot of its connection; the result follows the
    /// snapshot. The session counts for the user from before the entry until its end has been sent. See
    /// `fanout` for both.
    fn enter(
        &mut self,
        caller: &Caller,
        id: RequestId,
        admit: impl FnOnce(&SessionTable, Entrant<'_>, &mut dyn WorkerPort) -> Result<Admitted, ErrorCode>,
    ) -> Result<Admitted, ErrorCode> {
        let Caller { connection, user } = caller;
        let client = self.clients.get(*connection).ok_or(ErrorCode::Busy)?;
        let slot = client.free_slot().ok_or(ErrorCode::TooManySessions)?;
        let at = MemberAt { worker: self.id, connection: *connection, slot, login: client.login };
        let entrant = Entrant { user, at, snapshot_room: self.clients.snapshot_room(*connection) };
        self.shared.directory.reserve_session(user).map_err(|_| ErrorCode::TooManySessions)?;
        let admitted = self.with_table(|table, port| admit(table, entrant, port));
        let Ok(admitted) = admitted else {
            self.shared.directory.release_session(user);
            return admitted;
        };
        if let Some(invite) = admitted.used {
            self.settle_invite(caller, invite);
        }
        let seat = Seat { member: admitted.member_ref(), kind: admitted.kind };
        let entering = Entering::new(slot, id, admitted.snapshot_bytes);
        self.clients.take_seat(*connection, seat, entering);
        Ok(admitted)
    }

    fn tell_admitted(&self, caller: &Caller, admitted: &Admitted) {
        let (Admitted { session, member, replaced, .. }, user) = (*admitted, &caller.user);
        if let Some(member) = replaced {
            let why = LeaveReason::Replaced;
            self.shared.tell(&ServerEvent::MemberLeft { session, member, user, why });
        }
        self.shared.tell(&ServerEvent::MemberJoined { session, member, user });
    }

    /// Handles a leave or the end of a session: notifies the users whose invites ended with it, and the
    /// observer of the server.
    pub(super) fn departed(&mut self, now: Timestamp, session: SessionId, departed: &Departed) {
        self.invites_expired(now, &departed.expired);
        self.invites_revoked(now, &departed.revoked);
        if let Some(Left { member, user, why }) = &departed.left {
            let (member, why) = (*member, *why);
            self.shared.tell(&ServerEvent::MemberLeft { session, member, user, why });
        }
        if let Some(Ended { kind, why, members, properties }) = &departed.ended {
            let members: Vec<_> = members.iter().map(|member| (member.id, &member.user)).collect();
            self.shared.tell(&ServerEvent::SessionEnded {
                session,
                kind: *kind,
                why: *why,
                members: &members,
                properties,
            });
        }
    }

    fn info(&mut self, caller: &Caller, session: SessionId) -> Result<Value, ErrorCode> {
        self.shared.sessions.info(&caller.user, session).map(Value::Info)
    }

    /// Returns the sessions that the caller is in, if the caller's budget covers their bytes.
    // spec: LIM-2
    fn list_mine(&mut self, now: Timestamp, caller: &Caller) -> Result<Value, ErrorCode> {
        let client = self.clients.get_mut(caller.connection).ok_or(ErrorCode::Busy)?;
        let membership = |(slot, Seat { member: MemberRef { session, member }, kind })| Membership {
            entered: Entered { session, slot, member },
            kind,
        };
        let mine = Value::Sessions(client.seats().map(membership).collect());
        match client.budget.take_answer(now, mine.to_bytes().len()) {
            true => Ok(mine),
            false => Err(ErrorCode::RateLimited),
        }
    }
}
