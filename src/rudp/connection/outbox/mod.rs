//! Messages that wait to be sent, and the budgets they count against.
//!
//! Two lanes: what fits into a packet leaves before what needs several, so that a large message does not
//! keep small ones waiting. But after [`MAX_OVERTAKING`] bytes of small ones a fragment has its turn, and
//! when a window of them has overtaken a large message that finds no room at the peer, they wait until it
//! does.

mod lane;

use self::lane::{Lane, Queued};
use super::config::{BASE_DATAGRAM_BYTES, ConnectionConfig};
use super::error::{SendError, Sent};
use super::sent::SentFrame;
use super::stream::{
    MESSAGE_OVERHEAD_BYTES, MessageRef, Piece, SendPart, SendStream, Space, StreamMap, Waiting,
};
use crate::base::{Rare, StreamId};
use crate::rudp::budget::Share;
use crate::rudp::{MemoryBudget, Payload};
use crate::secure::TAG_BYTES;
use crate::wire::frame::{MAX_FRAGMENTS, MessageHead};
use crate::wire::{Delivery, TransportParameters};

/// All of a connection's messages that have not been settled.
#[derive(Debug)]
pub struct Outbox {
    streams: StreamMap<SendStream>,
    /// What fits into a packet.
    small: Lane,
    /// What needs several.
    large: Rare<Lane>,
    /// Bytes of small messages, heads included, that left since a fragment did or none waits.
    overtaken: usize,
    /// Bytes of reliable messages that are not acked.
    reliable_bytes: usize,
    max_reliable_bytes: usize,
    /// Bytes of unreliable and sequenced messages that have not left.
    unreliable_bytes: usize,
    max_unreliable_bytes: usize,
    /// All of these bytes, against the budget of the process.
    share: Share,
    shed: u64,
    /// What the peer keeps for messages that left and are not settled.
    window_used: usize,
    window: usize,
    max_message_bytes: usize,
    /// Largest payload of a fragment.
    fragment_bytes: usize,
}

/// A frame that is to be written.
#[derive(Debug)]
pub struct Next {
    /// Head of the message or fragment.
    pub part: SendPart,
    /// What follows it in the packet.
    pub payload: Payload,
    /// `None` for unreliable ones.
    message: Option<MessageRef>,
    source: Source,
}

/// Which lane a message waits in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Size {
    /// It fits into a packet.
    Small,
    /// It leaves in fragments.
    Large,
}

/// Where a frame came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// What is sent again.
    Resend(Size),
    /// What never left, at this place of its lane.
    Fresh(Size, usize),
}

/// Places of each lane that hold nothing for the packet that is being filled.
#[derive(Clone, Copy, Default, Debug)]
pub struct Passed {
    small: usize,
    large: usize,
}

/// Header (9) and the longest head of a message: type, stream, number, key, length.
const HEAD_ROOM_BYTES: usize = 9 + 1 + 4 + 4 + 2 + 2;
/// Largest payload of a message that leaves whole, beside the longest header and head. Every path takes
/// it, so that it arrives whatever becomes of the path; a larger one is cut.
pub const MAX_WHOLE_BYTES: usize = BASE_DATAGRAM_BYTES - TAG_BYTES - HEAD_ROOM_BYTES;
/// Head of a fragment beyond that of a message, and room for an ack beside it.
const FRAGMENT_ROOM_BYTES: usize = 2 + 4 + 2 + 32;
/// How far a lane is searched for something that may leave when its front may not.
const SEARCH: usize = 32;
/// Bytes of small messages, heads included, that leave before a fragment has its turn: it has a fifth of the
/// line at least.
const MAX_OVERTAKING: usize = 4_800;

/// Bytes of a connection's queue that the process does not count: a peer that takes what it is sent gets
/// any message of a session, however much waits for others.
const OWN_BYTES: usize = 128 << 10;

/// Why nothing may leave.
enum Blocked {
    /// A message would have its turn, but the peer has no room for it.
    ForWantOfRoom,
    Otherwise,
}

impl Outbox {
    pub fn new(config: &ConnectionConfig, peer: &TransportParameters) -> Self {
        let window = peer.receive_buffer_bytes as usize;
        let fragment_bytes = fragment_bytes(BASE_DATAGRAM_BYTES);
        let in_fragments = fragment_bytes * MAX_FRAGMENTS as usize;
        Self {
            streams: StreamMap::default(),
            small: Lane::default(),
            large: Rare::default(),
            overtaken: 0,
            reliable_bytes: 0,
            max_reliable_bytes: config.send_buffer_bytes,
            unreliable_bytes: 0,
            max_unreliable_bytes: config.unreliable_buffer_bytes,
            share: Share::new(OWN_BYTES, MemoryBudget::default()),
            shed: 0,
            window_used: 0,
            window,
            max_message_bytes: (peer.max_message_bytes as usize)
                .min(window - MESSAGE_OVERHEAD_BYTES)
                .min(in_fragments),
            fragment_bytes,
        }
    }

    /// Counts against `process` from now on.
    pub fn share_budget(&mut self, process: MemoryBudget) {
        self.share.move_to(process);
    }

    pub fn open(&mut self, stream: StreamId) {
        self.streams.open(stream, || SendStream::new(stream));
    }

    /// What waits on the stream is still sent; then it is forgotten.
    pub fn finish(&mut self, stream: StreamId) {
        if let Some(ended) = self.streams.get_mut(stream) {
            ended.finish();
            self.forget_if_done(stream);
        }
    }

    pub fn clear(&mut self) {
        self.streams = StreamMap::default();
        self.small = Lane::default();
        self.large.clear();
        self.reliable_bytes = 0;
        self.unreliable_bytes = 0;
        self.count();
    }

    /// Gives back memory beyond what is in use.
    pub fn shrink(&mut self) {
        self.small.shrink();
        if self.large.is_empty() {
            self.large.clear();
        } else {
            self.large.shrink();
        }
        self.streams.values_mut().for_each(SendStream::shrink);
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
            MAX_WHOLE_BYTES.min(self.max_message_bytes)
        }
    }

    /// Places of the lanes that take memory.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.small.capacity() + self.large.capacity()
    }

    /// Places taken in the lanes, of messages and of what is left of replaced ones.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.small.len() + self.large.len()
    }

    /// True when something waits to leave.
    pub fn is_waiting(&self) -> bool {
        !self.small.is_empty() || !self.large.is_empty()
    }

    /// Tells the process what is queued now.
    fn count(&mut self) {
        self.share.hold(self.queued_bytes());
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
            self.small.push(Queued::Unreliable(payload));
            self.shed_oldest();
            return Ok(Sent::Queued);
        };
        let open = self.streams.get_mut(stream).filter(|stream| !stream.is_finishing());
        let ended = open.ok_or(SendError::UnknownStream(stream))?;
        // spec: REL-13
        let is_full = self.reliable_bytes + cost > self.max_reliable_bytes
            || !self.share.may_hold(self.reliable_bytes + self.unreliable_bytes + cost);
        if (is_full && delivery.is_reliable()) || ended.is_full(space) {
            return Err(SendError::WouldBlock);
        }
        if ended.is_crowded(space) {
            // Those before it take their numbers up until they are settled: none of them can give way.
            if delivery.is_reliable() {
                return Err(SendError::WouldBlock);
            }
            self.shed += 1;
            return Ok(Sent::Shed);
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
        let number = ended.push(space, delivery, payload, MAX_WHOLE_BYTES, self.fragment_bytes);
        let message = MessageRef { stream, space, number };
        let lane = self.lane_mut(if bytes > MAX_WHOLE_BYTES { Size::Large } else { Size::Small });
        if delivery.is_reliable() {
            lane.push(Queued::Reliable(message));
            self.reliable_bytes += cost;
            self.count();
        } else {
            lane.push(Queued::Sequenced(message));
            self.unreliable_bytes += cost;
            self.shed_oldest();
        }
        self.sweep();
        Ok(sent)
    }

    /// Cuts messages for datagrams of `datagram_bytes`: those that come, those that have not begun to
    /// leave, and those whose fragments are too large now.
    pub fn cut_for(&mut self, datagram_bytes: usize) {
        self.fragment_bytes = fragment_bytes(datagram_bytes);
        for stream in self.streams.values_mut() {
            let again = stream.cut_anew(self.fragment_bytes);
            if !again.is_empty() {
                self.large.resend.extend(again);
            }
        }
    }

    fn lane(&self, size: Size) -> &Lane {
        match size {
            Size::Small => &self.small,
            Size::Large => &self.large,
        }
    }

    fn lane_mut(&mut self, size: Size) -> &mut Lane {
        match size {
            Size::Small => &mut self.small,
            Size::Large => &mut self.large,
        }
    }

    /// Drops the places of messages that newer ones have replaced.
    fn sweep(&mut self) {
        let streams = &self.streams;
        for lane in std::iter::once(&mut self.small).chain(self.large.changed()) {
            lane.sweep(|message| {
                let stream = streams.get(message.stream);
                stream.is_some_and(|stream| stream.is_unsettled(message.space, message.number))
            });
        }
    }

    /// Drops the oldest unreliable and sequenced messages that wait while they are too many, here or in
    /// the process.
    // spec: REL-11
    fn shed_oldest(&mut self) {
        while (self.unreliable_bytes > self.max_unreliable_bytes || !self.share.may_hold(self.queued_bytes()))
            && let Some(queued) = self.small.shed()
        {
            let freed = match queued {
                Queued::Unreliable(payload) => payload.len() + MESSAGE_OVERHEAD_BYTES,
                Queued::Sequenced(message) | Queued::Reliable(message) => self.forget_sequenced(message),
            };
            self.unreliable_bytes -= freed;
            // Nothing is freed by one that a newer one has replaced.
            self.shed += u64::from(freed > 0);
        }
        self.count();
    }

    /// Takes a sequenced message out; returns what it cost, 0 when it is none.
    fn forget_sequenced(&mut self, message: MessageRef) -> usize {
        let Some(stream) = self.streams.get_mut(message.stream) else { return 0 };
        let (freed, window) = stream.forget_sequenced(message.number);
        self.window_used -= window;
        self.forget_if_done(message.stream);
        freed
    }

    /// The frame that should leave next; drops what need not leave any more. `passed` is a new one for
    /// each packet.
    pub fn next(&mut self, passed: &mut Passed) -> Option<Next> {
        if !self.is_waiting() {
            return None;
        }
        let room = self.window - self.window_used;
        if self.overtaken < MAX_OVERTAKING
            && let Ok(next) = self.next_of(Size::Small, &mut passed.small, room)
        {
            return Some(next);
        }
        match self.next_of(Size::Large, &mut passed.large, room) {
            Ok(next) => Some(next),
            Err(Blocked::ForWantOfRoom) if self.overtaken >= self.window => {
                self.next_of(Size::Small, &mut passed.small, 0).ok()
            }
            Err(_) => self.next_of(Size::Small, &mut passed.small, room).ok(),
        }
    }

    fn next_of(&mut self, size: Size, passed: &mut usize, room: usize) -> Result<Next, Blocked> {
        match self.next_resend(size) {
            Some(next) => Ok(next),
            None => self.next_fresh(size, passed, room),
        }
    }

    fn next_resend(&mut self, size: Size) -> Option<Next> {
        while let Some(&message) = self.lane(size).resend.front() {
            if let Some(waiting) = self.waiting(message) {
                return Some(Next::of(message, &waiting, Source::Resend(size)));
            }
            self.lane_mut(size).resend.pop_front();
            self.unqueue(message);
        }
        None
    }

    /// The first message behind those passed that may leave now, when the peer has `room` bytes left.
    fn next_fresh(&mut self, size: Size, passed: &mut usize, room: usize) -> Result<Next, Blocked> {
        let end = self.lane(size).len().min(*passed + SEARCH);
        let mut blocked = Blocked::Otherwise;
        while *passed < end
            && let Some(queued) = self.lane(size).get(*passed)
        {
            let source = Source::Fresh(size, *passed);
            let message = match queued {
                Queued::Unreliable(payload) => return Ok(Next::unreliable(payload.clone(), source)),
                Queued::Sequenced(message) | Queued::Reliable(message) => *message,
            };
            let Some(waiting) = self.waiting(message) else {
                self.lane_mut(size).remove(*passed);
                self.unqueue(message);
                continue;
            };
            // spec: REL-12
            if waiting.is_in_turn {
                // spec: REL-10
                if waiting.charge <= room {
                    return Ok(Next::of(message, &waiting, source));
                }
                blocked = Blocked::ForWantOfRoom;
            }
            *passed += 1;
        }
        Err(blocked)
    }

    /// The message left the queue although nothing of it had to leave: a later loss queues it again.
    fn unqueue(&mut self, message: MessageRef) {
        if let Some(stream) = self.streams.get_mut(message.stream) {
            stream.unqueue(message.space, message.number);
        }
    }

    fn waiting(&self, message: MessageRef) -> Option<Waiting<'_>> {
        self.streams.get(message.stream)?.waiting(message.space, message.number)
    }

    /// A frame from [`Self::next`] is written; returns what its packet's fate decides, if anything.
    pub fn on_sent(&mut self, next: &Next) -> Option<SentFrame> {
        let lane = match next.source {
            Source::Resend(size) | Source::Fresh(size, _) => self.lane_mut(size),
        };
        match next.source {
            Source::Resend(_) => drop(lane.resend.pop_front()),
            Source::Fresh(_, at) => drop(lane.remove(at)),
        }
        if let Some(message) = next.message {
            return Some(self.on_numbered_sent(message, next));
        }
        self.unreliable_bytes -= next.payload.len() + MESSAGE_OVERHEAD_BYTES;
        self.count();
        self.overtake(next.payload.len());
        None
    }

    /// So many bytes of a small message left while large ones may wait.
    fn overtake(&mut self, bytes: usize) {
        self.overtaken = if self.large.is_empty() { 0 } else { self.overtaken + HEAD_ROOM_BYTES + bytes };
    }

    fn on_numbered_sent(&mut self, message: MessageRef, next: &Next) -> SentFrame {
        let MessageRef { stream, space, number } = message;
        let stream = self.streams.get_mut(stream);
        let (charged, more_waits) = stream.map_or((0, false), |stream| stream.on_part_sent(space, number));
        self.window_used += charged;
        match next.source {
            Source::Resend(Size::Small) | Source::Fresh(Size::Small, _) => self.overtake(next.payload.len()),
            Source::Resend(Size::Large) | Source::Fresh(Size::Large, _) => self.overtaken = 0,
        }
        // Others go between. But it stays within the search: it occupies the peer's buffer, and those
        // before it may have to wait for just that.
        match next.source {
            _ if !more_waits => {}
            Source::Resend(size) => self.lane_mut(size).resend.push_back(message),
            Source::Fresh(size, _) => self.lane_mut(size).put_back(message, SEARCH / 2),
        }
        if space == Space::Keyed {
            self.unreliable_bytes -= self.forget_sequenced(message);
            self.count();
        }
        match next.part {
            SendPart::Whole(_) => SentFrame::Messages(message, 1),
            SendPart::Fragment(head) => SentFrame::Fragment(message, Piece::of(&head)),
        }
    }

    /// A frame has arrived.
    pub fn on_acked(&mut self, message: MessageRef, piece: Option<Piece>) {
        let MessageRef { stream: id, space, number } = message;
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (buffered, window) = stream.on_acked(space, number, piece);
        let is_done = stream.is_done();
        self.reliable_bytes -= buffered;
        self.window_used -= window;
        self.count();
        if is_done {
            self.streams.remove(id);
        }
    }

    /// The message has arrived, though no packet with it did. Sequenced ones are as lost as their packet.
    pub fn on_repaired(&mut self, message: MessageRef) {
        let MessageRef { stream, space, number } = message;
        if self.streams.get(stream).is_some_and(|stream| stream.is_unsettled(space, number)) {
            self.on_acked(message, None);
        }
    }

    /// A frame was lost: what is still wanted of it leaves again.
    pub fn on_lost(&mut self, message: MessageRef, piece: Option<Piece>) {
        let MessageRef { stream, space, number } = message;
        if self.streams.get_mut(stream).is_some_and(|stream| stream.on_lost(space, number, piece)) {
            self.lane_mut(if piece.is_some() { Size::Large } else { Size::Small }).resend.push_back(message);
        }
    }

    /// Queues one more copy of an unacked message of at most `max_bytes`. Returns its bytes, 0 when it did
    /// not.
    pub fn probe(&mut self, message: MessageRef, max_bytes: usize) -> usize {
        let MessageRef { stream, space, number } = message;
        let queued = self.streams.get_mut(stream).and_then(|stream| stream.probe(space, number, max_bytes));
        if queued.is_some() {
            self.small.resend.push_back(message);
        }
        queued.unwrap_or(0)
    }

    /// As if all message numbers below `number` were settled, on every stream.
    #[cfg(test)]
    pub fn start_at(&mut self, number: u64) {
        self.streams.values_mut().for_each(|stream| stream.start_at(number));
    }

    /// Counts all again and compares; `under_way` are the frames in flight.
    #[cfg(any(test, fuzzing))]
    pub fn audit(&self, under_way: &[SentFrame]) {
        let queued = |name| self.small.count(name) + self.large.count(name);
        let flying = |name, piece: Option<Piece>| match piece {
            Some(piece) => {
                under_way.iter().filter(|frame| **frame == SentFrame::Fragment(name, piece)).count()
            }
            None => under_way.iter().flat_map(SentFrame::messages).filter(|message| *message == name).count(),
        };
        let mut sums = [0; 3];
        for stream in self.streams.values() {
            let of = stream.audit(&queued, &flying);
            sums = std::array::from_fn(|at| sums[at] + of[at]);
            assert!(!stream.is_done(), "a stream that is done is kept");
        }
        assert_eq!(self.large.unreliable().count(), 0);
        sums[1] += self.small.unreliable().map(|it| it.len() + MESSAGE_OVERHEAD_BYTES).sum::<usize>();
        assert_eq!(sums, [self.reliable_bytes, self.unreliable_bytes, self.window_used]);
        assert!(self.reliable_bytes <= self.max_reliable_bytes && self.window_used <= self.window);
        assert_eq!(self.share.held(), self.queued_bytes());
    }

    fn forget_if_done(&mut self, stream: StreamId) {
        if self.streams.get(stream).is_some_and(SendStream::is_done) {
            self.streams.remove(stream);
        }
    }
}

impl Next {
    fn of(message: MessageRef, waiting: &Waiting<'_>, source: Source) -> Self {
        let payload = match waiting.part {
            SendPart::Whole(_) => waiting.payload.clone(),
            SendPart::Fragment(head) => {
                waiting.payload.slice(head.offset()..head.offset() + head.payload_bytes())
            }
        };
        Self { part: waiting.part, payload, message: Some(message), source }
    }

    fn unreliable(payload: Payload, source: Source) -> Self {
        Self { part: SendPart::Whole(MessageHead::Unreliable), payload, message: None, source }
    }

    /// Bytes of the frame where it is not the last of its packet.
    pub fn frame_bytes(&self) -> usize {
        let head = match self.part {
            SendPart::Whole(head) => head.encoded_len(self.payload.len(), false),
            SendPart::Fragment(head) => head.encoded_len(false),
        };
        head + self.payload.len()
    }
}

/// Largest payload of a fragment in a datagram of `datagram_bytes`.
const fn fragment_bytes(datagram_bytes: usize) -> usize {
    datagram_bytes - TAG_BYTES - HEAD_ROOM_BYTES - FRAGMENT_ROOM_BYTES
}
