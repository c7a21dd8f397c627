//! The receiving side of a stream: delivers each message once, in the order that its mode promises.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::anchor::Anchor;
use super::bits::BitSet;
use super::reassembly::{Reassembly, ReceiveBuffer};
use super::{MAX_KEYS, MAX_MESSAGE_NUMBER, Space, WINDOW_MESSAGES};
use crate::base::{Blank, PacketNumber, Rare, Truncated};
use crate::rudp::connection::error::ProtocolViolation;
use crate::wire::Delivery;
use crate::wire::frame::{
    Fragment, FragmentHead, Frame, MESSAGE_OVERHEAD_BYTES, Message, MessageHead, Place,
};

/// The message that a frame belongs to, and how much of it the frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagePart {
    /// Stream and number of the message.
    pub place: Place,
    /// Delivery mode of the message.
    pub delivery: Delivery,
    /// Length of the whole message.
    pub message_bytes: usize,
    /// True for a whole message, false for a fragment.
    pub is_whole: bool,
}

/// The part of a message that arrived.
#[derive(Debug)]
pub enum ReceivedPart {
    /// All of it.
    Whole(Bytes),
    /// One fragment.
    Fragment(Fragment),
}

/// A part with what is needed to place it.
#[derive(Debug)]
pub struct Arrival {
    /// The low bits of the message's number.
    pub number: Truncated,
    /// Delivery mode of the message.
    pub delivery: Delivery,
    /// What arrived.
    pub part: ReceivedPart,
    /// The largest packet received, that of the part included.
    pub largest: PacketNumber,
}

/// A message delivered to the owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// Its delivery mode.
    pub delivery: Delivery,
    /// Its bytes.
    pub payload: Bytes,
}

/// Room that parts would take in the receive buffer until the missing parts arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Bytes; 0 for a part that can be delivered at once or belongs to a message that already has its room.
    pub bytes: usize,
    /// The bytes are of one message that waits for no other: it is delivered as soon as it is complete.
    pub in_turn: bool,
}

/// One stream's position in each number space, and the messages that wait for missing ones.
#[derive(Debug, Default)]
pub struct ReceiveStream {
    ordered: Ordered,
    unordered: Rare<Unordered>,
    keyed: Rare<Keyed>,
}

type Partials = BTreeMap<u64, Reassembly>;

/// `anchor` is at the number that is delivered next.
#[derive(Debug, Default)]
struct Ordered {
    anchor: Anchor,
    waiting: BTreeMap<u64, Bytes>,
    partials: Partials,
}

/// `anchor` is at the oldest number that has not arrived.
#[derive(Debug, Default)]
struct Unordered {
    anchor: Anchor,
    /// Numbers in the window that arrived early, modulo the window; `None` while there are none. The peer is
    /// not charged for it, so its size does not depend on how many there are.
    arrived: Option<BitSet>,
    partials: Partials,
}

/// `anchor` is one above the newest number that has arrived.
#[derive(Debug, Default)]
struct Keyed {
    anchor: Anchor,
    newest: BTreeMap<u16, u64>,
    /// Numbers below this are old for every key that is not remembered.
    floor: u64,
    partials: Partials,
}

impl Blank for Unordered {
    const BLANK: &'static Self = &Self { anchor: Anchor::new(), arrived: None, partials: Partials::new() };
}

impl Blank for Keyed {
    const BLANK: &'static Self =
        &Self { anchor: Anchor::new(), newest: BTreeMap::new(), floor: 0, partials: Partials::new() };
}

impl MessagePart {
    /// Returns what `frame` carries of a message with a number; `None` for any other frame.
    pub fn of(frame: &Frame) -> Option<Self> {
        match frame {
            Frame::Message(Message { head: MessageHead::Numbered { place, delivery }, payload }) => {
                Some(Self::whole(*place, *delivery, payload))
            }
            Frame::Fragment(fragment) => Some(Self::fragment(fragment)),
            _ => None,
        }
    }

    /// Describes a message that is whole.
    pub fn whole(place: Place, delivery: Delivery, payload: &Bytes) -> Self {
        Self { place, delivery, message_bytes: payload.len(), is_whole: true }
    }

    /// Describes the message that a fragment belongs to.
    pub fn fragment(Fragment { head, .. }: &Fragment) -> Self {
        let FragmentHead { place, delivery, total, .. } = *head;
        Self { place, delivery, message_bytes: total as usize, is_whole: false }
    }
}

impl Hold {
    /// Combines two holds.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.bytes, other.bytes) {
            (0, _) => other,
            (_, 0) => self,
            (these, those) => Self { bytes: these + those, in_turn: false },
        }
    }
}

impl ReceiveStream {
    /// Returns true when the number of a message that came late, in `packet`, may mean another message.
    // spec: STR-10
    pub fn is_ambiguous(&self, place: &Place, delivery: Delivery, packet: PacketNumber) -> bool {
        let space = Space::of(delivery).filter(|_| !place.number.is_wide());
        space.is_some_and(|space| !self.space(space).0.is_near(packet))
    }

    /// Returns true when fragments wait for others of their message.
    pub fn has_incomplete(&self) -> bool {
        self.partials().iter().any(|partials| !partials.is_empty())
    }

    /// Returns the room that a part would take until what is missing arrives.
    pub fn would_hold(&self, part: &MessagePart) -> Hold {
        let MessagePart { place, delivery, message_bytes, is_whole } = *part;
        let Some(space) = Space::of(delivery) else { return Hold::default() };
        let (anchor, partials) = self.space(space);
        let number = anchor.expand(place.number);
        let early = delivery == Delivery::ReliableOrdered && number > anchor.at();
        let came = match delivery {
            Delivery::Unreliable => true,
            Delivery::ReliableOrdered => self.ordered.has(number),
            Delivery::ReliableUnordered => self.unordered.has(number),
            Delivery::Sequenced { key } | Delivery::ReliableLatest { key } => !self.keyed.is_new(key, number),
        };
        if came || (is_whole && !early) || partials.contains_key(&number) {
            Hold::default()
        } else {
            Hold { bytes: message_bytes + MESSAGE_OVERHEAD_BYTES, in_turn: !early }
        }
    }

    /// Takes a message or a part of one, and delivers what it completes.
    ///
    /// # Errors
    /// [`ProtocolViolation`] when the peer exceeds a limit or contradicts an earlier fragment.
    pub fn receive(
        &mut self,
        arrival: Arrival,
        buffer: &mut ReceiveBuffer,
        up: &mut impl FnMut(Received),
    ) -> Result<(), ProtocolViolation> {
        match arrival.delivery {
            Delivery::Unreliable => Ok(()),
            Delivery::ReliableOrdered => self.ordered.receive(arrival, buffer, up),
            Delivery::ReliableUnordered => self.unordered.receive(arrival, buffer, up),
            Delivery::Sequenced { key } | Delivery::ReliableLatest { key } => {
                self.keyed.receive(key, arrival, buffer, up)
            }
        }
    }

    /// Acts as if all numbers below `number` had arrived, in each space.
    #[cfg(test)]
    pub fn start_at(&mut self, number: u64) {
        for anchor in [&mut self.ordered.anchor, &mut self.unordered.anchor, &mut self.keyed.anchor] {
            *anchor = Anchor::starting_at(number);
        }
    }

    /// Returns the bytes that the stream keeps about messages already delivered.
    #[cfg(test)]
    pub fn remembered_bytes(&self) -> usize {
        let arrived = self.unordered.arrived.as_ref().map_or(0, BitSet::heap_bytes);
        arrived + self.keyed.newest.len() * size_of::<(u16, u64)>()
    }

    /// Recounts the bytes that the stream keeps in the receive buffer.
    #[cfg(any(test, fuzzing))]
    pub fn audit(&self) -> usize {
        let partials = self.partials().into_iter().flat_map(Partials::values).map(Reassembly::total);
        let waiting = self.ordered.waiting.values().map(Bytes::len);
        partials.chain(waiting).map(|bytes| bytes + MESSAGE_OVERHEAD_BYTES).sum()
    }

    /// Releases all room when the stream ends.
    pub fn release(self, buffer: &mut ReceiveBuffer) {
        for payload in self.ordered.waiting.values() {
            buffer.release(payload.len());
        }
        for partial in self.partials().into_iter().flat_map(Partials::values) {
            buffer.release(partial.total());
        }
    }

    fn space(&self, space: Space) -> (&Anchor, &Partials) {
        match space {
            Space::Ordered => (&self.ordered.anchor, &self.ordered.partials),
            Space::Unordered => (&self.unordered.anchor, &self.unordered.partials),
            Space::Keyed => (&self.keyed.anchor, &self.keyed.partials),
        }
    }

    fn partials(&self) -> [&Partials; 3] {
        [&self.ordered.partials, &self.unordered.partials, &self.keyed.partials]
    }
}

impl Ordered {
    /// Returns true for a message that has arrived completely.
    fn has(&self, number: u64) -> bool {
        number < self.anchor.at() || self.waiting.contains_key(&number)
    }

    fn receive(
        &mut self,
        Arrival { number, part, largest, .. }: Arrival,
        buffer: &mut ReceiveBuffer,
        up: &mut impl FnMut(Received),
    ) -> Result<(), ProtocolViolation> {
        let number = self.anchor.expand(number);
        if self.has(number) {
            return Ok(());
        }
        check_window(number, self.anchor.at())?;
        let Some(payload) = complete(&mut self.partials, number, part, buffer)? else { return Ok(()) };
        if number > self.anchor.at() {
            buffer.charge(payload.len())?;
            // A slice would keep its whole datagram alive, of which only the payload is counted.
            self.waiting.insert(number, Bytes::copy_from_slice(&payload));
            return Ok(());
        }
        let delivery = Delivery::ReliableOrdered;
        up(Received { delivery, payload });
        let mut next = number + 1;
        while let Some(payload) = self.waiting.remove(&next) {
            buffer.release(payload.len());
            up(Received { delivery, payload });
            next += 1;
        }
        self.anchor.advance(next, largest);
        Ok(())
    }
}

impl Unordered {
    /// Returns true for a message that has arrived completely.
    fn has(&self, number: u64) -> bool {
        // Beyond the window, the place belongs to another number.
        number < self.anchor.at()
            || (number - self.anchor.at() < WINDOW_MESSAGES
                && self.arrived.as_ref().is_some_and(|arrived| arrived.contains(place_in_window(number))))
    }

    fn receive(
        &mut self,
        Arrival { number, part, largest, .. }: Arrival,
        buffer: &mut ReceiveBuffer,
        up: &mut impl FnMut(Received),
    ) -> Result<(), ProtocolViolation> {
        let number = self.anchor.expand(number);
        if self.has(number) {
            return Ok(());
        }
        check_window(number, self.anchor.at())?;
        let Some(payload) = complete(&mut self.partials, number, part, buffer)? else { return Ok(()) };
        up(Received { delivery: Delivery::ReliableUnordered, payload });
        if number > self.anchor.at() {
            let arrived = self.arrived.get_or_insert_with(|| BitSet::new(WINDOW_PLACES));
            arrived.insert(place_in_window(number));
            return Ok(());
        }
        let mut next = number + 1;
        while self.arrived.as_mut().is_some_and(|arrived| arrived.remove(place_in_window(next))) {
            next += 1;
        }
        self.arrived.take_if(|arrived| arrived.len() == 0);
        self.anchor.advance(next, largest);
        Ok(())
    }
}

impl Keyed {
    fn receive(
        &mut self,
        key: u16,
        Arrival { number, delivery, part, largest }: Arrival,
        buffer: &mut ReceiveBuffer,
        up: &mut impl FnMut(Received),
    ) -> Result<(), ProtocolViolation> {
        let number = self.anchor.expand(number);
        if !self.is_new(key, number) {
            // A newer value has overtaken this one. The sender still sends all of its fragments, so its room
            // is released when the next of them arrives; releasing it with the newer value would take a walk
            // over all incomplete messages.
            if self.partials.contains_key(&number) {
                complete(&mut self.partials, number, part, buffer)?;
                if let Some(partial) = self.partials.remove(&number) {
                    buffer.release(partial.total());
                }
            }
            return Ok(());
        }
        check_end(number)?;
        let Some(payload) = complete(&mut self.partials, number, part, buffer)? else { return Ok(()) };
        self.remember(key, number);
        self.anchor.advance(number + 1, largest);
        up(Received { delivery, payload });
        Ok(())
    }

    // spec: STR-7
    fn is_new(&self, key: u16, number: u64) -> bool {
        match self.newest.get(&key) {
            Some(newest) => number > *newest,
            None => number >= self.floor,
        }
    }

    /// Notes the newest number of a key. When there are too many keys, forgets the one that has been quiet
    /// longest.
    // spec: STR-8
    fn remember(&mut self, key: u16, number: u64) {
        self.newest.insert(key, number);
        if self.newest.len() <= MAX_KEYS {
            return;
        }
        if let Some((&key, &number)) = self.newest.iter().min_by_key(|entry| entry.1) {
            self.newest.remove(&key);
            self.floor = number + 1;
        }
    }
}

/// Number of messages in a window, as a `usize`.
const WINDOW_PLACES: usize = 4_096;
const _: () = assert!(WINDOW_PLACES as u64 == WINDOW_MESSAGES);

/// Returns the place of a number, which no other number of the window shares.
fn place_in_window(number: u64) -> usize {
    (number % WINDOW_MESSAGES) as usize
}

fn check_window(number: u64, oldest: u64) -> Result<(), ProtocolViolation> {
    // spec: REL-10
    if number - oldest < WINDOW_MESSAGES {
        check_end(number)
    } else {
        Err(ProtocolViolation::BeyondWindow { number })
    }
}

// spec: STR-3
fn check_end(number: u64) -> Result<(), ProtocolViolation> {
    if number <= MAX_MESSAGE_NUMBER { Ok(()) } else { Err(ProtocolViolation::BeyondWindow { number }) }
}

/// Returns the whole message once no part is missing.
fn complete(
    partials: &mut Partials,
    number: u64,
    part: ReceivedPart,
    buffer: &mut ReceiveBuffer,
) -> Result<Option<Bytes>, ProtocolViolation> {
    let fragment = match part {
        ReceivedPart::Whole(payload) if !partials.contains_key(&number) => return Ok(Some(payload)),
        ReceivedPart::Whole(_) => return Err(ProtocolViolation::FragmentMismatch { number }),
        ReceivedPart::Fragment(fragment) => fragment,
    };
    let partial = match partials.entry(number) {
        std::collections::btree_map::Entry::Occupied(partial) => partial.into_mut(),
        std::collections::btree_map::Entry::Vacant(place) => {
            buffer.charge(fragment.head.total as usize)?;
            place.insert(Reassembly::new(&fragment))
        }
    };
    if !partial.insert(number, &fragment)? {
        return Ok(None);
    }
    let Some(partial) = partials.remove(&number) else { return Ok(None) };
    buffer.release(partial.total());
    Ok(Some(partial.finish()))
}
