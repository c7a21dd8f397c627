//! Which message leaves next.
//!
//! What fits into a packet leaves before what needs several, so that a large message does not keep small
//! ones waiting. But after [`MAX_OVERTAKING`] bytes of small ones a fragment has its turn, and when a window
//! of them has overtaken a large message that finds no room at the peer, they wait until it does. Small ones
//! with a key that must wait keep those without one waiting as little.
//! What was lost leaves before what never left, but of fragments [`MAX_RESENT`] at most.

use smallvec::SmallVec;

use super::lane::Queued;
use super::lanes::LaneName;
use super::{HEAD_ROOM_BYTES, Outbox, Passed};
use crate::rudp::Payload;
use crate::rudp::connection::sent::SentFrame;
use crate::rudp::connection::stream::{MessageRef, Piece, SendPart, Space, Waiting};
use crate::wire::frame::{MESSAGE_OVERHEAD_BYTES, MessageHead};

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

/// Where a frame came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// What is sent again.
    Resend(LaneName),
    /// What never left, at this place of its lane.
    Fresh(LaneName, usize),
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

/// How far a lane is searched for something that may leave when its front may not.
const SEARCH: usize = 32;
/// Places of a lane that a packet passes at most, those that cost the search nothing included: more than what the members
/// of a session may send at once (LIM-3) and the peer does not take at once (REL-10).
const MAX_PASSED: usize = 4_096;
/// Of so many streams it is remembered during a search that what follows is not in its turn, and costs the search nothing.
const OUT_OF_TURN: usize = 4;
/// Bytes of small messages, heads included, that leave before a fragment has its turn: it has a fifth of the
/// line at least.
const MAX_OVERTAKING: usize = 4_800;
/// Pieces of large messages that leave again before one that never left has its turn.
const MAX_RESENT: u8 = 4;

/// Why nothing may leave.
enum Blocked {
    /// A message would have its turn, but the peer has no room for it.
    ForWantOfRoom,
    Otherwise,
}

impl Outbox {
    /// The frame that should leave next; drops what need not leave any more. `passed` is a new one for
    /// each packet.
    pub fn next(&mut self, passed: &mut Passed) -> Option<Next> {
        if !self.is_waiting() {
            return None;
        }
        if passed.is_resends_only() {
            let small = self.next_resend(LaneName::Small);
            return small.or_else(|| self.next_resend(LaneName::Large));
        }
        let room = self.window - self.window_used;
        if (passed.is_small_first() || self.overtaken < MAX_OVERTAKING)
            && let Ok(next) = self.next_small(passed, room)
        {
            return Some(next);
        }
        match self.next_large(passed, room) {
            Ok(next) => return Some(next),
            Err(Blocked::ForWantOfRoom) => passed.want_room(),
            Err(Blocked::Otherwise) => {}
        }
        let is_starved = passed.wants_room() && self.overtaken >= self.window;
        self.next_small(passed, if is_starved { 0 } else { room }).ok()
    }

    fn next_small(&mut self, passed: &mut Passed, room: usize) -> Result<Next, Blocked> {
        if let Some(next) = self.next_resend(LaneName::Small) {
            return Ok(next);
        }
        let [first, second] = self.lanes.small_by_age(passed);
        self.next_fresh(first, passed, room).or_else(|_| self.next_fresh(second, passed, room))
    }

    /// A peer without memory may drop what is lost again and again until it has the rest of another message.
    // spec: REL-15
    fn next_large(&mut self, passed: &mut Passed, room: usize) -> Result<Next, Blocked> {
        if self.resent >= MAX_RESENT {
            let fresh = self.next_fresh(LaneName::Large, passed, room);
            return fresh.or_else(|blocked| self.next_resend(LaneName::Large).ok_or(blocked));
        }
        match self.next_resend(LaneName::Large) {
            Some(next) => Ok(next),
            None => self.next_fresh(LaneName::Large, passed, room),
        }
    }

    fn next_resend(&mut self, lane: LaneName) -> Option<Next> {
        while let Some(&message) = self.lanes.of(lane).resend.front() {
            if let Some(waiting) = self.waiting(message) {
                return Some(Next::of(message, &waiting, Source::Resend(lane)));
            }
            self.lanes.of_mut(lane).resend.pop_front();
            self.unqueue(message);
        }
        None
    }

    /// The first message behind those passed that may leave now, when the peer has `room` bytes left.
    fn next_fresh(&mut self, lane: LaneName, passed: &mut Passed, room: usize) -> Result<Next, Blocked> {
        let passed = passed.of(lane);
        let (mut searched, mut out_of_turn) = (0, SmallVec::<[MessageRef; OUT_OF_TURN]>::new());
        let mut blocked = Blocked::Otherwise;
        while searched < SEARCH
            && *passed < MAX_PASSED
            && let Some(queued) = self.lanes.of(lane).get(*passed)
        {
            let source = Source::Fresh(lane, *passed);
            let message = match queued {
                Queued::Unreliable(payload) => return Ok(Next::unreliable(payload.clone(), source)),
                Queued::Sequenced(message) | Queued::Reliable(message) => *message,
                Queued::Gone => {
                    self.lanes.of_mut(lane).drop_gone(*passed);
                    continue;
                }
            };
            // What waits for its turn behind those of its stream holds up no other's, unless it is far too many.
            if out_of_turn.iter().any(|earlier| message.comes_after(earlier)) {
                *passed += 1;
                continue;
            }
            let Some(waiting) = self.waiting(message) else {
                self.lanes.of_mut(lane).remove(*passed);
                self.unqueue(message);
                continue;
            };
            // spec: REL-10
            if waiting.is_in_turn {
                // spec: REL-12
                if waiting.charge <= room {
                    return Ok(Next::of(message, &waiting, source));
                }
                blocked = Blocked::ForWantOfRoom;
            } else if out_of_turn.len() < OUT_OF_TURN {
                out_of_turn.push(message);
            }
            (*passed, searched) = (*passed + 1, searched + 1);
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
            Source::Resend(lane) | Source::Fresh(lane, _) => self.lanes.of_mut(lane),
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

    /// A small message of `bytes` left while large ones may wait.
    fn overtake(&mut self, bytes: usize) {
        self.overtaken = if self.lanes.of(LaneName::Large).is_empty() {
            0
        } else {
            self.overtaken + HEAD_ROOM_BYTES + bytes
        };
    }

    fn on_numbered_sent(&mut self, message: MessageRef, next: &Next) -> SentFrame {
        let MessageRef { stream, space, number } = message;
        let stream = self.streams.get_mut(stream);
        let (charged, more_waits) = stream.map_or((0, false), |stream| stream.on_part_sent(space, number));
        if matches!(next.source, Source::Fresh(LaneName::Large, _)) {
            let released = self.streams.get_mut(message.stream).map(|stream| stream.release(space));
            for message in released.into_iter().flatten() {
                self.lanes.push(LaneName::Small, Queued::Reliable(message));
            }
        }
        self.window_used += charged;
        match next.source {
            Source::Resend(LaneName::Large) => {
                let new_ones_wait = self.lanes.of(LaneName::Large).get(0).is_some();
                self.overtaken = 0;
                self.resent = if new_ones_wait { self.resent.saturating_add(1) } else { 0 };
            }
            Source::Fresh(LaneName::Large, _) => (self.overtaken, self.resent) = (0, 0),
            Source::Resend(_) | Source::Fresh(..) => self.overtake(next.payload.len()),
        }
        // Others go between. But it stays within the search: it occupies the peer's buffer, and those
        // before it may have to wait for just that.
        match next.source {
            _ if !more_waits => {}
            Source::Resend(lane) => self.lanes.of_mut(lane).resend.push_back(message),
            Source::Fresh(lane, _) => self.lanes.of_mut(lane).put_back(message, SEARCH / 2),
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
}
