//! Chooses the message to send next.
//!
//! Messages that fit into one packet are sent before those that need several, so that a large message does
//! not delay small ones. After [`OVERTAKING`] times its bytes of small ones, however, a fragment has its turn.
//! Keyed small messages that must wait do not delay those without a key either.
//!
//! A message for which the peer has no room is overtaken by others that fit, but not forever (`starvation`).
//!
//! Retransmissions go before messages that were never sent, but only [`MAX_RESENT`] fragments at a time.

use smallvec::SmallVec;

use super::lane::Queued;
use super::lanes::LaneName;
use super::{HEAD_ROOM_BYTES, Outbox, Passed};
use crate::rudp::Payload;
use crate::rudp::connection::sent::SentFrame;
use crate::rudp::connection::stream::{Buffered, FragmentId, MessageRef, SendPart, Space, Waiting};
use crate::wire::frame::{LengthField, MessageHead};

/// A frame to be written.
#[derive(Debug)]
pub struct Next {
    /// Head of the message or fragment.
    pub part: SendPart,
    /// Payload that follows the head in the packet.
    pub payload: Payload,
    /// `None` for unreliable messages.
    message: Option<MessageRef>,
    source: Source,
}

/// Origin of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// A retransmission or probe.
    Resend(LaneName),
    /// A message not yet sent in full, at this place of its lane.
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

    /// Returns the size of the frame when it is not the last of its packet.
    pub fn frame_bytes(&self) -> usize {
        let head = match self.part {
            SendPart::Whole(head) => head.encoded_len(self.payload.len(), LengthField::Present),
            SendPart::Fragment(head) => head.encoded_len(LengthField::Present),
        };
        head + self.payload.len()
    }
}

/// Number of entries of a lane that are searched for one that may leave when the front may not.
const SEARCH: usize = 32;
/// Most places of a lane that a packet passes, including those that do not count for [`SEARCH`]. More than
/// the members of a session may send at once (LIM-3) and the peer does not take at once (REL-10).
const MAX_PASSED: usize = 4_096;
/// Number of spaces for which a search remembers that later messages are not in turn and need not count for
/// [`SEARCH`].
const OUT_OF_TURN: usize = 4;
/// Bytes of small messages, heads included, that are sent for each byte of a fragment before it has its turn.
/// Large messages thus get at least a fifth of the line, whatever the size of its datagrams.
const OVERTAKING: usize = 4;
/// Fragments retransmitted before one that was never sent has its turn.
const MAX_RESENT: u8 = 4;

/// A search in a lane for the first message that may leave.
#[derive(Default)]
struct Search {
    /// Places that count for [`SEARCH`].
    searched: usize,
    /// Messages found that may not leave, up to [`OUT_OF_TURN`].
    out_of_turn: SmallVec<[MessageRef; OUT_OF_TURN]>,
}

impl Search {
    /// Returns true for a message that waits behind an earlier one of its space, or behind its want of room.
    /// Such messages do not count for the search, so that they hold up no other stream unless there are more
    /// than [`MAX_PASSED`].
    fn waits_behind(&self, message: MessageRef) -> bool {
        self.out_of_turn.iter().any(|earlier| message.comes_after(earlier))
    }

    /// Notes that `message` may not leave.
    fn pass(&mut self, message: MessageRef) {
        self.searched += 1;
        if self.out_of_turn.len() < OUT_OF_TURN {
            self.out_of_turn.push(message);
        }
    }
}

impl Outbox {
    /// Returns the frame to send next, and drops entries that no longer need to be sent. Each packet starts
    /// with a new `passed`.
    pub fn next(&mut self, passed: &mut Passed) -> Option<Next> {
        if !self.is_waiting() {
            return None;
        }
        if passed.is_resends_only() {
            let small = self.next_resend(LaneName::Small);
            return small.or_else(|| self.next_resend(LaneName::Large));
        }
        let claimant = self.starvation.claimant(self.window);
        let next = self.next_new(passed);
        if next.is_some() || claimant.is_none() {
            return next;
        }
        if self.window_used == 0 {
            // The peer has room for any message, so this one is out of the search's reach, behind others that
            // wait for it. Those go first.
            self.starvation.end();
        } else if self.starvation.claimant(self.window) == claimant {
            return None;
        }
        // The claim that has kept the others from leaving is over.
        passed.begin_again();
        self.next_new(passed)
    }

    /// Returns the next frame of a packet that is not for retransmissions only.
    fn next_new(&mut self, passed: &mut Passed) -> Option<Next> {
        let still_waits =
            |message: MessageRef| self.waiting(message).is_some_and(|waiting| waiting.charge > 0);
        if self.starvation.message().is_some_and(|message| !still_waits(message)) {
            self.starvation.end();
        }
        if (passed.is_small_first() || self.overtaken < OVERTAKING * self.fragment_bytes)
            && let Some(next) = self.next_small(passed)
        {
            return Some(next);
        }
        self.next_large(passed).or_else(|| self.next_small(passed))
    }

    /// Returns the bytes of the peer's receive buffer that `message` may take.
    fn room_for(&self, message: MessageRef) -> usize {
        let others_wait = self.starvation.claimant(self.window).is_some_and(|claimant| claimant != message);
        if others_wait { 0 } else { self.window - self.window_used }
    }

    fn next_small(&mut self, passed: &mut Passed) -> Option<Next> {
        if let Some(next) = self.next_resend(LaneName::Small) {
            return Some(next);
        }
        let [first, second] = self.lanes.small_by_age(passed);
        self.next_fresh(first, passed).or_else(|| self.next_fresh(second, passed))
    }

    /// Lets new fragments pass after [`MAX_RESENT`] retransmissions: a peer out of memory may drop the
    /// retransmitted ones again and again until it has the rest of another message.
    // spec: REL-15
    fn next_large(&mut self, passed: &mut Passed) -> Option<Next> {
        if self.resent >= MAX_RESENT {
            let fresh = self.next_fresh(LaneName::Large, passed);
            return fresh.or_else(|| self.next_resend(LaneName::Large));
        }
        let resend = self.next_resend(LaneName::Large);
        resend.or_else(|| self.next_fresh(LaneName::Large, passed))
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

    /// Returns the first message behind those passed that may leave now.
    fn next_fresh(&mut self, lane: LaneName, passed: &mut Passed) -> Option<Next> {
        let (passed, mut search) = (passed.of(lane), Search::default());
        while search.searched < SEARCH
            && *passed < MAX_PASSED
            && let Some(queued) = self.lanes.of(lane).get(*passed)
        {
            let source = Source::Fresh(lane, *passed);
            let message = match queued {
                Queued::Unreliable(payload) => return Some(Next::unreliable(payload.clone(), source)),
                Queued::Sequenced(message) | Queued::Reliable(message) => *message,
                Queued::Gone => {
                    self.lanes.of_mut(lane).drop_gone(*passed);
                    continue;
                }
            };
            if search.waits_behind(message) {
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
                if waiting.charge <= self.room_for(message) {
                    return Some(Next::of(message, &waiting, source));
                }
                let came = self.lanes.of(lane).came(*passed).unwrap_or(u64::MAX);
                self.starvation.on_no_room(message, came);
            }
            search.pass(message);
            *passed += 1;
        }
        None
    }

    /// Marks a message as no longer queued when it left the queue without being sent, so that a later loss
    /// queues it again.
    fn unqueue(&mut self, message: MessageRef) {
        if let Some(stream) = self.streams.get_mut(message.stream) {
            stream.unqueue(message.space, message.number);
        }
    }

    fn waiting(&self, message: MessageRef) -> Option<Waiting<'_>> {
        self.streams.get(message.stream)?.waiting(message.space, message.number)
    }

    /// Records that a frame from [`Self::next`] was written. Returns what depends on the fate of its packet,
    /// if anything.
    pub fn on_sent(&mut self, next: &Next) -> Option<SentFrame> {
        self.stalled = false;
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
        self.unreliable -= Buffered::message(next.payload.len());
        self.count();
        self.overtake(next.payload.len());
        None
    }

    /// Counts a small message of `bytes` that was sent while large ones may wait.
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
        // spec: REL-16
        self.starvation.on_sent(message, charged);
        match next.source {
            Source::Resend(LaneName::Large) => {
                let new_ones_wait = self.lanes.of(LaneName::Large).get(0).is_some();
                self.overtaken = 0;
                self.resent = if new_ones_wait { self.resent.saturating_add(1) } else { 0 };
            }
            Source::Fresh(LaneName::Large, _) => (self.overtaken, self.resent) = (0, 0),
            Source::Resend(_) | Source::Fresh(..) => self.overtake(next.payload.len()),
        }
        // Other messages may go in between. The message stays within reach of the search, though: it occupies
        // the peer's buffer, and messages before it may be waiting for just that room.
        match next.source {
            _ if !more_waits => {}
            Source::Resend(lane) => self.lanes.of_mut(lane).resend.push_back(message),
            Source::Fresh(lane, _) => self.lanes.of_mut(lane).put_back(message, SEARCH / 2),
        }
        if space == Space::Keyed {
            self.forget_sequenced(message);
            self.count();
        }
        match next.part {
            SendPart::Whole(_) => SentFrame::Messages(message, 1),
            SendPart::Fragment(head) => SentFrame::Fragment(message, FragmentId::of(&head)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::StreamId;
    use crate::rudp::ConnectionConfig;
    use crate::wire::Delivery;

    const BUFFER: usize = 1 << 16;

    /// Returns an outbox with this many open streams, whose peer has a buffer of [`BUFFER`] bytes.
    fn outbox(streams: u32) -> Outbox {
        let config = ConnectionConfig { receive_buffer_bytes: BUFFER, ..ConnectionConfig::default() };
        let mut outbox = Outbox::new(&config, &config.parameters());
        (0..streams).for_each(|stream| outbox.open(StreamId(stream)));
        outbox
    }

    fn push(outbox: &mut Outbox, stream: u32, delivery: Delivery, bytes: usize) {
        outbox.push(StreamId(stream), delivery, Bytes::from(vec![0; bytes]).into()).unwrap();
    }

    fn unordered(stream: u32, number: u64) -> MessageRef {
        MessageRef { stream: StreamId(stream), space: Space::Unordered, number }
    }

    /// Lets the message starve, behind others that have taken `taken` bytes since.
    fn starve(outbox: &mut Outbox, message: MessageRef, came: u64, taken: usize) {
        outbox.starvation.on_no_room(message, came);
        outbox.starvation.on_sent(unordered(u32::MAX, 0), taken);
    }

    /// Returns the length of the next message in a new packet.
    fn next_bytes(outbox: &mut Outbox) -> Option<usize> {
        Some(outbox.next(&mut Passed::default())?.payload.len())
    }

    /// The older one gets no room either, but has no claim yet, so that what fits may leave.
    // spec-test: REL-16
    #[test]
    fn a_claim_that_passes_to_an_older_message_holds_up_nothing_that_fits() {
        let mut outbox = outbox(3);
        push(&mut outbox, 0, Delivery::ReliableUnordered, 1_000);
        push(&mut outbox, 1, Delivery::ReliableUnordered, 1_000);
        push(&mut outbox, 2, Delivery::ReliableUnordered, 10);
        outbox.window_used = BUFFER - 500;
        starve(&mut outbox, unordered(1, 0), 1, BUFFER);
        assert_eq!(next_bytes(&mut outbox), Some(10));
        assert_eq!(outbox.starvation.message(), Some(unordered(0, 0)));
    }

    /// More streams than are searched have a large message before it, each behind a small one of its own.
    // spec-test: REL-16
    #[test]
    fn a_starving_message_out_of_reach_does_not_stop_those_before_it() {
        let mut outbox = outbox(40);
        for stream in 0..40 {
            push(&mut outbox, stream, Delivery::ReliableOrdered, 10);
            push(&mut outbox, stream, Delivery::ReliableOrdered, 3_000);
        }
        push(&mut outbox, 0, Delivery::ReliableUnordered, 60_000);
        starve(&mut outbox, unordered(0, 0), 0, BUFFER);
        assert_eq!(next_bytes(&mut outbox), Some(10), "the peer has room for all");
    }

    // spec-test: REL-16
    #[test]
    fn an_older_message_without_room_starves_in_place_of_a_younger_one() {
        let mut outbox = outbox(2);
        push(&mut outbox, 0, Delivery::ReliableUnordered, 1_000);
        push(&mut outbox, 1, Delivery::ReliableUnordered, 1_000);
        outbox.window_used = BUFFER - 100;
        starve(&mut outbox, unordered(1, 0), 1, 5_000);
        assert_eq!(next_bytes(&mut outbox), None);
        assert_eq!(outbox.starvation.message(), Some(unordered(0, 0)));
    }

    // spec-test: REL-16
    #[test]
    fn the_claim_of_a_message_that_is_gone_is_over() {
        let mut outbox = outbox(1);
        push(&mut outbox, 0, Delivery::ReliableUnordered, 10);
        outbox.window_used = 100;
        starve(&mut outbox, unordered(0, 7), 0, BUFFER);
        assert_eq!(next_bytes(&mut outbox), Some(10));
        assert_eq!(outbox.starvation.message(), None);
    }

    #[test]
    fn a_fragment_has_its_turn_after_four_times_its_bytes() {
        for (datagram_bytes, small) in [(1_200, 5), (9_216, 36)] {
            let config = ConnectionConfig::default();
            let mut outbox = Outbox::new(&config, &config.parameters());
            outbox.cut_for(datagram_bytes);
            [1, 2].into_iter().for_each(|stream| outbox.open(StreamId(stream)));
            push(&mut outbox, 1, Delivery::ReliableOrdered, 100_000);
            (0..100).for_each(|_| push(&mut outbox, 2, Delivery::ReliableOrdered, 1_000));
            let mut next = || {
                let next = outbox.next(&mut Passed::default())?;
                outbox.on_sent(&next);
                Some(next.payload.len())
            };
            for _ in 0..2 {
                let before = std::iter::from_fn(&mut next).take_while(|bytes| *bytes == 1_000).count();
                assert_eq!(before, small, "{datagram_bytes}");
            }
        }
    }

    #[test]
    fn a_fragment_sent_again_is_a_turn_as_well() {
        let config = ConnectionConfig::default();
        let mut outbox = Outbox::new(&config, &config.parameters());
        [1, 2].into_iter().for_each(|stream| outbox.open(StreamId(stream)));
        push(&mut outbox, 1, Delivery::ReliableOrdered, 100_000);
        (0..100).for_each(|_| push(&mut outbox, 2, Delivery::ReliableOrdered, 1_000));
        for _ in 0..2 {
            let mut small = 0;
            let (message, fragment) = loop {
                let next = outbox.next(&mut Passed::default()).unwrap();
                if let Some(SentFrame::Fragment(message, fragment)) = outbox.on_sent(&next) {
                    break (message, fragment);
                }
                small += 1;
            };
            assert_eq!(small, 5);
            outbox.on_lost(message, Some(fragment));
        }
    }

    /// So that all of those that have begun are within reach of the search.
    #[test]
    fn large_messages_take_turns_in_groups() {
        let config = ConnectionConfig::default();
        let mut outbox = Outbox::new(&config, &config.parameters());
        outbox.open(StreamId(0));
        (0..2 * SEARCH).for_each(|_| push(&mut outbox, 0, Delivery::ReliableUnordered, 20_000));
        let group = SEARCH as u64 / 2 + 1;
        for turn in 0..3 * group {
            let next = outbox.next(&mut Passed::default()).unwrap();
            outbox.on_sent(&next);
            assert_eq!(next.message, Some(unordered(0, turn % group)));
        }
    }

    /// Otherwise the first of several would be complete only when the last is.
    #[test]
    fn an_ordered_message_leaves_whole_before_the_next_of_its_stream_begins() {
        let config = ConnectionConfig::default();
        let mut outbox = Outbox::new(&config, &config.parameters());
        [1, 2].into_iter().for_each(|stream| outbox.open(StreamId(stream)));
        for stream in [1, 1, 1, 2, 2] {
            push(&mut outbox, stream, Delivery::ReliableOrdered, 5_000);
        }
        let mut left = Vec::new();
        while let Some(next) = outbox.next(&mut Passed::default()) {
            outbox.on_sent(&next);
            let message = next.message.unwrap();
            left.push((message.stream.0, message.number));
        }
        let of_stream = |stream| left.iter().filter(move |left| left.0 == stream).map(|left| left.1);
        assert!(of_stream(1).is_sorted() && of_stream(2).is_sorted(), "{left:?}");
        assert!(left[..5].contains(&(2, 0)), "the streams take turns: {left:?}");
    }

    #[test]
    fn a_search_in_vain_is_repeated_only_after_a_change() {
        let mut outbox = outbox(2);
        push(&mut outbox, 0, Delivery::ReliableUnordered, 60_000);
        let Some(next) = outbox.next(&mut Passed::default()) else { panic!("there is room") };
        let Some(SentFrame::Fragment(message, fragment)) = outbox.on_sent(&next) else {
            panic!("it is large")
        };
        push(&mut outbox, 1, Delivery::ReliableUnordered, 6_000);
        while let Some(next) = outbox.next(&mut Passed::default()) {
            outbox.on_sent(&next);
        }
        let stalls = |outbox: &mut Outbox| {
            let searches = outbox.may_have_next();
            outbox.stall();
            searches && !outbox.may_have_next() && outbox.is_rightly_stalled()
        };
        assert!(stalls(&mut outbox), "6,000 bytes find no room");
        outbox.on_lost(message, Some(fragment));
        assert!(outbox.may_have_next() && next_bytes(&mut outbox).is_some(), "sent again");
        let again = outbox.next(&mut Passed::default()).unwrap();
        outbox.on_sent(&again);
        assert!(stalls(&mut outbox));
        push(&mut outbox, 1, Delivery::Unreliable, 10);
        assert!(outbox.may_have_next());
        assert_eq!(next_bytes(&mut outbox), Some(10));
    }

    #[test]
    fn messages_without_room_do_not_hide_one_of_another_stream_that_has_room() {
        let mut outbox = outbox(2);
        (0..4 * SEARCH).for_each(|_| push(&mut outbox, 0, Delivery::ReliableUnordered, 1_000));
        push(&mut outbox, 1, Delivery::ReliableUnordered, 10);
        outbox.window_used = BUFFER - 500;
        assert_eq!(next_bytes(&mut outbox), Some(10));
    }
}
