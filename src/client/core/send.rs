//! What a client sends: commands, which get a result, and the hot path, which gets none.

use bytes::Bytes;

use super::dialogue::asked;
use super::error::{RequestError, SendError};
use super::event::low_counter;
use super::{Core, Link, SendFate};
use crate::base::{MemberId, OutOfBounds, RequestId, ShortBytes, Slot, StreamId, Timestamp, Wire, Writer};
use crate::rudp::{self, Payload};
use crate::wire::command::{Recipients, To, write_broadcast_head, write_message_head};
use crate::wire::{Body, Command, Delivery, ErrorCode, Request, StreamKind};

/// The outcome of an accepted `broadcast` or `message`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its number within its session, from 0, as named by [`Event::Refused`](super::Event::Refused).
    pub counter: u64,
    /// Whether it is on its way, and what became of an older message of its key.
    pub fate: SendFate,
}

impl Core {
    /// Sends a command that does not belong to a session's stream: create, join, decline, info and the lists.
    /// [`Output::Result`](super::Output::Result) answers it.
    ///
    /// # Errors
    /// [`RequestError`], in which case nothing was sent.
    pub fn request(&mut self, now: Timestamp, request: &Request) -> Result<RequestId, RequestError> {
        if request.stream_kind() != StreamKind::Control {
            return Err(ErrorCode::UnknownCommand.into());
        }
        self.send_request(now, StreamId::CONTROL, request)
    }

    /// Sends a command about the session at `slot`.
    ///
    /// # Errors
    /// As for [`Core::request`].
    pub fn request_in(
        &mut self,
        now: Timestamp,
        slot: Slot,
        request: &Request,
    ) -> Result<RequestId, RequestError> {
        if request.stream_kind() != StreamKind::Slot {
            return Err(ErrorCode::UnknownCommand.into());
        }
        if self.is_connected() && self.dialogue.slots.get(slot).is_none() {
            return Err(ErrorCode::NotAMember.into());
        }
        self.send_request(now, slot.into(), request)
    }

    /// Sends `payload` to the members of the session at `slot`.
    ///
    /// # Errors
    /// [`SendError`], in which case nothing was sent.
    pub fn broadcast(
        &mut self,
        now: Timestamp,
        slot: Slot,
        to: To,
        delivery: Delivery,
        payload: Bytes,
    ) -> Result<Sent, SendError> {
        let body = body(delivery, payload)?;
        self.send_hot(now, slot, delivery, body, |counter, head| {
            write_broadcast_head(delivery, to, counter, head);
        })
    }

    /// Sends `payload` to 1 to 1,024 members of the session at `slot`. An unreliable or sequenced message
    /// must fit into one packet together with its recipients, of 1 to 4 bytes each ([`SendError::TooLarge`]).
    ///
    /// # Errors
    /// [`SendError`], in which case nothing was sent.
    pub fn message(
        &mut self,
        now: Timestamp,
        slot: Slot,
        members: &[MemberId],
        delivery: Delivery,
        payload: Bytes,
    ) -> Result<Sent, SendError> {
        let body = body(delivery, payload)?;
        let to = Recipients::new(members.to_vec()).map_err(SendError::Recipients)?;
        self.send_hot(now, slot, delivery, body, |counter, head| {
            write_message_head(delivery, counter, &to, head);
        })
    }

    fn send_request(
        &mut self,
        now: Timestamp,
        stream: StreamId,
        request: &Request,
    ) -> Result<RequestId, RequestError> {
        let Link::Open(connection) = &mut self.link else { return Err(RequestError::NotConnected) };
        let pending = &mut self.dialogue.pending;
        if pending.is_full() {
            return Err(RequestError::WouldBlock);
        }
        let command = Command::Request(pending.next(), request.clone()).encode();
        connection.send(now, stream, Delivery::ReliableOrdered, command.into())?;
        Ok(pending.push(stream, asked(request)))
    }

    fn send_hot(
        &mut self,
        now: Timestamp,
        slot: Slot,
        delivery: Delivery,
        body: Body,
        write_head: impl FnOnce(u16, &mut Writer),
    ) -> Result<Sent, SendError> {
        let Link::Open(connection) = &mut self.link else { return Err(SendError::NotConnected) };
        if connection.is_closed() {
            return Err(SendError::NotConnected);
        }
        let membership = self.dialogue.slots.get_mut(slot).ok_or(SendError::NotAMember(slot))?;
        let counter = membership.sent;
        let head = &mut self.scratch;
        head.clear();
        // An unreliable message has no stream that names its session, so the slot precedes it.
        // spec: MSG-1
        if delivery == Delivery::Unreliable {
            slot.write(head);
        }
        write_head(low_counter(counter), head);
        let payload_bytes = body.len();
        let fate = connection
            .send(now, slot.into(), delivery, in_pieces(head, body))
            .map_err(|error| hot_error(slot, payload_bytes, error))?;
        membership.sent += 1;
        Ok(Sent { counter, fate })
    }
}

/// Builds a command that begins with `head`. The app's memory is shared unless the head names many
/// recipients.
fn in_pieces(head: &Writer, body: Body) -> Payload {
    match ShortBytes::new(head.as_slice()) {
        Some(head) => Payload { head, body: body.into_bytes() },
        None => Bytes::from([head.as_slice(), body.bytes()].concat()).into(),
    }
}

fn body(delivery: Delivery, payload: Bytes) -> Result<Body, SendError> {
    let bytes = payload.len();
    Body::new(delivery, payload)
        .map_err(|_: OutOfBounds| SendError::TooLarge { bytes, max: Body::max_bytes(delivery) })
}

/// Converts the error of a command whose payload has `payload_bytes` bytes.
fn hot_error(slot: Slot, payload_bytes: usize, error: rudp::SendError) -> SendError {
    match error {
        rudp::SendError::TooLarge { bytes, max } => {
            let max = max.saturating_sub(bytes - payload_bytes);
            SendError::TooLarge { bytes: payload_bytes, max }
        }
        rudp::SendError::WouldBlock => SendError::WouldBlock,
        rudp::SendError::UnknownStream(_) => SendError::NotAMember(slot),
        rudp::SendError::Closed => SendError::NotConnected,
    }
}

impl From<rudp::SendError> for RequestError {
    fn from(error: rudp::SendError) -> Self {
        match error {
            rudp::SendError::TooLarge { bytes, max } => Self::TooLarge { bytes, max },
            rudp::SendError::WouldBlock => Self::WouldBlock,
            rudp::SendError::UnknownStream(_) => Self::Refused(ErrorCode::NotAMember),
            rudp::SendError::Closed => Self::NotConnected,
        }
    }
}
