//! Messages waiting to be sent, and the budgets they count against.

#[cfg(any(test, fuzzing))]
mod audit;
mod lane;
mod lanes;
mod next;
mod starvation;

use self::lane::Queued;
pub use self::lanes::Passed;
use self::lanes::{LaneName, Lanes, Turn};
use self::starvation::Starvation;
use super::config::{BASE_DATAGRAM_BYTES, ConnectionConfig};
use super::error::{SendError, Sent};
use super::stream::{Buffered, FragmentId, Freed, MessageRef, Pushed, SendStream, Space};
use crate::base::{StreamId, VecMap, prefetch};
use crate::rudp::budget::Share;
use crate::rudp::{MemoryBudget, Payload};
use crate::secure::TAG_BYTES;
use crate::wire::frame::{MAX_FRAGMENTS, MESSAGE_OVERHEAD_BYTES};
use crate::wire::{Delivery, TransportParameters};

/// All unsettled messages of a connection.
#[derive(Debug)]
pub struct Outbox {
    streams: VecMap<StreamId, SendStream>,
    lanes: Lanes,
    /// Bytes of small messages, heads included, sent since the last fragment left or the large lane was
    /// empty.
    overtaken: usize,
    /// Fragments retransmitted since a new one was last sent or none was waiting.
    resent: u8,
    /// Reliable messages not yet acked.
    reliable: Buffered,
    max_reliable_bytes: usize,
    /// Unreliable and sequenced messages not yet sent.
    unreliable: Buffered,
    max_unreliable_bytes: usize,
    /// Counts the bytes of all of these against the budget of the process.
    share: Share,
    shed: u64,
    starvation: Starvation,
    /// A search has found nothing that may leave, and nothing has changed since. A peer whose ack is missed
    /// may have thousands of messages wait, which each of its packets would have searched.
    stalled: bool,
    /// Bytes of the peer's receive buffer taken up by messages that were sent and are not settled.
    window_used: usize,
    window: usize,
    max_message_bytes: usize,
    /// Largest payload of a fragment.
    fragment_bytes: usize,
}

/// Packet header (9 bytes) and the longest message head: type, stream, number, key, length.
const HEAD_ROOM_BYTES: usize = 9 + 1 + 4 + 4 + 2 + 2;
/// Largest payload of a message sent whole, next to the longest header and head. Every path carries it, so it
/// arrives whatever becomes of the path; a larger message is fragmented.
pub const MAX_WHOLE_BYTES: usize = BASE_DATAGRAM_BYTES - TAG_BYTES - HEAD_ROOM_BYTES;
/// What a fragment's head adds to a message head, and room for an ack in the same packet.
const FRAGMENT_ROOM_BYTES: usize = 2 + 4 + 2 + 32;
impl Outbox {
    pub fn new(config: &ConnectionConfig, peer: &TransportParameters) -> Self {
        let window = peer.receive_buffer_bytes as usize;
        let fragment_bytes = fragment_bytes(BASE_DATAGRAM_BYTES);
        let in_fragments = fragment_bytes * MAX_FRAGMENTS as usize;
        Self {
            streams: VecMap::default(),
            lanes: Lanes::default(),
            overtaken: 0,
            resent: 0,
            reliable: Buffered::default(),
            max_reliable_bytes: config.send_buffer_bytes,
            unreliable: Buffered::default(),
            max_unreliable_bytes: config.unreliable_buffer_bytes,
            share: Share::new(MemoryBudget::default()),
            shed: 0,
            starvation: Starvation::default(),
            stalled: false,
            window_used: 0,
            window,
            max_message_bytes: (peer.max_message_bytes as usize)
                .min(window - MESSAGE_OVERHEAD_BYTES)
                .min(in_fragments),
            fragment_bytes,
        }
    }

    /// Prefetches the memory that a message on `stream` will be stored in.
    pub fn prefetch_to_push(&self, stream: StreamId) {
        if let Some(stream) = self.streams.get(stream) {
            stream.prefetch_to_push();
        }
        self.lanes.prefetch_to_push();
    }

    /// Prefetches the messages that wait to be sent.
    pub fn prefetch_to_send(&self) {
        self.lanes.prefetch_next();
        self.prefetch_streams();
    }

    /// Prefetches the streams themselves.
    pub fn prefetch_streams(&self) {
        self.streams.values().for_each(prefetch);
    }

    /// Counts against `process` from now on.
    pub fn share_budget(&mut self, process: MemoryBudget) {
        self.share.move_to(process);
    }

    pub fn open(&mut self, stream: StreamId) {
        self.streams.add(stream, || SendStream::new(stream));
    }

    /// Finishes a stream. Messages waiting on it are still sent; then it is forgotten.
    pub fn finish(&mut self, stream: StreamId) {
        self.stalled = false;
        if let Some(ended) = self.streams.get_mut(stream) {
            ended.finish();
            self.forget_if_done(stream);
        }
    }

    pub fn clear(&mut self) {
        self.stalled = false;
        self.streams = VecMap::default();
        self.lanes = Lanes::default();
        self.reliable = Buffered::default();
        self.unreliable = Buffered::default();
        self.count();
    }

    /// Frees memory beyond what is in use.
    pub fn shrink(&mut self) {
        self.lanes.shrink();
        self.streams.values_mut().for_each(SendStream::shrink);
    }

    pub fn queued_bytes(&self) -> usize {
        self.reliable.bytes + self.unreliable.bytes
    }

    /// Returns the part of the queued bytes that belongs to reliable messages.
    pub fn reliable_bytes(&self) -> usize {
        self.reliable.bytes
    }

    /// Returns about how many bytes would be in flight if everything queued were sent now; `in_flight` bytes
    /// already are. Reliable messages must find room in the peer's buffer.
    pub fn in_flight_with_all(&self, in_flight: usize) -> usize {
        in_flight.max(self.reliable.frame_bytes(self.window)) + self.unreliable.frame_bytes(usize::MAX)
    }

    /// Returns true while a reliable message is not acked.
    pub fn has_reliable(&self) -> bool {
        self.reliable.bytes > 0
    }

    /// Checks what has changed since the last call. Returns false when a stream's oldest message has made no
    /// progress over the last [`SendStream::STUCK`] calls.
    pub fn check_progress(&mut self) -> bool {
        // Every stream is asked, since each counts the calls.
        self.streams.values_mut().fold(true, |all, stream| stream.check_progress() & all)
    }

    /// Returns the number of messages dropped for lack of room.
    pub fn shed(&self) -> u64 {
        self.shed
    }

    pub fn max_payload_bytes(&self, delivery: Delivery) -> usize {
        if delivery.is_reliable() {
            self.max_message_bytes.min(self.max_reliable_bytes.saturating_sub(MESSAGE_OVERHEAD_BYTES))
        } else {
            MAX_WHOLE_BYTES.min(self.max_message_bytes)
        }
    }

    /// Returns the number of places in the lanes that take memory.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.lanes.capacity()
    }

    /// Returns the number of places taken in the lanes, by messages and by what is left of replaced ones.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.lanes.places()
    }

    /// Returns true when something waits to be sent.
    pub fn is_waiting(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// Returns true when something of what waits may leave, as far as is known.
    pub fn may_have_next(&self) -> bool {
        self.is_waiting() && !self.stalled
    }

    /// Returns false when something may leave although [`Self::may_have_next`] denies it.
    pub fn is_rightly_stalled(&mut self) -> bool {
        !self.stalled || self.next(&mut Passed::default()).is_none()
    }

    /// Notes that [`Self::next`] has found nothing in a new packet that may carry anything.
    pub fn stall(&mut self) {
        self.stalled = true;
    }

    /// Updates the process's budget with the bytes queued now.
    fn count(&mut self) {
        self.share.hold(self.queued_bytes());
    }

    /// Enqueues a message.
    pub fn push(
        &mut self,
        stream: StreamId,
        delivery: Delivery,
        payload: Payload,
    ) -> Result<Sent, SendError> {
        self.enqueue(stream, delivery, payload, Turn::Last)
    }

    /// Enqueues a message that fits into one packet, unordered, ahead of those that were never sent, except
    /// earlier unordered ones of its stream.
    pub fn push_first(&mut self, stream: StreamId, payload: Payload) -> Result<Sent, SendError> {
        let (bytes, max) = (payload.len(), MAX_WHOLE_BYTES);
        if bytes > max {
            return Err(SendError::TooLarge { bytes, max });
        }
        self.enqueue(stream, Delivery::ReliableUnordered, payload, Turn::First)
    }

    // spec: STR-2
    fn enqueue(
        &mut self,
        stream: StreamId,
        delivery: Delivery,
        payload: Payload,
        turn: Turn,
    ) -> Result<Sent, SendError> {
        self.stalled = false;
        let (bytes, max) = (payload.len(), self.max_payload_bytes(delivery));
        if bytes > max {
            return Err(SendError::TooLarge { bytes, max });
        }
        let Some(space) = Space::of(delivery) else { return Ok(self.push_unreliable(payload)) };
        let cost = Buffered::message(bytes).bytes;
        let open = self.streams.get_mut(stream).filter(|stream| !stream.is_finishing());
        let open = open.ok_or(SendError::UnknownStream(stream))?;
        // spec: REL-13
        let kept = self.reliable.bytes - open.superseded_bytes(delivery);
        let is_full = kept + cost > self.max_reliable_bytes
            || !self.share.may_hold(kept + self.unreliable.bytes + cost);
        if (is_full && delivery.is_reliable()) || open.is_full(space) {
            return Err(SendError::WouldBlock);
        }
        let in_fragments = bytes > MAX_WHOLE_BYTES;
        if open.is_crowded(delivery, in_fragments) {
            // Each earlier message keeps its number until it is settled, so none of them can be dropped
            // instead.
            if delivery.is_reliable() {
                return Err(SendError::WouldBlock);
            }
            self.shed += 1;
            return Ok(Sent::Shed);
        }
        let fragment_bytes = in_fragments.then_some(self.fragment_bytes);
        let Pushed { number, is_queued, freed } = open.push(space, delivery, payload, fragment_bytes);
        self.free(freed);
        if is_queued {
            let message = MessageRef { stream, space, number };
            let sheds = !delivery.is_reliable();
            let queued = if sheds { Queued::Sequenced(message) } else { Queued::Reliable(message) };
            self.lanes.enqueue(LaneName::of(space, in_fragments), queued, turn);
        }
        let sent = if freed.any() { Sent::Superseded } else { Sent::Queued };
        if !delivery.is_reliable() {
            self.shed_for(Buffered::message(bytes));
            let is_kept = self.is_unsettled(MessageRef { stream, space, number });
            return Ok(if is_kept { sent } else { Sent::Shed });
        }
        self.reliable += Buffered::message(bytes);
        self.count();
        self.sweep();
        Ok(sent)
    }

    fn push_unreliable(&mut self, payload: Payload) -> Sent {
        let message = Buffered::message(payload.len());
        self.lanes.push(LaneName::Small, Queued::Unreliable(payload));
        self.shed_for(message);
        // The new message is the last to be shed.
        if self.unreliable.messages == 0 { Sent::Shed } else { Sent::Queued }
    }

    /// Sheds the oldest messages to make room for `message`, which has been queued.
    fn shed_for(&mut self, message: Buffered) {
        self.unreliable += message;
        self.shed_oldest();
        self.sweep();
    }

    fn is_unsettled(&self, MessageRef { stream, space, number }: MessageRef) -> bool {
        self.streams.get(stream).is_some_and(|stream| stream.is_unsettled(space, number))
    }

    /// Cuts messages for datagrams of `datagram_bytes`: future ones, those of which nothing has left, and
    /// those whose fragments are now too large.
    pub fn cut_for(&mut self, datagram_bytes: usize) {
        self.fragment_bytes = fragment_bytes(datagram_bytes);
        self.stalled = false;
        for stream in self.streams.values_mut() {
            let again = stream.cut_anew(self.fragment_bytes);
            if !again.is_empty() {
                self.lanes.of_mut(LaneName::Large).resend.extend(again);
            }
        }
    }

    /// Drops the places of messages that newer ones have replaced.
    fn sweep(&mut self) {
        let streams = &self.streams;
        self.lanes.sweep(|message| {
            let stream = streams.get(message.stream);
            stream.is_some_and(|stream| stream.is_unsettled(message.space, message.number))
        });
    }

    /// Drops the oldest waiting unreliable and sequenced messages while a budget, the connection's or the
    /// process's, is exceeded.
    // spec: REL-11
    fn shed_oldest(&mut self) {
        while (self.unreliable.bytes > self.max_unreliable_bytes || !self.share.may_hold(self.queued_bytes()))
            && let Some(queued) = self.lanes.shed()
        {
            let before = self.unreliable.messages;
            match queued {
                Queued::Unreliable(payload) => self.unreliable -= Buffered::message(payload.len()),
                Queued::Sequenced(message) | Queued::Reliable(message) => self.forget_sequenced(message),
                Queued::Gone => {}
            }
            // A message that a newer one has replaced was not counted any more.
            self.shed += (before - self.unreliable.messages) as u64;
        }
        self.count();
    }

    /// Removes a sequenced message, if it is one and still kept.
    fn forget_sequenced(&mut self, message: MessageRef) {
        let Some(stream) = self.streams.get_mut(message.stream) else { return };
        let freed = stream.forget_sequenced(message.number);
        self.free(freed);
        self.forget_if_done(message.stream);
    }

    fn free(&mut self, freed: Freed) {
        self.reliable -= freed.reliable;
        self.unreliable -= freed.sequenced;
        self.window_used -= freed.window;
    }

    /// Handles the ack of a frame.
    pub fn on_acked(&mut self, message: MessageRef, fragment: Option<FragmentId>) {
        let MessageRef { stream: id, space, number } = message;
        let Some(stream) = self.streams.get_mut(id) else { return };
        let freed = stream.on_acked(space, number, fragment);
        self.stalled = false;
        let is_done = stream.is_done();
        self.free(freed);
        self.count();
        if is_done {
            self.streams.remove(id);
        }
    }

    /// Handles a message that the peer recovered without receiving a packet that carries it. Sequenced
    /// messages are not recovered: they are lost with their packet.
    pub fn on_repaired(&mut self, message: MessageRef) {
        if self.is_unsettled(message) {
            self.on_acked(message, None);
        }
    }

    /// Handles the loss of a frame: what is still needed of it is retransmitted.
    pub fn on_lost(&mut self, message: MessageRef, fragment: Option<FragmentId>) {
        let MessageRef { stream, space, number } = message;
        self.stalled = false;
        if self.streams.get_mut(stream).is_some_and(|stream| stream.on_lost(space, number, fragment)) {
            let lane = if fragment.is_some() { LaneName::Large } else { LaneName::Small };
            self.lanes.of_mut(lane).resend.push_back(message);
        }
    }

    /// Queues one more copy of an unacked message of at most `max_bytes`. Returns its bytes if it did.
    pub fn probe(&mut self, message: MessageRef, max_bytes: usize) -> Option<usize> {
        let MessageRef { stream, space, number } = message;
        self.stalled = false;
        let queued = self.streams.get_mut(stream).and_then(|stream| stream.probe(space, number, max_bytes));
        if queued.is_some() {
            self.lanes.of_mut(LaneName::Small).resend.push_back(message);
        }
        queued
    }

    /// Acts as if all message numbers below `number` were settled, on every stream.
    #[cfg(test)]
    pub fn start_at(&mut self, number: u64) {
        self.streams.values_mut().for_each(|stream| stream.start_at(number));
    }

    fn forget_if_done(&mut self, stream: StreamId) {
        if self.streams.get(stream).is_some_and(SendStream::is_done) {
            self.streams.remove(stream);
        }
    }
}

/// Returns the largest payload of a fragment in a datagram of `datagram_bytes`.
const fn fragment_bytes(datagram_bytes: usize) -> usize {
    datagram_bytes - TAG_BYTES - HEAD_ROOM_BYTES - FRAGMENT_ROOM_BYTES
}
