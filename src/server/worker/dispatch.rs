//! From a message to its command, and from the command to its answer.

use bytes::Bytes;

use super::Worker;
use super::client::{Seat, SlotState};
use super::held::Answer;
use crate::base::{ConnectionId, Reader, RequestId, Slot, StreamId, Timestamp, UserId, Wire};
use crate::wire::command::{Broadcast, Message};
use crate::wire::{Command, CommandError, CommandResult, ErrorCode, Reply, SessionEvent, StreamKind, Value};

/// The user that sent a command, and the connection that it arrived on.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) connection: ConnectionId,
    pub(super) user: UserId,
}

/// The subject of a command.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    /// No session: the command arrived on the control stream.
    User,
    /// A session that the user is in.
    Seat(Slot, Seat),
}

impl Scope {
    /// Returns the kind of stream on which commands about it arrive.
    fn stream_kind(self) -> StreamKind {
        match self {
            Self::User => StreamKind::Control,
            Self::Seat(..) => StreamKind::Slot,
        }
    }
}

impl Worker {
    /// Carries out the command in a message and answers it.
    // spec: CMD-1, CMD-3, CMD-5, MSG-1, LIM-2, LIM-4, LIM-6, LIM-8
    pub(super) fn dispatch(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        stream: Option<StreamId>,
        mut payload: Bytes,
    ) {
        let Some(client) = self.clients.get_mut(connection) else { return };
        let Some(slot) = slot_of(stream, &mut payload) else {
            return self.violated(now, connection, "an unreliable message without a slot");
        };
        let mut in_budget = client.budget.take(now, payload.len());
        if !in_budget && !client.budget.take_refusal(now) {
            return self.violated(now, connection, "far more commands than its budget");
        }
        let scope = match client.slot(slot) {
            SlotState::Seated(seat) => Scope::Seat(slot, seat),
            // The message was in flight when the session ended; the client answers it locally.
            SlotState::Ended => return,
            SlotState::Unknown if stream == Some(StreamId::CONTROL) => Scope::User,
            SlotState::Unknown => return self.violated(now, connection, "a slot that was never given"),
        };
        let command = Command::decode(scope.stream_kind(), payload);
        if let Ok(command) = &command {
            in_budget = in_budget && client.budget.take_costs(now, slot, command);
        }
        let caller = Caller { connection, user: client.user.clone() };
        self.counters().commands.add(1);
        let reply = match &command {
            Ok(command) => reply_to(command),
            Err(CommandError { reply, .. }) => *reply,
        };
        if stream.is_none() && matches!(reply, Reply::Request(_)) {
            return self.violated(now, connection, "an unreliable request");
        }
        let command =
            if in_budget { command.map_err(|error| error.code) } else { Err(ErrorCode::RateLimited) };
        let outcome = command.and_then(|command| self.carry_out(now, &caller, scope, command));
        if let Err(code) = outcome {
            self.refuse(now, connection, scope, reply, code);
        }
    }

    /// Carries out a command and, if it is a request, answers it.
    ///
    /// # Errors
    /// Why a command that is not a request is refused.
    fn carry_out(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        scope: Scope,
        command: Command,
    ) -> Result<(), ErrorCode> {
        match (command, scope) {
            (Command::Request(id, request), Scope::User) => {
                match self.better_place(now, caller, &request) {
                    Some(place) => self.move_out(now, caller, place, (id, request)),
                    None => self.user_command(now, caller, id, request),
                }
                Ok(())
            }
            (Command::Request(id, request), Scope::Seat(_, seat)) => {
                let outcome = self.seat_request(now, &caller.user, seat, request);
                self.answer(now, caller.connection, scope, id, outcome);
                Ok(())
            }
            (Command::Broadcast(broadcast), Scope::Seat(_, seat)) => {
                let broadcast = Broadcast { body: self.bodies.copy(broadcast.body), ..broadcast };
                self.with_table(|table, port| table.broadcast(now, seat.member, broadcast, port))
            }
            (Command::Message(message), Scope::Seat(_, seat)) => {
                let message = Message { body: self.bodies.copy(message.body), ..message };
                self.with_table(|table, port| table.message(now, seat.member, message, port))
            }
            (Command::Broadcast(_) | Command::Message(_), Scope::User) => Err(ErrorCode::UnknownCommand),
        }
    }

    /// Answers a request on the stream that it arrived on.
    pub(super) fn answer(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        scope: Scope,
        request: RequestId,
        outcome: Result<Value, ErrorCode>,
    ) {
        let refused = outcome.as_ref().err().copied();
        if refused.is_some() {
            self.counters().commands_refused.add(1);
        }
        let message = CommandResult { request, outcome }.to_bytes();
        match scope {
            Scope::User => self.clients.answer(now, connection, message),
            Scope::Seat(slot, _) => self.answer_in(now, connection, slot, Answer { message, refused }),
        }
    }

    /// Answers a command about a session, after everything that the session has sent its members so far.
    // spec: SES-19
    pub(super) fn answer_in(&mut self, now: Timestamp, connection: ConnectionId, slot: Slot, answer: Answer) {
        let mails = self.mails_so_far();
        self.clients.answer_behind_mail(now, mails, (connection, slot), answer);
    }

    /// Answers a command that is refused.
    // spec: CMD-25
    fn refuse(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        scope: Scope,
        reply: Reply,
        code: ErrorCode,
    ) {
        match (reply, scope) {
            (Reply::Request(id), scope) => self.answer(now, connection, scope, id, Err(code)),
            (Reply::Counter(counter), Scope::Seat(slot, _)) => {
                self.counters().commands_refused.add(1);
                let message = SessionEvent::Refused { counter, code }.encode();
                self.answer_in(now, connection, slot, Answer { message, refused: Some(code) });
            }
            (Reply::Counter(_), Scope::User) | (Reply::Nobody, _) => {
                self.violated(now, connection, "a command that cannot be answered");
            }
        }
    }
}

/// Returns the slot that a message is about; an unreliable one has it at its front, where it is taken off.
fn slot_of(stream: Option<StreamId>, payload: &mut Bytes) -> Option<Slot> {
    if let Some(stream) = stream {
        return Some(Slot(stream.0));
    }
    let mut reader = Reader::new(payload.clone());
    let slot = Slot::read(&mut reader).ok()?;
    *payload = reader.rest();
    Some(slot)
}

/// Returns how the sender of a command learns that it was refused.
fn reply_to(command: &Command) -> Reply {
    match command {
        Command::Request(id, _) => Reply::Request(*id),
        Command::Broadcast(broadcast) => Reply::Counter(broadcast.counter),
        Command::Message(message) => Reply::Counter(message.counter),
    }
}
