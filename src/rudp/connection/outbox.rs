//! Messages that wait to be sent, and the budgets they count against.

use std::collections::{BTreeMap, VecDeque};

use super::config::ConnectionConfig;
use super::error::{SendError, Sent};
use super::sent::SentFrame;
use super::stream::{MESSAGE_OVERHEAD_BYTES, MessageRef, SendPart, SendStream, Space};
use crate::base::StreamId;
use crate::rudp::Payload;
use crate::secure::TAG_BYTES;
use crate::wire::frame::MAX_FRAGMENTS;
use crate::wire::{Delivery, TransportParameters};

/// All of a connection's messages that have not been settled.
#[derive(Debug)]
pub struct Outbox {
    streams: BTreeMap<StreamId, SendStream>,
    /// Leaves before `fresh`: lost messages and probes.
    resend: VecDeque<MessageRef>,
    fresh: VecDeque<Queued>,
    /// Length of `fresh` at which it is swept.
    sweep_at: usize,
    /// Bytes of reliable messages that are not acked.
    reliable_bytes: usize,
    max_reliable_bytes: usize,
    /// Bytes of unreliable and sequenced messages that have not left.
    unreliable_bytes: usize,
    max_unreliable_bytes: usize,
    shed: u64,
    /// What the peer keeps for messages that left and are not settled.
    window_used: usize,
    window: usize,
    max_message_bytes: usize,
    /// Largest payload of one packet beside the longest header and frame head.
    whole_bytes: usize,
}

#[derive(Debug)]
enum Queued {
    Unreliable(Payload),
    Numbered(MessageRef),
}

/// A frame that is to be written, with the payload it belongs to.
#[derive(Debug)]
pub enum Next<'a> {
    /// An unreliable message.
    Unreliable(&'a Payload),
    /// A message of a stream, or a fragment of it.
    Numbered(SendPart, &'a Payload),
}

/// Which queue [`Next`] came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// What is sent again.
    Resend,
    /// What never left, at this place in the queue.
    Fresh(usize),
}

/// Header (9) and the longest head of a message: type, stream, number, key, length.
const HEAD_ROOM_BYTES: usize = 9 + 1 + 4 + 4 + 2 + 2;
/// Head of a fragment beyond that of a message, and room for an ack beside it.
const FRAGMENT_ROOM_BYTES: usize = 2 + 4 + 2 + 32;
/// How far the queue is searched for something that may leave when its front may not.
const SEARCH: usize = 32;
/// A shorter queue is not swept.
const MIN_SWEEP: usize = 1_024;

impl Outbox {
    pub fn new(config: &ConnectionConfig, peer: &TransportParameters) -> Self {
        let datagram = config.max_datagram_bytes.min(peer.max_datagram_bytes as usize);
        let window = peer.receive_buffer_bytes as usize;
        let whole_bytes = datagram - TAG_BYTES - HEAD_ROOM_BYTES;
        let in_fragments = (whole_bytes - FRAGMENT_ROOM_BYTES) * MAX_FRAGMENTS as usize;
        Self {
            streams: BTreeMap::new(),
            resend: VecDeque::new(),
            fresh: VecDeque::new(),
            sweep_at: MIN_SWEEP,
            reliable_bytes: 0,
            max_reliable_bytes: config.send_buffer_bytes,
            unreliable_bytes: 0,
            max_unreliable_bytes: config.unreliable_buffer_bytes,
            shed: 0,
            window_used: 0,
            window,
            max_message_bytes: (peer.max_message_bytes as usize)
                .min(window - MESSAGE_OVERHEAD_BYTES)
                .min(in_fragments),
            whole_bytes,
        }
    }

    pub fn open(&mut self, stream: StreamId) {
        self.streams.entry(stream).or_insert_with(|| SendStream::new(stream));
    }

    /// What waits on the stream is still sent; then it is forgotten.
    pub fn finish(&mut self, stream: StreamId) {
        if let Some(ended) = self.streams.get_mut(&stream) {
            ended.finish();
            self.forget_if_done(stream);
        }
    }

    pub fn clear(&mut self) {
        self.streams.clear();
        self.resend.clear();
        self.fresh.clear();
        self.reliable_bytes = 0;
        self.unreliable_bytes = 0;
    }

    pub fn queued_bytes(&self) -> usize {
        self.reliable_bytes + self.unreliable_bytes
    }

    /// Messages dropped because they waited too long.
    pub fn shed(&self) -> u64 {
        self.shed
    }

    pub fn max_payload_bytes(&self, delivery: Delivery) -> usize {
        if delivery.is_reliable() {
            self.max_message_bytes
        } else {
            self.whole_bytes.min(self.max_message_bytes)
        }
    }

    /// Places taken in the queue, of messages and of what is left of replaced ones.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.fresh.len()
    }

    /// True when something waits to leave.
    pub fn is_waiting(&self) -> bool {
        !self.resend.is_empty() || !self.fresh.is_empty()
    }

    /// Takes a message.
    // spec: STR-2
    pub fn push(
        &mut self,
        stream: StreamId,
        delivery: Delivery,
        payload: Payload,
    ) -> Result<Sent, SendError> {
        let (bytes, max) = (payload.len(), self.max_payload_bytes(delivery));
        if bytes > max {
            return Err(SendError::TooLarge { bytes, max });
        }
        let cost = bytes + MESSAGE_OVERHEAD_BYTES;
        let Some(space) = Space::of(delivery) else {
            self.unreliable_bytes += cost;
            self.fresh.push_back(Queued::Unreliable(payload));
            self.shed_oldest();
            return Ok(Sent::Queued);
        };
        let open = self.streams.get_mut(&stream).filter(|stream| !stream.is_finishing());
        let ended = open.ok_or(SendError::UnknownStream(stream))?;
        // spec: REL-13
        let is_full = delivery.is_reliable() && self.reliable_bytes + cost > self.max_reliable_bytes;
        if is_full || ended.is_full(space) {
            return Err(SendError::WouldBlock);
        }
        let mut sent = Sent::Queued;
        if let Some(key) = delivery.key() {
            let freed = ended.supersede(key, delivery);
            if freed.any {
                sent = Sent::Superseded;
            }
            self.unreliable_bytes -= freed.sequenced;
            self.reliable_bytes -= freed.buffered - freed.sequenced;
            self.window_used -= freed.window;
        }
        let fragment_bytes = self.whole_bytes - FRAGMENT_ROOM_BYTES;
        let number = ended.push(space, delivery, payload, self.whole_bytes, fragment_bytes);
        self.fresh.push_back(Queued::Numbered(MessageRef { stream, space, number }));
        self.sweep();
        if delivery.is_reliable() {
            self.reliable_bytes += cost;
        } else {
            self.unreliable_bytes += cost;
            self.shed_oldest();
        }
        Ok(sent)
    }

    /// Drops the places in the queue of messages that newer ones have replaced, once they may be half
    /// of it.
    fn sweep(&mut self) {
        if self.fresh.len() < self.sweep_at {
            return;
        }
        let streams = &self.streams;
        self.fresh.retain(|queued| match queued {
            Queued::Unreliable(_) => true,
            Queued::Numbered(message) => streams
                .get(&message.stream)
                .is_some_and(|stream| stream.is_unsettled(message.space, message.number)),
        });
        self.sweep_at = MIN_SWEEP.max(self.fresh.len() * 2);
    }

    /// Drops the oldest unreliable and sequenced messages that wait while they are too many.
    // spec: REL-11
    fn shed_oldest(&mut self) {
        let mut at = 0;
        while self.unreliable_bytes > self.max_unreliable_bytes && at < self.fresh.len() {
            let freed = match self.fresh.get(at) {
                Some(Queued::Unreliable(payload)) => payload.len() + MESSAGE_OVERHEAD_BYTES,
                Some(&Queued::Numbered(message)) if message.space == Space::Keyed => {
                    self.forget_sequenced(message)
                }
                _ => 0,
            };
            if freed == 0 {
                at += 1;
                continue;
            }
            self.unreliable_bytes -= freed;
            self.shed += 1;
            self.fresh.remove(at);
        }
    }

    /// Takes a sequenced message out; returns what it cost, 0 when it is none.
    fn forget_sequenced(&mut self, message: MessageRef) -> usize {
        let Some(stream) = self.streams.get_mut(&message.stream) else { return 0 };
        let (freed, window) = stream.forget_sequenced(message.number);
        self.window_used -= window;
        self.forget_if_done(message.stream);
        freed
    }

    /// The frame that should leave next, `skip` fresh ones apart; drops what need not leave any more.
    pub fn next(&mut self, skip: usize) -> Option<(Source, Next<'_>)> {
        while let Some(&message) = self.resend.front() {
            if self.part_of(message).is_some() {
                break;
            }
            self.resend.pop_front();
            self.unqueue(message);
        }
        if let Some(&message) = self.resend.front() {
            let (part, payload) = self.part_of(message)?;
            return Some((Source::Resend, Next::Numbered(part, payload)));
        }
        let at = self.find_fresh(skip)?;
        match self.fresh.get(at)? {
            Queued::Unreliable(payload) => Some((Source::Fresh(at), Next::Unreliable(payload))),
            &Queued::Numbered(message) => {
                let (part, payload) = self.part_of(message)?;
                Some((Source::Fresh(at), Next::Numbered(part, payload)))
            }
        }
    }

    /// The place of the first fresh message from `from` on that may leave now.
    fn find_fresh(&mut self, from: usize) -> Option<usize> {
        let mut at = from;
        while at < self.fresh.len().min(from + SEARCH) {
            let message = match self.fresh.get(at)? {
                Queued::Unreliable(_) => return Some(at),
                Queued::Numbered(message) => *message,
            };
            if self.part_of(message).is_none() {
                self.fresh.remove(at);
                self.unqueue(message);
            } else if self.may_leave(message) {
                return Some(at);
            } else {
                at += 1;
            }
        }
        None
    }

    /// The message left the queue although nothing of it had to leave: a later loss queues it again.
    fn unqueue(&mut self, message: MessageRef) {
        if let Some(stream) = self.streams.get_mut(&message.stream) {
            stream.unqueue(message.space, message.number);
        }
    }

    fn part_of(&self, message: MessageRef) -> Option<(SendPart, &Payload)> {
        self.streams.get(&message.stream)?.next_part(message.space, message.number)
    }

    /// True when the peer keeps room for the message.
    // spec: REL-10, REL-12
    fn may_leave(&self, message: MessageRef) -> bool {
        self.streams.get(&message.stream).is_some_and(|stream| {
            stream.is_in_window(message.space, message.number)
                && stream.is_in_turn(message.space, message.number)
                && self.window_used + stream.uncharged(message.space, message.number) <= self.window
        })
    }

    /// The frame from [`Self::next`] is written; returns what its packet's fate decides, if anything.
    pub fn on_sent(&mut self, source: Source) -> Option<SentFrame> {
        let queued = match source {
            Source::Resend => self.resend.pop_front().map(Queued::Numbered),
            Source::Fresh(at) => self.fresh.remove(at),
        };
        match queued? {
            Queued::Unreliable(payload) => {
                self.unreliable_bytes -= payload.len() + MESSAGE_OVERHEAD_BYTES;
                None
            }
            Queued::Numbered(message) => self.on_numbered_sent(message, source),
        }
    }

    fn on_numbered_sent(&mut self, message: MessageRef, source: Source) -> Option<SentFrame> {
        let MessageRef { stream, space, number } = message;
        let stream = self.streams.get_mut(&stream)?;
        let (part, _) = stream.next_part(space, number)?;
        self.window_used += stream.uncharged(space, number);
        if stream.on_part_sent(space, number) {
            // More of it waits; others go between. But it stays within the search: it occupies the
            // peer's buffer, and those before it may have to wait for just that.
            match source {
                Source::Resend => self.resend.push_back(message),
                Source::Fresh(_) => {
                    let at = self.fresh.len().min(SEARCH / 2);
                    self.fresh.insert(at, Queued::Numbered(message));
                }
            }
        }
        if space == Space::Keyed {
            self.unreliable_bytes -= self.forget_sequenced(message);
        }
        Some(match part {
            SendPart::Whole(_) => SentFrame::Message(message),
            SendPart::Fragment(head) => SentFrame::Fragment(message, head.index),
        })
    }

    /// A frame has arrived.
    pub fn on_acked(&mut self, message: MessageRef, index: Option<u32>) {
        let MessageRef { stream: id, space, number } = message;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (buffered, window) = stream.on_acked(space, number, index);
        self.reliable_bytes -= buffered;
        self.window_used -= window;
        self.forget_if_done(id);
    }

    /// A frame was lost: what is still wanted of it leaves again.
    pub fn on_lost(&mut self, message: MessageRef, index: Option<u32>) {
        let MessageRef { stream, space, number } = message;
        if self.streams.get_mut(&stream).is_some_and(|stream| stream.on_lost(space, number, index)) {
            self.resend.push_back(message);
        }
    }

    /// Queues one more copy of an unacked message of at most `max_bytes`. Returns true when it did.
    pub fn probe(&mut self, message: MessageRef, max_bytes: usize) -> bool {
        let MessageRef { stream, space, number } = message;
        let queued =
            self.streams.get_mut(&stream).is_some_and(|stream| stream.probe(space, number, max_bytes));
        if queued {
            self.resend.push_back(message);
        }
        queued
    }

    /// Counts all again and compares; `under_way` are the frames in flight.
    #[cfg(test)]
    pub fn audit(&self, under_way: &[SentFrame]) {
        let queued = |name| {
            let fresh = self.fresh.iter().filter(|it| matches!(it, Queued::Numbered(it) if *it == name));
            fresh.count() + self.resend.iter().filter(|it| **it == name).count()
        };
        let flying = |name, index: Option<u32>| {
            let frame = index.map_or(SentFrame::Message(name), |index| SentFrame::Fragment(name, index));
            under_way.iter().filter(|it| **it == frame).count()
        };
        let mut sums = [0; 3];
        for stream in self.streams.values() {
            let of = stream.audit(&queued, &flying);
            sums = std::array::from_fn(|at| sums[at] + of[at]);
            assert!(!stream.is_done(), "a stream that is done is kept");
        }
        for queued in &self.fresh {
            if let Queued::Unreliable(payload) = queued {
                sums[1] += payload.len() + MESSAGE_OVERHEAD_BYTES;
            }
        }
        assert_eq!(sums, [self.reliable_bytes, self.unreliable_bytes, self.window_used]);
        assert!(self.reliable_bytes <= self.max_reliable_bytes && self.window_used <= self.window);
    }

    fn forget_if_done(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(SendStream::is_done) {
            self.streams.remove(&stream);
        }
    }
}
