//! The sending side of a stream: messages until they are settled.

#[cfg(any(test, fuzzing))]
use std::collections::BTreeSet;
use std::collections::{BTreeMap, VecDeque};

use smallvec::SmallVec;

use super::{MAX_KEYS, MAX_MESSAGE_NUMBER, MessageRef, NARROW_SPAN, Space, WINDOW_MESSAGES};
use crate::base::{Blank, Rare, StreamId, Truncated};
use crate::rudp::Payload;
use crate::wire::Delivery;
use crate::wire::frame::{FragmentHead, MESSAGE_OVERHEAD_BYTES, MessageHead, Place};

/// One stream's unsettled messages.
#[derive(Debug)]
pub struct SendStream {
    id: StreamId,
    ordered: SendSpace,
    unordered: Rare<SendSpace>,
    keyed: Rare<SendSpace>,
    /// Numbers of the messages that are kept in `keyed`, by key.
    by_key: Rare<KeyIndex>,
    finishing: bool,
}

/// A fragment of a message that was cut into so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    index: u32,
    count: u32,
}

/// A queued message of which something should leave.
#[derive(Debug)]
pub struct Waiting<'a> {
    /// What leaves next of it.
    pub part: Part,
    /// All of the message.
    pub payload: &'a Payload,
    /// Bytes that the message will take of the peer's receive buffer when it leaves; 0 when it has left
    /// before or keeps no place there.
    pub charge: usize,
    /// True when it lies within the window that the peer keeps open, and no earlier message of its space
    /// waits to leave for the first time. Small ones that overtook a large one would keep the peer's room
    /// until it is settled, and it would never fit.
    pub is_in_turn: bool,
}

/// What is to be put into a packet for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole(MessageHead),
    /// One fragment.
    Fragment(FragmentHead),
}

#[derive(Debug, Default)]
struct SendSpace {
    /// Number of the first entry: the oldest that is not settled.
    base: u64,
    entries: VecDeque<Entry>,
    /// Number after the largest that ever left.
    sent_end: u64,
    /// Number after the largest acked one.
    acked_end: u64,
}

#[derive(Debug)]
struct Entry {
    /// What it takes of the peer's receive buffer since it first left.
    charged: usize,
    message: Option<Outgoing>,
}

#[derive(Debug)]
struct Outgoing {
    delivery: Delivery,
    payload: Payload,
    /// Packets under way that carry it whole.
    copies: u32,
    queued: bool,
    fragments: Option<Box<Fragments>>,
}

#[derive(Debug)]
struct Fragments {
    count: u32,
    /// First that never left.
    next: u32,
    acked: Vec<bool>,
    missing: u32,
    resend: VecDeque<u32>,
    /// The last that left did so again.
    new_is_due: bool,
}

impl Blank for SendSpace {
    const BLANK: &'static Self = &Self { base: 0, entries: VecDeque::new(), sent_end: 0, acked_end: 0 };
}

impl SendStream {
    /// An open stream without messages.
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

    /// Takes a message and tells its number: the next one, or that of the `place` that it is for. It waits
    /// in fragments of `fragment_bytes` at most when there are some.
    pub fn push(
        &mut self,
        space: Space,
        delivery: Delivery,
        payload: Payload,
        fragment_bytes: Option<usize>,
        place: Option<u64>,
    ) -> u64 {
        let fragments = fragment_bytes.map(|bytes| Box::new(Fragments::new(&payload, bytes)));
        let key = delivery.key();
        let message = Some(Outgoing { delivery, payload, copies: 0, queued: true, fragments });
        let space = self.space_mut(space);
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
        if let Some(key) = key {
            self.by_key.add(key, number);
        }
        number
    }

    /// Drops the older messages that a newer one `by` replaces, and tells the bytes that this frees in
    /// the send buffer and in the peer's receive buffer. To be followed by [`Self::push`] and
    /// [`Self::settle_keyed`].
    ///
    /// What may be lost replaces nothing that may not: then the key would be left without a value.
    /// A message in fragments of which some left is carried to its end: the peer keeps room for it.
    pub fn supersede(&mut self, by: Delivery, in_fragments: bool) -> Superseded {
        let mut freed = Superseded::default();
        let Some(key) = by.key() else { return freed };
        for number in self.by_key.numbers(key) {
            let sent_end = self.keyed.sent_end;
            let Some(entry) = self.keyed.entry_mut(number) else { continue };
            if entry.gives_way_to(by)
                && let Some(message) = entry.message.take()
            {
                freed.any = true;
                freed.buffered += message.cost();
                freed.sequenced += if message.delivery.is_reliable() { 0 } else { message.cost() };
                freed.window += std::mem::take(&mut entry.charged);
                if number >= sent_end && message.is_queued_like(by, in_fragments) {
                    freed.place = Some(number);
                }
                self.by_key.remove(key, number);
            }
        }
        freed
    }

    /// Bytes of the reliable messages that [`Self::supersede`] would drop.
    pub fn superseded_bytes(&self, by: Delivery) -> usize {
        let numbers = by.key().map(|key| self.by_key.numbers(key)).unwrap_or_default();
        let entries = numbers.into_iter().filter_map(|number| self.keyed.entry(number));
        let replaced = entries.filter(|entry| entry.gives_way_to(by)).filter_map(|it| it.message.as_ref());
        replaced.filter(|message| message.delivery.is_reliable()).map(Outgoing::cost).sum()
    }

    /// Drops the places of keyed messages from the old end that hold none; returns the bytes that the peer's
    /// buffer has back.
    pub fn settle_keyed(&mut self) -> usize {
        self.keyed.settle()
    }

    /// Cuts messages into fragments of `fragment_bytes` at most: those that have not begun to leave, and
    /// those whose fragments are larger. Tells which are to be queued, because they wait again.
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

    /// Gives back memory beyond what is in use.
    pub fn shrink(&mut self) {
        let rare = [&mut self.unordered, &mut self.keyed].into_iter().filter_map(Rare::changed);
        std::iter::once(&mut self.ordered).chain(rare).for_each(|space| space.entries.shrink_to_fit());
    }

    /// No more messages come.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// True when the stream is finished and nothing of it is unsettled.
    pub fn is_done(&self) -> bool {
        self.finishing
            && [&self.ordered, &*self.unordered, &*self.keyed].iter().all(|space| space.entries.is_empty())
    }

    /// True when no more messages may be added.
    pub fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// True when no number is left.
    // spec: STR-3
    pub fn is_full(&self, space: Space) -> bool {
        self.space(space).end() > MAX_MESSAGE_NUMBER
    }

    /// True when so many keyed numbers are unsettled that a message may not have another one; a Sequenced one
    /// sooner. The other spaces are bounded by the bytes of their messages; a replaced message has none, but its
    /// number may stay.
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

    /// True while the message is kept.
    pub fn is_unsettled(&self, space: Space, number: u64) -> bool {
        self.space(space).entry(number).is_some_and(|entry| entry.message.is_some())
    }

    /// What should leave of a queued message; `None` when nothing needs to any more.
    pub fn waiting(&self, space: Space, number: u64) -> Option<Waiting<'_>> {
        let window = match space {
            // The receiver forgets keys beyond so many: a value must arrive before its key is one of them.
            Space::Keyed => MAX_KEYS as u64,
            Space::Ordered | Space::Unordered => WINDOW_MESSAGES,
        };
        let space = self.space(space);
        let Entry { charged, message } = space.entry(number)?;
        let message = message.as_ref()?;
        let place = Place { stream: self.id, number: space.truncate(number) };
        let part = match &message.fragments {
            None => Part::Whole(MessageHead::Numbered { place, delivery: message.delivery }),
            Some(fragments) => Part::Fragment(FragmentHead {
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
            charge: if takes_room { message.cost() } else { 0 },
            is_in_turn: number - space.base < window && space.is_first_to_leave(number),
        })
    }

    /// What [`Self::waiting`] told of left. Returns what that takes of the peer's receive buffer, and
    /// whether more of the message should leave.
    pub fn on_part_sent(&mut self, space: Space, number: u64) -> (usize, bool) {
        let space = self.space_mut(space);
        space.sent_end = space.sent_end.max(number + 1);
        let Some(entry) = space.entry_mut(number) else { return (0, false) };
        let Some(message) = &mut entry.message else { return (0, false) };
        let mut charge = 0;
        if message.delivery.is_reliable() && entry.charged == 0 {
            charge = message.cost();
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

    /// The message does not wait any more, although it may be under way.
    pub fn unqueue(&mut self, space: Space, number: u64) {
        let entry = self.space_mut(space).entry_mut(number);
        if let Some(message) = entry.and_then(|entry| entry.message.as_mut()) {
            message.queued = false;
        }
    }

    /// Takes a sequenced message out after it left: nobody resends it. Returns its cost, and the
    /// bytes that the peer's receive buffer has back.
    pub fn forget_sequenced(&mut self, number: u64) -> (usize, usize) {
        let Some(entry) = self.keyed.entry_mut(number) else { return (0, 0) };
        let forgotten = entry.message.take_if(|message| !message.delivery.is_reliable());
        if let Some(key) = forgotten.as_ref().and_then(|message| message.delivery.key()) {
            self.by_key.remove(key, number);
        }
        (forgotten.map_or(0, |message| message.cost()), self.keyed.settle())
    }

    /// A packet with the message, or a piece of it, arrived. Returns the bytes freed in the
    /// send buffer and in the peer's receive buffer.
    pub fn on_acked(&mut self, space: Space, number: u64, piece: Option<Piece>) -> (usize, usize) {
        let space = self.space_mut(space);
        let arrived = space.entry_mut(number).and_then(|entry| {
            entry.message.take_if(|message| match (piece, &mut message.fragments) {
                (Some(piece), Some(fragments)) => fragments.on_acked(piece),
                (piece, fragments) => piece.is_none() && fragments.is_none(),
            })
        });
        // Not for a fragment alone: the receiver's position moves when the message is whole.
        if piece.is_none() || arrived.is_some() {
            space.acked_end = space.acked_end.max(number + 1);
        }
        let settled = space.settle();
        if let Some(key) = arrived.as_ref().and_then(|message| message.delivery.key()) {
            self.by_key.remove(key, number);
        }
        (arrived.map_or(0, |message| message.cost()), settled)
    }

    /// A packet with the message, or a piece of it, was lost. Returns true when the message
    /// should be queued to leave again.
    pub fn on_lost(&mut self, space: Space, number: u64, piece: Option<Piece>) -> bool {
        let Some(message) = self.space_mut(space).entry_mut(number).and_then(|entry| entry.message.as_mut())
        else {
            return false;
        };
        let needed = match (piece, &mut message.fragments) {
            (Some(piece), Some(fragments)) => fragments.on_lost(piece),
            (piece, fragments) => {
                message.copies = message.copies.saturating_sub(1);
                piece.is_none() && fragments.is_none() && message.copies == 0
            }
        };
        needed && !std::mem::replace(&mut message.queued, true)
    }

    /// Asks for one more copy of an unacked message of at most `max_bytes`. Returns its bytes when it
    /// should be queued.
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

#[cfg(any(test, fuzzing))]
impl SendStream {
    /// As if all numbers below `number` were settled, in each space.
    #[cfg(test)]
    pub fn start_at(&mut self, number: u64) {
        for space in [&mut self.ordered, &mut self.unordered, &mut self.keyed] {
            (space.base, space.sent_end, space.acked_end) = (number, number, number);
        }
    }

    /// Counts again, entry by entry: bytes of reliable messages, of sequenced ones, and charged to
    /// the peer. Panics when a message is neither under way nor waiting: it would never arrive.
    ///
    /// `queued` tells how often a message stands in the queues, `flying` how often a frame is under way.
    pub fn audit(
        &self,
        queued: &dyn Fn(MessageRef) -> usize,
        flying: &dyn Fn(MessageRef, Option<Piece>) -> usize,
    ) -> [usize; 3] {
        let mut sums = [0; 3];
        let keyed = (self.keyed.base..).zip(&self.keyed.entries);
        let kept =
            keyed.filter_map(|(number, entry)| Some((entry.message.as_ref()?.delivery.key()?, number)));
        let indexed =
            self.by_key.0.iter().flat_map(|(key, numbers)| numbers.iter().map(|number| (*key, *number)));
        assert_eq!(kept.collect::<BTreeSet<_>>(), indexed.collect(), "what is kept is found by its key");
        for space in [Space::Ordered, Space::Unordered, Space::Keyed] {
            for (number, entry) in (self.space(space).base..).zip(&self.space(space).entries) {
                sums[2] += entry.charged;
                let Some(message) = &entry.message else { continue };
                sums[usize::from(!message.delivery.is_reliable())] += message.cost();
                let name = MessageRef { stream: self.id, space, number };
                assert_eq!(queued(name), usize::from(message.queued), "{name:?} waits once, or does not");
                let Some(fragments) = &message.fragments else {
                    let copies = message.copies as usize;
                    assert_eq!(flying(name, None), copies, "copies of {name:?}");
                    assert!(message.queued || copies > 0, "{name:?} is stuck");
                    continue;
                };
                let waits = |index| index >= fragments.next || fragments.resend.contains(&index);
                for index in (0..fragments.count).filter(|&index| !fragments.is_acked(index)) {
                    let piece = Piece { index, count: fragments.count };
                    let comes = flying(name, Some(piece)) > 0 || (message.queued && waits(index));
                    assert!(comes, "fragment {index} of {name:?} is stuck");
                }
            }
        }
        sums
    }
}

/// Numbers of messages that are kept, by key: of each key few, since newer ones replace older ones.
#[derive(Debug, Default)]
struct KeyIndex(BTreeMap<u16, SmallVec<[u64; 2]>>);

impl Blank for KeyIndex {
    const BLANK: &'static Self = &Self(BTreeMap::new());
}

impl KeyIndex {
    fn numbers(&self, key: u16) -> SmallVec<[u64; 2]> {
        self.0.get(&key).cloned().unwrap_or_default()
    }

    fn add(&mut self, key: u16, number: u64) {
        self.0.entry(key).or_default().push(number);
    }

    fn remove(&mut self, key: u16, number: u64) {
        if let Some(numbers) = self.0.get_mut(&key) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.0.remove(&key);
            }
        }
    }
}

/// What superseding freed, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Superseded {
    /// True when a message was dropped.
    pub any: bool,
    /// In the send buffer.
    pub buffered: usize,
    /// Of it, sequenced messages that had not left.
    pub sequenced: usize,
    /// In the peer's receive buffer.
    pub window: usize,
    /// Number of a message that never left, in whose place in the queue the newer one may wait.
    pub place: Option<u64>,
}

impl SendSpace {
    fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    /// True when no message before `number` waits to leave for the first time.
    fn is_first_to_leave(&self, number: u64) -> bool {
        let mut earlier = self.sent_end.max(self.base)..number;
        earlier.all(|number| self.entry(number).is_none_or(|entry| entry.message.is_none()))
    }

    /// Drops settled entries from the old end; returns the bytes that the peer's buffer has back.
    fn settle(&mut self) -> usize {
        let mut freed = 0;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.message.is_none()) {
            freed += entry.charged;
            self.base += 1;
        }
        freed
    }

    /// One byte while few numbers are unsettled, else four.
    // spec: STR-5
    fn truncate(&self, number: u64) -> Truncated {
        let oldest = self.base.min(self.acked_end);
        let newest = self.sent_end.max(number + 1);
        if newest - oldest < NARROW_SPAN { Truncated::bits8(number) } else { Truncated::bits32(number) }
    }
}

impl Piece {
    /// The one that `head` belongs to.
    pub fn of(head: &FragmentHead) -> Self {
        Self { index: head.index, count: head.count }
    }
}

impl Entry {
    /// True when its message, of the same key, need not arrive once there is a newer one.
    fn gives_way_to(&self, newer: Delivery) -> bool {
        self.message.as_ref().is_some_and(|message| {
            (newer.is_reliable() || !message.delivery.is_reliable())
                && (message.fragments.is_none() || self.charged == 0)
        })
    }
}

impl Outgoing {
    /// True when a message of `delivery` would wait in the same place of the same queue.
    fn is_queued_like(&self, delivery: Delivery, in_fragments: bool) -> bool {
        self.delivery == delivery && self.fragments.is_some() == in_fragments
    }

    /// What it takes of a buffer.
    fn cost(&self) -> usize {
        self.payload.len() + MESSAGE_OVERHEAD_BYTES
    }
}

impl Fragments {
    fn new(payload: &Payload, fragment_bytes: usize) -> Self {
        let count = payload.len().div_ceil(fragment_bytes).max(2);
        let count = u32::try_from(count).expect("invariant: `send` has checked the message's size");
        let acked = vec![false; count as usize];
        Self { count, next: 0, acked, missing: count, resend: VecDeque::new(), new_is_due: false }
    }

    fn peek(&self) -> Option<u32> {
        if self.is_new_next() { Some(self.next) } else { self.resend.front().copied() }
    }

    fn pop(&mut self) {
        self.new_is_due = !self.is_new_next();
        if self.new_is_due {
            self.resend.pop_front();
        } else {
            self.next += 1;
        }
    }

    /// What was lost and what never left take turns.
    // spec: REL-15
    fn is_new_next(&self) -> bool {
        self.next < self.count && (self.new_is_due || self.resend.is_empty())
    }

    fn is_acked(&self, index: u32) -> bool {
        self.acked.get(index as usize).copied().unwrap_or(true)
    }

    /// Returns true when all have arrived.
    fn on_acked(&mut self, Piece { index, count }: Piece) -> bool {
        if count == self.count
            && let Some(acked) = self.acked.get_mut(index as usize)
            && !std::mem::replace(acked, true)
        {
            self.missing -= 1;
            self.resend.retain(|&waiting| waiting != index);
        }
        self.missing == 0
    }

    fn on_lost(&mut self, Piece { index, count }: Piece) -> bool {
        let needed = count == self.count && !self.is_acked(index) && !self.resend.contains(&index);
        if needed {
            self.resend.push_back(index);
        }
        needed
    }
}
