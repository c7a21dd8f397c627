//! The commands that are answered: each asks the session table, and the directory where a limit
//! of the user is touched.

use super::Worker;
use super::clients::Seat;
use super::dispatch::Caller;
use crate::base::{SessionId, Timestamp, UserId};
use crate::session::{Admitted, Departed, MemberAt, Outbox, SessionTable};
use crate::wire::result::{Entered, Membership};
use crate::wire::{ErrorCode, LeaveReason, Request, Value};

impl Worker {
    /// Carries out a request of the control stream.
    pub(super) fn user_request(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        request: Request,
    ) -> Result<Value, ErrorCode> {
        match request {
            Request::Create(create) => {
                self.enter(caller, |table, at, outbox| table.create(now, &caller.user, at, create, outbox))
            }
            Request::Join(join) => {
                self.enter(caller, |table, at, outbox| table.join(now, &caller.user, at, join, outbox))
            }
            Request::Decline(decline) => self.decline(now, caller, decline),
            Request::Info(session) => self.info(caller, session),
            Request::ListMine => Ok(self.list_mine(caller)),
            Request::ListInvites => Ok(self.list_invites(now, caller)),
            _ => Err(ErrorCode::UnknownCommand),
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
        let at = (seat.session, seat.member);
        match request {
            Request::Invite(invite) => self.invite(now, user, seat, &invite),
            Request::Revoke(revoke) => self.revoke(now, seat, revoke.number),
            Request::Leave => self
                .with_table(|table, outbox| table.leave(now, at, LeaveReason::Left, outbox))
                .map(|departed| self.departed(&departed)),
            Request::Kick(kick) => self
                .with_table(|table, outbox| table.kick(now, at, kick, outbox))
                .map(|departed| self.departed(&departed)),
            Request::Delete(delete) => self
                .with_table(|table, outbox| table.delete(now, at, delete.reason, outbox))
                .map(|departed| self.departed(&departed)),
            Request::Transfer(transfer) => self
                .with_table(|table, outbox| table.transfer(now, at, transfer.member, outbox))
                .map(|()| Value::Empty),
            Request::SetProperties(ops) => self
                .with_table(|table, outbox| table.set_properties(now, at, &ops, outbox))
                .map(Value::Revision),
            _ => Err(ErrorCode::UnknownCommand),
        }
    }

    /// Makes the caller a member by `admit`, in a new slot of its connection. The session counts
    /// for the user from before it is entered until its end is told, see `fanout`.
    fn enter(
        &mut self,
        caller: &Caller,
        admit: impl FnOnce(&SessionTable, MemberAt, &mut dyn Outbox) -> Result<Admitted, ErrorCode>,
    ) -> Result<Value, ErrorCode> {
        let Caller { connection, user } = caller;
        let client = self.clients.of(*connection).ok_or(ErrorCode::Busy)?;
        let slot = client.free_slot().ok_or(ErrorCode::TooManySessions)?;
        let at = MemberAt { worker: self.id, connection: *connection, slot, login: client.login };
        self.shared.directory.reserve_session(user).map_err(|_| ErrorCode::TooManySessions)?;
        let admitted = self.with_table(|table, outbox| admit(table, at, outbox));
        let Ok(Admitted { session, kind, member, used }) = admitted else {
            self.shared.directory.release_session(user);
            return admitted.map(|_| Value::Empty);
        };
        if let Some(invite) = used {
            self.settle_invite(caller, invite);
        }
        self.clients.take_seat(*connection, slot, Seat { session, member, kind });
        Ok(Value::Entered(Entered { session, slot, member }))
    }

    /// A member has left, or all have: the users whose invites ended with that are told.
    fn departed(&mut self, departed: &Departed) -> Value {
        self.invites_revoked(&departed.revoked);
        Value::Empty
    }

    fn info(&mut self, caller: &Caller, session: SessionId) -> Result<Value, ErrorCode> {
        self.shared.sessions.info(&caller.user, session).map(Value::Info)
    }

    fn list_mine(&mut self, caller: &Caller) -> Value {
        let Some(client) = self.clients.of(caller.connection) else { return Value::Sessions(Vec::new()) };
        let membership = |(slot, Seat { session, member, kind })| Membership {
            entered: Entered { session, slot, member },
            kind,
        };
        Value::Sessions(client.seats().map(membership).collect())
    }
}
