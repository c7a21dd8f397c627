//! The sending side of a stream: keeps messages until they are settled.
//!
//! A message is in one of these states. Its place in a queue is the [outbox's](super::super::outbox); `queued`
//! says that it has one.
//!
//! | state | `queued` | in flight | ends with |
//! |---|---|---|---|
//! | held: small, behind a large one that has not begun to leave | no | no | [`SendStream::release`] |
//! | waits to leave, in whole or in part | yes | in part | [`SendStream::on_part_sent`] |
//! | in flight | no | yes | [`SendStream::on_acked`], [`SendStream::on_lost`], [`SendStream::probe`] |
//! | waits to leave again | yes | perhaps | [`SendStream::on_part_sent`], [`SendStream::on_acked`] |
//! | settled: acked, forgotten or replaced; its number stays until all before it are settled | no | perhaps | |
//!
//! A message that is settled while it waits leaves its place in the queue behind; whoever comes upon it finds
//! that nothing of it is [waiting](SendStream::waiting).

#[cfg(any(test, fuzzing))]
mod audit;
mod fragments;
mod keys;
mod space;

pub use self::fragments::FragmentId;
use self::fragments::Fragments;
use self::keys::KeyIndex;
use self::space::{Entry, Outgoing, SendSpace};
use super::{Buffered, MAX_KEYS, MAX_MESSAGE_NUMBER, MessageRef, Space, WINDOW_MESSAGES};
use crate::base::{Rare, StreamId, prefetch_end};
use crate::rudp::Payload;
use crate::wire::Delivery;
use crate::wire::frame::{FragmentHead, MessageHead, Place};

/// The unsettled messages of a stream.
#[derive(Debug)]
pub struct SendStream {
    id: StreamId,
    ordered: SendSpace,
    unordered: Rare<SendSpace>,
    keyed: Rare<SendSpace>,
    /// Numbers of the messages kept in `keyed`, by key.
    by_key: Rare<KeyIndex>,
    finishing: bool,
}

/// A queued message of which something should be sent.
#[derive(Debug)]
pub struct Waiting<'a> {
    /// The part to send next.
    pub part: SendPart,
    /// Payload of the whole message.
    pub payload: &'a Payload,
    /// Bytes of the peer's receive buffer that the message will take up when it leaves; 0 when it has left
    /// before or takes no room there.
    pub charge: usize,
    /// True when the message lies within the window that the peer keeps open, and no earlier message of its
    /// space waits to leave for the first time. Otherwise small messages that overtook a large one would
    /// occupy the peer's buffer until that one is settled, and it would never fit.
    pub is_in_turn: bool,
}

/// What goes into a packet for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendPart {
    /// The whole message.
    Whole(MessageHead),
    /// One fragment.
    Fragment(FragmentHead),
}

impl SendStream {
    /// A stream is stuck when its oldest message is found without progress this many times.
    pub const STUCK: u16 = 3;

    /// Creates an open stream without messages.
    pub fn new(id: StreamId) -> Self {
        Self {
            id,
            ordered: SendSpace::default(),
            unordered: Rare::default(),
            keyed: Rare::default(),
            by_key: Rare::default(),
            finishing: false,
        }
    }

    /// Prefetches the memory that the next ordered message will be stored in.
    pub fn prefetch_to_push(&self) {
        prefetch_end(&self.ordered.entries);
    }

    /// Adds a message in place of the older ones of its key that it replaces. With `fragment_bytes`, it is
    /// cut into fragments of at most that size.
    ///
    /// A message that may be lost never replaces one that may not, since its key could then be left without a
    /// value. A fragmented message of which some has left is sent to the end, because the peer keeps room for
    /// it.
    pub fn push(
        &mut self,
        space: Space,
        delivery: Delivery,
        payload: Payload,
        fragment_bytes: Option<usize>,
    ) -> Pushed {
        if space != Space::Keyed {
            let (number, is_queued) = self.add(space, delivery, payload, fragment_bytes, None);
            return Pushed { number, is_queued, freed: Freed::default() };
        }
        let (mut freed, place) = self.supersede(delivery, fragment_bytes.is_some());
        let (number, is_queued) = self.add(space, delivery, payload, fragment_bytes, place);
        freed.window += self.keyed.settle();
        Pushed { number, is_queued, freed }
    }

    /// Adds a message. Returns its number, which is the next one or that of `place`, and whether it must be
    /// queued.
    fn add(
        &mut self,
        space: Space,
        delivery: Delivery,
        payload: Payload,
        fragment_bytes: Option<usize>,
        place: Option<u64>,
    ) -> (u64, bool) {
        let fragments = fragment_bytes.map(|bytes| Box::new(Fragments::new(&payload, bytes)));
        let (key, is_large) = (delivery.key(), fragments.is_some());
        let space = self.space_mut(space);
        // Keyed messages are always queued: they have a lane of their own, where they may be shed.
        let queued = is_large || key.is_some() || space.slow.holds_from.is_none();
        let message = Some(Outgoing { delivery, payload, copies: 0, queued, fragments });
        let number = match place.and_then(|number| Some((number, space.entry_mut(number)?))) {
            Some((number, entry)) => {
                entry.message = message;
                number
            }
            None => {
                space.entries.push_back(Entry { charged: 0, message });
                space.end() - 1
            }
        };
        if is_large && key.is_none() {
            space.slow.holds_from.get_or_insert(number);
        }
        if let Some(key) = key {
            self.by_key.add(key, number);
        }
        (number, queued && place.is_none())
    }

    /// Returns the small messages to be queued now that a large one before them has begun to leave.
    pub fn release(&mut self, space: Space) -> impl Iterator<Item = MessageRef> + use<> {
        let stream = self.id;
        let space_mut = self.space_mut(space);
        let released = space_mut.release();
        for number in released.clone() {
            if let Some(message) = space_mut.entry_mut(number).and_then(|entry| entry.message.as_mut()) {
                message.queued = true;
            }
        }
        released.map(move |number| MessageRef { stream, space, number })
    }

    /// Drops the older messages that a newer one `by` replaces. Returns what this frees, and the number of
    /// one that never left, whose place in the queue the newer one may take.
    fn supersede(&mut self, by: Delivery, in_fragments: bool) -> (Freed, Option<u64>) {
        let (mut freed, mut place) = (Freed::default(), None);
        let Some(key) = by.key() else { return (freed, place) };
        for number in self.by_key.numbers(key) {
            let sent_end = self.keyed.sent_end;
            let Some(entry) = self.keyed.entry_mut(number) else { continue };
            if entry.gives_way_to(by)
                && let Some(message) = entry.message.take()
            {
                freed.add(&message);
                freed.window += std::mem::take(&mut entry.charged);
                if number >= sent_end && message.is_queued_like(by, in_fragments) {
                    place = Some(number);
                }
                self.by_key.remove(key, number);
            }
        }
        (freed, place)
    }

    /// Returns the bytes of the reliable messages that a message of delivery `by` would replace.
    pub fn superseded_bytes(&self, by: Delivery) -> usize {
        let numbers = by.key().map(|key| self.by_key.numbers(key)).unwrap_or_default();
        let entries = numbers.into_iter().filter_map(|number| self.keyed.entry(number));
        let replaced = entries.filter(|entry| entry.gives_way_to(by)).filter_map(|it| it.message.as_ref());
        replaced.filter(|message| message.delivery.is_reliable()).map(|it| it.buffered().bytes).sum()
    }

    /// Cuts messages into fragments of at most `fragment_bytes`: those that have not begun to leave, and
    /// those whose fragments are larger. Returns those that must be queued, because they wait again.
    // spec: FRM-12
    pub fn cut_anew(&mut self, fragment_bytes: usize) -> Vec<MessageRef> {
        let mut waiting = Vec::new();
        for space in [Space::Ordered, Space::Unordered, Space::Keyed] {
            if self.space(space).entries.is_empty() {
                continue;
            }
            let spaces = self.space_mut(space);
            for (number, entry) in (spaces.base..).zip(&mut spaces.entries) {
                let has_begun = entry.charged > 0;
                let Some(message) = &mut entry.message else { continue };
                let Some(fragments) = &mut message.fragments else { continue };
                let fits = message.payload.len().div_ceil(fragments.count as usize) <= fragment_bytes;
                if has_begun && fits {
                    continue;
                }
                **fragments = Fragments::new(&message.payload, fragment_bytes);
                if !std::mem::replace(&mut message.queued, true) {
                    waiting.push((space, number));
                }
            }
        }
        let stream = self.id;
        waiting.into_iter().map(|(space, number)| MessageRef { stream, space, number }).collect()
    }

    /// Checks what has changed since the last call. Returns false when the oldest message of a space has not
    /// changed over the last [`Self::STUCK`] calls, including this one.
    pub fn check_progress(&mut self) -> bool {
        let rare = [&mut self.unordered, &mut self.keyed].into_iter().filter_map(Rare::get_mut);
        let spaces = std::iter::once(&mut self.ordered).chain(rare);
        spaces.map(SendSpace::look_at_oldest).max().is_none_or(|seen| seen < Self::STUCK)
    }

    /// Frees memory beyond what is in use.
    pub fn shrink(&mut self) {
        let rare = [&mut self.unordered, &mut self.keyed].into_iter().filter_map(Rare::get_mut);
        std::iter::once(&mut self.ordered).chain(rare).for_each(SendSpace::shrink);
    }

    /// Closes the stream for new messages.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// Returns true when the stream is finished and all its messages are settled.
    pub fn is_done(&self) -> bool {
        self.finishing
            && [&self.ordered, &*self.unordered, &*self.keyed].iter().all(|space| space.entries.is_empty())
    }

    /// Returns true when no more messages may be added.
    pub fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Returns true when no number is left.
    // spec: STR-3
    pub fn is_full(&self, space: Space) -> bool {
        self.space(space).end() > MAX_MESSAGE_NUMBER
    }

    /// Returns true when too many keyed numbers are unsettled for the message to take another one. The limit
    /// is lower for Sequenced messages. The other spaces are bounded by the bytes of their messages; a
    /// replaced message has none, but its number may stay.
    // spec: REL-11
    pub fn is_crowded(&self, delivery: Delivery, in_fragments: bool) -> bool {
        let Some(key) = delivery.key() else { return false };
        let most = if delivery.is_reliable() { 2 * WINDOW_MESSAGES } else { WINDOW_MESSAGES };
        let waits = |number: u64| {
            let message = self.keyed.entry(number).and_then(|entry| entry.message.as_ref());
            number >= self.keyed.sent_end
                && message.is_some_and(|it| it.is_queued_like(delivery, in_fragments))
        };
        self.keyed.entries.len() as u64 >= most && !self.by_key.numbers(key).into_iter().any(waits)
    }

    /// Returns true while the message is kept.
    pub fn is_unsettled(&self, space: Space, number: u64) -> bool {
        self.space(space).entry(number).is_some_and(|entry| entry.message.is_some())
    }

    /// Returns what should be sent of a queued message; `None` when nothing needs to be any more.
    pub fn waiting(&self, space: Space, number: u64) -> Option<Waiting<'_>> {
        let window = match space {
            // The receiver forgets keys beyond this many: a value must arrive before its key is among those.
            Space::Keyed => MAX_KEYS as u64,
            Space::Ordered | Space::Unordered => WINDOW_MESSAGES,
        };
        let space = self.space(space);
        let Entry { charged, message } = space.entry(number)?;
        let message = message.as_ref()?;
        let place = Place { stream: self.id, number: space.truncate(number) };
        let part = match &message.fragments {
            None => SendPart::Whole(MessageHead::Numbered { place, delivery: message.delivery }),
            Some(fragments) => SendPart::Fragment(FragmentHead {
                place,
                delivery: message.delivery,
                count: fragments.count,
                total: u32::try_from(message.payload.len()).ok()?,
                index: fragments.peek()?,
            }),
        };
        let takes_room = *charged == 0 && message.delivery.is_reliable();
        Some(Waiting {
            part,
            payload: &message.payload,
            charge: if takes_room { message.buffered().bytes } else { 0 },
            is_in_turn: number - space.base < window && space.is_first_to_leave(number),
        })
    }

    /// Records that the part from [`Self::waiting`] was sent. Returns the bytes that this takes up in the
    /// peer's receive buffer, and whether more of the message should leave.
    pub fn on_part_sent(&mut self, space: Space, number: u64) -> (usize, bool) {
        let space = self.space_mut(space);
        space.sent_end = space.sent_end.max(number + 1);
        let Some(entry) = space.entry_mut(number) else { return (0, false) };
        let Some(message) = &mut entry.message else { return (0, false) };
        let mut charge = 0;
        if message.delivery.is_reliable() && entry.charged == 0 {
            charge = message.buffered().bytes;
            entry.charged = charge;
        }
        match &mut message.fragments {
            None => message.copies += 1,
            Some(fragments) => {
                fragments.pop();
                if fragments.peek().is_some() {
                    return (charge, true);
                }
            }
        }
        message.queued = false;
        (charge, false)
    }

    /// Marks the message as no longer queued, although it may be in flight.
    pub fn unqueue(&mut self, space: Space, number: u64) {
        let entry = self.space_mut(space).entry_mut(number);
        if let Some(message) = entry.and_then(|entry| entry.message.as_mut()) {
            message.queued = false;
        }
    }

    /// Removes a sequenced message that has left or was shed, since it is never retransmitted.
    pub fn forget_sequenced(&mut self, number: u64) -> Freed {
        let Some(entry) = self.keyed.entry_mut(number) else { return Freed::default() };
        let forgotten = entry.message.take_if(|message| !message.delivery.is_reliable());
        let window = self.keyed.settle();
        self.freed(number, forgotten, window)
    }

    /// Handles the ack of a packet with the message, or a fragment of it.
    pub fn on_acked(&mut self, space: Space, number: u64, fragment: Option<FragmentId>) -> Freed {
        let space = self.space_mut(space);
        let arrived = space.entry_mut(number).and_then(|entry| {
            entry.message.take_if(|message| match (fragment, &mut message.fragments) {
                (Some(fragment), Some(fragments)) => fragments.on_acked(fragment),
                (fragment, fragments) => fragment.is_none() && fragments.is_none(),
            })
        });
        // A single fragment does not count: the receiver's position moves when the message is complete.
        if fragment.is_none() || arrived.is_some() {
            space.acked_end = space.acked_end.max(number + 1);
        }
        let window = space.settle();
        self.freed(number, arrived, window)
    }

    /// Returns what the message, if it is gone, and `window` bytes of the peer's receive buffer free.
    fn freed(&mut self, number: u64, gone: Option<Outgoing>, window: usize) -> Freed {
        let mut freed = Freed { window, ..Freed::default() };
        if let Some(message) = gone {
            freed.add(&message);
            if let Some(key) = message.delivery.key() {
                self.by_key.remove(key, number);
            }
        }
        freed
    }

    /// Handles the loss of a packet with the message, or a fragment of it. Returns true when the message
    /// should be queued for retransmission.
    pub fn on_lost(&mut self, space: Space, number: u64, fragment: Option<FragmentId>) -> bool {
        let Some(message) = self.space_mut(space).entry_mut(number).and_then(|entry| entry.message.as_mut())
        else {
            return false;
        };
        let needed = match (fragment, &mut message.fragments) {
            (Some(fragment), Some(fragments)) => fragments.on_lost(fragment),
            (fragment, fragments) => {
                message.copies = message.copies.saturating_sub(1);
                fragment.is_none() && fragments.is_none() && message.copies == 0
            }
        };
        needed && !std::mem::replace(&mut message.queued, true)
    }

    /// Requests one more copy of an unacked message of at most `max_bytes`. Returns its bytes when it should
    /// be queued.
    pub fn probe(&mut self, space: Space, number: u64, max_bytes: usize) -> Option<usize> {
        let message = self.space_mut(space).entry_mut(number)?.message.as_mut()?;
        let small = message.fragments.is_none() && message.payload.len() <= max_bytes;
        (small && !std::mem::replace(&mut message.queued, true)).then_some(message.payload.len())
    }

    fn space(&self, space: Space) -> &SendSpace {
        match space {
            Space::Ordered => &self.ordered,
            Space::Unordered => &self.unordered,
            Space::Keyed => &self.keyed,
        }
    }

    fn space_mut(&mut self, space: Space) -> &mut SendSpace {
        match space {
            Space::Ordered => &mut self.ordered,
            Space::Unordered => &mut self.unordered,
            Space::Keyed => &mut self.keyed,
        }
    }
}

/// Result of adding a message to a stream.
#[derive(Clone, Copy, Debug)]
pub struct Pushed {
    pub number: u64,
    /// The message must be queued: it neither takes the place of another one nor is held behind one.
    pub is_queued: bool,
    /// What the messages that it replaced have freed.
    pub freed: Freed,
}

/// What messages free that are no longer kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Reliable messages.
    pub reliable: Buffered,
    /// Sequenced messages.
    pub sequenced: Buffered,
    /// Bytes of the peer's receive buffer.
    pub window: usize,
}

impl Freed {
    fn add(&mut self, message: &Outgoing) {
        let kind = if message.delivery.is_reliable() { &mut self.reliable } else { &mut self.sequenced };
        *kind += message.buffered();
    }

    /// Returns true when a message is gone.
    pub fn any(&self) -> bool {
        self.reliable.messages + self.sequenced.messages > 0
    }
}
