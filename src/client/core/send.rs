//! What a client sends: commands that get a result, and the hot path that gets none.

use bytes::Bytes;

use super::dialogue::asked;
use super::error::{RequestError, SendError};
use super::event::low_counter;
use super::{Core, Link};
use crate::base::{DecodeError, MemberId, RequestId, ShortBytes, Slot, StreamId, Timestamp, Wire, Writer};
use crate::rudp::{self, Payload};
use crate::wire::command::{Recipients, To, write_broadcast_head, write_message_head};
use crate::wire::{Body, Command, Delivery, ErrorCode, Request};

/// What became of a `broadcast` or `message` that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its number among those of its session, from 0: what [`Event::Refused`](super::Event::Refused)
    /// names.
    pub counter: u64,
    /// It took the place of an older one of its key that was not acked yet: that one may have arrived or not.
    pub superseded: bool,
    /// It is dropped, as an unreliable or sequenced one may be: too much waits before it. Else it is on its way.
    pub shed: bool,
}

impl Core {
    /// Sends a command that is about no session that the client is in: create, join, decline, info
    /// and the lists. [`Output::Result`](super::Output::Result) answers it.
    ///
    /// # Errors
    /// [`RequestError`]; nothing was sent then.
    pub fn request(&mut self, now: Timestamp, request: &Request) -> Result<RequestId, RequestError> {
        if request.is_for_slot_stream() {
            return Err(ErrorCode::UnknownCommand.into());
        }
        self.send_request(now, StreamId::CONTROL, request)
    }

    /// Sends a command about the session at `slot`.
    ///
    /// # Errors
    /// As [`Core::request`].
    pub fn request_in(
        &mut self,
        now: Timestamp,
        slot: Slot,
        request: &Request,
    ) -> Result<RequestId, RequestError> {
        if !request.is_for_slot_stream() {
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
    /// [`SendError`]; nothing was sent then.
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

    /// Sends `payload` to some members of the session at `slot`, 1 to 1,024. Unreliable and sequenced ones must fit one
    /// packet together with their recipients, of 1 to 4 bytes each ([`SendError::TooLarge`]).
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
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
        // No stream names the session of an unreliable one: the slot stands before it.
        // spec: MSG-1
        if delivery == Delivery::Unreliable {
            slot.write(head);
        }
        write_head(low_counter(counter), head);
        let payload_bytes = body.len();
        let sent = connection
            .send(now, slot.into(), delivery, in_pieces(head, body))
            .map_err(|error| hot_error(slot, payload_bytes, error))?;
        membership.sent += 1;
        let (superseded, shed) = (sent == rudp::Sent::Superseded, sent == rudp::Sent::Shed);
        Ok(Sent { counter, superseded, shed })
    }
}

/// A command that begins with `head`. The app's memory is shared, unless the head names many recipients.
fn in_pieces(head: &Writer, body: Body) -> Payload {
    match ShortBytes::new(head.as_slice()) {
        Some(head) => Payload { head, body: body.into_bytes() },
        None => Bytes::from([head.as_slice(), body.bytes()].concat()).into(),
    }
}

fn body(delivery: Delivery, payload: Bytes) -> Result<Body, SendError> {
    let bytes = payload.len();
    Body::new(delivery, payload)
        .map_err(|_: DecodeError| SendError::TooLarge { bytes, max: Body::max_bytes(delivery) })
}

/// Why a command with a payload of so many bytes was not sent.
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
