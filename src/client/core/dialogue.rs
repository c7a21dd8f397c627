//! [`Dialogue`]: the application half of a connection.
//!
//! Takes the server's messages, whole and in the order of their streams, and turns them into results, events
//! and mirrors. Independent of packets, time and sockets.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::error::{Disconnected, RequestError};
use super::event::Event;
use super::mirror::Mirror;
use super::pending::{Asked, Pending};
use super::slots::{Begun, Slots};
use super::violation::ServerViolation;
use crate::base::{ConnectionId, Reader, RequestId, Slot, StreamId, Wire};
use crate::wire::{
    CommandResult, Delivery, ErrorCode, Request, ServerMessage, SessionEvent, Snapshot, StreamKind,
    UserEvent, Value,
};

/// An output of a client to its owner.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The server has answered the handshake; commands may be sent.
    Connected,
    /// The result of a command.
    ///
    /// Results of create and join are reported once the session's snapshot has also arrived; all others in
    /// the order of their commands on a stream.
    Result {
        /// The command.
        request: RequestId,
        /// The outcome. A value is of the kind that belongs to the command.
        outcome: Result<Value, RequestError>,
    },
    /// An event.
    Event(Event),
}

/// Pending commands, known sessions and outputs to report.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    pub(super) pending: Pending,
    pub(super) slots: Slots,
    outputs: VecDeque<Output>,
    /// True once the end of the connection was reported.
    is_over: bool,
    /// Ended streams that the connection must finish.
    finished: VecDeque<StreamId>,
    /// A new connection id for the connection to use.
    rehomed: Option<ConnectionId>,
}

impl Dialogue {
    /// Returns the next output.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the next ended stream.
    pub(super) fn poll_finished(&mut self) -> Option<StreamId> {
        self.finished.pop_front()
    }

    /// Returns the id that the connection's packets must carry from now on, if it has changed.
    // spec: EVT-14
    pub(super) fn poll_rehomed(&mut self) -> Option<ConnectionId> {
        self.rehomed.take()
    }

    /// Reports that the connection is established.
    pub(super) fn on_connected(&mut self) {
        self.outputs.push_back(Output::Connected);
    }

    /// Reports that the connection is gone: open commands have an unknown outcome, and every membership ends.
    ///
    /// The end is reported once; later calls are ignored.
    pub(super) fn on_disconnected(&mut self, why: Disconnected) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let waiting: Vec<RequestId> = self.slots.end_all().chain(self.pending.end_all()).collect();
        for request in waiting {
            self.tell(request, Err(RequestError::OutcomeUnknown));
        }
        self.event(Event::Disconnected(why));
    }

    /// Handles a message from the server.
    ///
    /// # Errors
    /// [`ServerViolation`]: the connection must be closed.
    pub(super) fn on_message(
        &mut self,
        stream: Option<StreamId>,
        delivery: Delivery,
        payload: Bytes,
    ) -> Result<(), ServerViolation> {
        match stream {
            None => self.on_unreliable(payload),
            Some(StreamId::CONTROL) => self.on_control(delivery, payload),
            Some(StreamId(number)) => self.on_slot(Slot(number), delivery, payload),
        }
    }

    /// Handles a message that belongs to no stream; it begins with its slot. A message of a session that is
    /// not open yet, or no longer, is dropped, whatever it holds, as unreliable messages may be.
    // spec: MSG-1
    fn on_unreliable(&mut self, payload: Bytes) -> Result<(), ServerViolation> {
        let undecodable = |error| ServerViolation::Undecodable { stream: StreamId::CONTROL, error };
        let mut reader = Reader::new(payload);
        let slot = Slot::read(&mut reader).map_err(undecodable)?;
        if self.slots.get(slot).is_none() {
            return Ok(());
        }
        let event = SessionEvent::decode(reader.rest()).map_err(undecodable)?;
        require(slot.into(), Delivery::Unreliable, delivery_of(&event), event.name())?;
        self.on_session_event(slot, event)
    }

    fn on_control(&mut self, delivery: Delivery, payload: Bytes) -> Result<(), ServerViolation> {
        let stream = StreamId::CONTROL;
        match decode(stream, payload)? {
            ServerMessage::Result(result) => self.on_result(stream, delivery, result),
            ServerMessage::User(event) => {
                // spec: EVT-13
                let wanted = match event {
                    UserEvent::Lagging => Delivery::ReliableUnordered,
                    _ => Delivery::ReliableOrdered,
                };
                require(stream, delivery, wanted, "user event")?;
                if let UserEvent::Rehomed { connection } = event {
                    self.rehomed = Some(connection);
                } else if let Some(event) = Event::from_user(event) {
                    self.event(event);
                }
                Ok(())
            }
            ServerMessage::Session(event) => Err(ServerViolation::Misplaced { stream, event: event.name() }),
        }
    }

    fn on_slot(&mut self, slot: Slot, delivery: Delivery, payload: Bytes) -> Result<(), ServerViolation> {
        if self.slots.has_ended(slot) {
            return Ok(());
        }
        let stream = StreamId::from(slot);
        let bytes = payload.len();
        match decode(stream, payload)? {
            ServerMessage::Result(result) => self.on_result(stream, delivery, result),
            ServerMessage::Session(SessionEvent::Snapshot(snapshot)) => {
                require(stream, delivery, Delivery::ReliableOrdered, "snapshot")?;
                self.on_snapshot(slot, &snapshot)
            }
            ServerMessage::Session(event) => {
                require(stream, delivery, delivery_of(&event), event.name())?;
                if self.slots.get(slot).is_some() {
                    return self.on_session_event(slot, event);
                }
                // spec: EVT-4
                if delivery == Delivery::ReliableOrdered {
                    return Err(ServerViolation::Misplaced { stream, event: event.name() });
                }
                self.slots.hold(slot, event, bytes, self.pending.opening())
            }
            ServerMessage::User(_) => Err(ServerViolation::Misplaced { stream, event: "user event" }),
        }
    }

    fn on_result(
        &mut self,
        stream: StreamId,
        delivery: Delivery,
        result: CommandResult,
    ) -> Result<(), ServerViolation> {
        require(stream, delivery, Delivery::ReliableOrdered, "result")?;
        let CommandResult { request, outcome } = result;
        let asked = self.pending.answer(stream, request)?;
        let told = match outcome {
            Ok(value) if !belongs(asked, &value) => Err(ServerViolation::WrongValue { request }),
            Ok(Value::Entered(entered)) => match self.slots.answer(request, entered) {
                Ok(true) => Ok(Ok(Value::Entered(entered))),
                Ok(false) => return Ok(()),
                Err(violation) => Err(violation),
            },
            Ok(value) => Ok(Ok(value)),
            Err(code) => Ok(Err(code.into())),
        };
        // The command is no longer pending, so its outcome must be reported here.
        match told {
            Ok(outcome) => {
                self.tell(request, outcome);
                Ok(())
            }
            Err(violation) => {
                self.tell(request, Err(RequestError::OutcomeUnknown));
                Err(violation)
            }
        }
    }

    fn on_snapshot(&mut self, slot: Slot, snapshot: &Snapshot) -> Result<(), ServerViolation> {
        let Begun { result, held, mirror } = self.slots.begin(slot, snapshot, self.pending.opening())?;
        let &Snapshot { session, you, next, .. } = snapshot;
        self.event(Event::Entered { slot, session, member: you, next, mirror });
        if let Some((request, entered)) = result {
            self.tell(request, Ok(Value::Entered(entered)));
        }
        held.into_iter().try_for_each(|event| self.on_session_event(slot, event))
    }

    /// Handles an event of a session that the client is in: updates the mirror, then reports to the app.
    fn on_session_event(&mut self, slot: Slot, event: SessionEvent) -> Result<(), ServerViolation> {
        let misplaced = ServerViolation::Misplaced { stream: slot.into(), event: event.name() };
        let Some(membership) = self.slots.get_mut(slot) else { return Err(misplaced) };
        let left = match &event {
            SessionEvent::MemberLeft { member, .. } => Some(membership.mirror.leaver(*member)?),
            _ => None,
        };
        let event = Event::from_session(slot, event, membership.sent, left).ok_or(misplaced)?;
        // Others change nothing, and the app may hold the mirror, which is then copied.
        if event.number().is_some() {
            Arc::make_mut(&mut membership.mirror).apply(&event)?;
        }
        let ends = event.ends_membership();
        self.event(event);
        if ends {
            self.end(slot);
        }
        Ok(())
    }

    /// Ends a stream after its last message: the server executes no command that it has not answered by then.
    // spec: CMD-5, EVT-6
    fn end(&mut self, slot: Slot) {
        self.slots.end(slot);
        for request in self.pending.end(slot.into()) {
            self.tell(request, Err(ErrorCode::NotAMember.into()));
        }
        self.finished.push_back(slot.into());
    }

    /// Returns the mirror of the session at `slot`.
    pub(super) fn mirror(&self, slot: Slot) -> Option<&Arc<Mirror>> {
        self.slots.get(slot).map(|membership| &membership.mirror)
    }

    fn tell(&mut self, request: RequestId, outcome: Result<Value, RequestError>) {
        self.outputs.push_back(Output::Result { request, outcome });
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

fn decode(stream: StreamId, payload: Bytes) -> Result<ServerMessage, ServerViolation> {
    ServerMessage::decode(StreamKind::of(stream), payload)
        .map_err(|error| ServerViolation::Undecodable { stream, error })
}

/// Returns the delivery that an event of a session travels with.
// spec: EVT-2, EVT-10, EVT-13
fn delivery_of(event: &SessionEvent) -> Delivery {
    match event {
        SessionEvent::Sent { delivery, .. } => *delivery,
        SessionEvent::Lagging => Delivery::ReliableUnordered,
        _ => Delivery::ReliableOrdered,
    }
}

/// Requires the delivery that an event or a result travels with. Keys may differ: the server's keys keep
/// those of different senders apart.
fn require(
    stream: StreamId,
    delivery: Delivery,
    wanted: Delivery,
    event: &'static str,
) -> Result<(), ServerViolation> {
    if delivery.mode() == wanted.mode() { Ok(()) } else { Err(ServerViolation::Misplaced { stream, event }) }
}

/// Returns the kind of result that a request must get.
pub(super) fn asked(request: &Request) -> Asked {
    match request {
        Request::Create(_) => Asked::Create,
        Request::Join(_) => Asked::Join,
        Request::Info(_) => Asked::Info,
        Request::ListMine => Asked::ListMine,
        Request::ListInvites => Asked::ListInvites,
        Request::Invite(invite) => Asked::Invite(invite.users.as_slice().len()),
        Request::SetProperties(_) => Asked::SetProperties,
        Request::Decline(_)
        | Request::Revoke(_)
        | Request::Leave
        | Request::Kick(_)
        | Request::Transfer(_)
        | Request::Delete(_) => Asked::Plain,
    }
}

/// Returns true if a result's value is of the kind that the command must get.
// spec: RES-2
fn belongs(asked: Asked, value: &Value) -> bool {
    if let (Asked::Invite(users), Value::Invited(answers)) = (asked, value) {
        return answers.len() == users;
    }
    matches!(
        (asked, value),
        (Asked::Create | Asked::Join, Value::Entered(_))
            | (Asked::Info, Value::Info(_))
            | (Asked::ListMine, Value::Sessions(_))
            | (Asked::ListInvites, Value::Invites(_))
            | (Asked::SetProperties, Value::Revision(_))
            | (Asked::Plain, Value::Empty)
    )
}
