//! Whole messages and fragments from a peer that holds the keys, in any order and conflicting with each
//! other, compared with a simple model. Deliveries, kept bytes and closes match the model exactly.
// spec-test: FRM-6, REL-10, REL-12, REL-14, STR-4, STR-7, STR-8
#![no_main]

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use rallypoint::base::{StreamId, Timestamp, Truncated, Writer};
use rallypoint::rudp::{
    Closed, Connection, ConnectionConfig, Event, MemoryBudget, MemoryBudgets, PacketDropped,
    ProtocolViolation,
};
use rallypoint::wire::Delivery;
use rallypoint::wire::frame::{Fragment, FragmentHead, Frame, Message, MessageHead, Place, write_frames};
use rallypoint_fuzz::{Forger, Input};

const CONFIG_BYTES: usize = 1 << 16;
const MAX_MESSAGE_BYTES: usize = 40_000;
/// A message's cost beyond its bytes. Spec: REL-12.
const OVERHEAD_BYTES: usize = 64;
/// Streams 0 to this one are open at first.
const LAST_STREAM: u32 = 2;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let config = ConnectionConfig {
        receive_buffer_bytes: CONFIG_BYTES,
        max_message_bytes: MAX_MESSAGE_BYTES,
        ..ConnectionConfig::default()
    };
    let (mut forger, mut connection) = Forger::with_victim(true, config);
    let limit = input.pick(&[1 << 30, 50_000, 1_000]);
    let budget = MemoryBudget::new(limit);
    connection.share_budgets(&MemoryBudgets { receive: budget.clone(), ..MemoryBudgets::default() });
    let mut model = Model::default();
    for stream in 0..=LAST_STREAM {
        connection.open_stream(StreamId(stream));
        model.streams.insert(StreamId(stream), Stream::default());
    }
    while !input.is_empty() && !connection.is_closed() {
        if input.byte() == 255 {
            let stream = StreamId(u32::from(input.byte()) % (LAST_STREAM + 1));
            connection.finish_stream(stream);
            model.streams.remove(&stream);
        } else {
            let parts = parts(&mut input);
            let packet = forger.seal(&encode(&parts));
            let dropped = connection.handle_packet(Timestamp::ZERO, Forger::ADDRESS.into(), packet);
            match dropped {
                Ok(()) => {
                    model.is_established = true;
                    check(&mut connection, &mut model, &parts, None);
                }
                Err(why) => {
                    assert_eq!(why, PacketDropped::OverBudget);
                    let more: usize = parts.iter().map(|part| part.total() + OVERHEAD_BYTES).sum();
                    assert!(model.held() + more > limit, "there was room for it");
                    let parts = if model.is_established { &parts[..] } else { &[] };
                    check(&mut connection, &mut model, parts, Some(limit));
                }
            }
        }
        connection.audit();
        assert_eq!(budget.held(), model.held());
        let most = limit + MAX_MESSAGE_BYTES + OVERHEAD_BYTES;
        assert!(budget.held() <= most, "more is kept than there is room for and one message");
    }
    drop(connection);
    assert_eq!(budget.held(), 0);
});

/// The content of one message frame.
#[derive(Clone, Debug)]
struct Part {
    stream: StreamId,
    number: u64,
    delivery: Delivery,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Whole(Bytes),
    Fragment { count: u32, total: u32, index: u32, bytes: Bytes },
}

impl Part {
    fn is_whole(&self) -> bool {
        matches!(self.body, Body::Whole(_))
    }

    /// Returns the total bytes of the message.
    fn total(&self) -> usize {
        match &self.body {
            Body::Whole(bytes) => bytes.len(),
            Body::Fragment { total, .. } => *total as usize,
        }
    }
}

/// Returns one or two parts, or many small messages with consecutive numbers.
fn parts(input: &mut Input) -> Vec<Part> {
    let first = part(input);
    let more = input.byte();
    if more < 224 {
        let further = usize::from(more & 0x03) / 2;
        return std::iter::once(first).chain((0..further).map(|_| part(input))).collect();
    }
    let at = |offset: u16| Part {
        number: first.number + u64::from(offset),
        delivery: match first.delivery {
            Delivery::Sequenced { key } => Delivery::Sequenced { key: key.wrapping_add(offset) },
            Delivery::ReliableLatest { key } => Delivery::ReliableLatest { key: key.wrapping_add(offset) },
            delivery => delivery,
        },
        body: Body::Whole(Bytes::from_static(b"one of many")),
        ..first
    };
    (0..=u16::from(more & 0x1f) * 4).map(at).collect()
}

fn part(input: &mut Input) -> Part {
    let (kind, place) = (input.byte(), input.byte());
    let key = u16::from(place >> 6);
    let delivery = match kind & 0x07 {
        0..=2 => Delivery::ReliableOrdered,
        3..=4 => Delivery::ReliableUnordered,
        5..=6 => Delivery::ReliableLatest { key },
        _ => Delivery::Sequenced { key },
    };
    let stream = StreamId(u32::from(place & 0x03));
    // Usually small numbers, otherwise numbers up to beyond the window.
    let number = match kind >> 6 {
        0..=2 => u64::from(place >> 2 & 0x0f),
        _ => u64::from(input.u16() & 0x1fff),
    };
    let filling = input.byte();
    let whole = kind & 0x08 != 0 || matches!(delivery, Delivery::Sequenced { .. });
    let body = if whole {
        let length = usize::from(filling) << input.pick(&[0, 0, 4, 8]);
        Body::Whole(vec![filling; length].into())
    } else {
        let count = input.pick(&[2, 2, 3, 3, 4, 1_024]);
        // Ensures that each fragment has a byte: see `FragmentHead`.
        let total = count * (1 + input.below(65_536 / count as usize) as u32) - input.pick(&[0, 0, 0, 1]);
        let total = if total.div_ceil(count) * (count - 1) < total { total } else { count };
        let index = input.below(count as usize) as u32;
        let bytes = vec![filling; head(stream, number, delivery, count, total, index).payload_bytes()];
        Body::Fragment { count, total, index, bytes: bytes.into() }
    };
    Part { stream, number, delivery, body }
}

fn head(
    stream: StreamId,
    number: u64,
    delivery: Delivery,
    count: u32,
    total: u32,
    index: u32,
) -> FragmentHead {
    FragmentHead { place: Place { stream, number: Truncated::bits32(number) }, delivery, count, total, index }
}

fn encode(parts: &[Part]) -> BytesMut {
    let frame = |part: &Part| match &part.body {
        Body::Whole(payload) => {
            let place = Place { stream: part.stream, number: Truncated::bits32(part.number) };
            let head = MessageHead::Numbered { place, delivery: part.delivery };
            Frame::Message(Message { head, payload: payload.clone() })
        }
        Body::Fragment { count, total, index, bytes } => Frame::Fragment(Fragment {
            head: head(part.stream, part.number, part.delivery, *count, *total, *index),
            payload: bytes.clone(),
        }),
    };
    let frames: Vec<Frame> = parts.iter().map(frame).collect();
    let mut writer = Writer::new();
    write_frames(&frames, &mut writer);
    writer.into_inner()
}

/// Checks that the connection's events are exactly those of the model for `parts`, or for the parts that fit
/// into `limit` bytes of memory.
fn check(connection: &mut Connection, model: &mut Model, parts: &[Part], limit: Option<usize>) {
    let mut expected = Vec::new();
    let result = parts.iter().try_for_each(|part| match limit {
        Some(limit) if !model.has_room(part, limit) => Ok(()),
        _ => model.receive(part, &mut expected),
    });
    if let Err(violation) = result {
        expected.push(Event::Closed(Closed::Violation(violation)));
        model.streams.clear();
    }
    let events = std::iter::from_fn(|| connection.poll_event());
    let told: Vec<_> = events.filter(|event| *event != Event::Established).collect();
    assert!(told == expected, "told {told:?}, where the model has {expected:?}");
}

/// The open streams.
#[derive(Default)]
struct Model {
    streams: BTreeMap<StreamId, Stream>,
    is_established: bool,
}

#[derive(Default)]
struct Stream {
    /// Messages of which parts are kept, by space and number.
    kept: BTreeMap<(Space, u64), Kept>,
    /// Delivered numbers of the unkeyed spaces.
    done: BTreeSet<(Space, u64)>,
    newest: BTreeMap<u16, u64>,
    /// Numbers below this are old for every key.
    floor: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    Ordered,
    Unordered,
    Keyed,
}

struct Kept {
    delivery: Delivery,
    /// Count and total; `None` for a whole message.
    shape: Option<(u32, u32)>,
    total: usize,
    arrived: BTreeMap<u32, Bytes>,
}

impl Kept {
    fn is_complete(&self) -> bool {
        self.arrived.len() == self.shape.map_or(1, |(count, _)| count as usize)
    }
}

impl Model {
    fn held(&self) -> usize {
        let kept = self.streams.values().flat_map(|stream| stream.kept.values());
        kept.map(|kept| kept.total + OVERHEAD_BYTES).sum()
    }

    /// Returns true if the part fits into `limit`, needs no memory, or belongs to the one message that may
    /// exceed it.
    fn has_room(&self, part: &Part, limit: usize) -> bool {
        let Some(stream) = self.streams.get(&part.stream) else { return true };
        let (id, is_early) = stream.place_of(part);
        let needs_none =
            (part.is_whole() && !is_early) || stream.kept.contains_key(&id) || stream.has_come(part, id);
        let mut kept = self.streams.values().flat_map(|stream| stream.kept.values());
        needs_none
            || self.held() + part.total() + OVERHEAD_BYTES <= limit
            || (!is_early && kept.all(Kept::is_complete))
    }

    fn receive(&mut self, part: &Part, up: &mut Vec<Event>) -> Result<(), ProtocolViolation> {
        let (bytes, max) = (part.total(), MAX_MESSAGE_BYTES);
        if bytes > max {
            return Err(ProtocolViolation::MessageTooLarge { bytes, max });
        }
        if part.stream.0 > LAST_STREAM {
            return Err(ProtocolViolation::UnknownStream(part.stream));
        }
        let room = CONFIG_BYTES - self.held();
        let Some(stream) = self.streams.get_mut(&part.stream) else { return Ok(()) };
        let messages = match part.delivery.key() {
            Some(key) => stream.receive_keyed(part, key, room)?,
            None => stream.receive_unkeyed(part, room)?,
        };
        up.extend(messages.into_iter().map(|payload| Event::Message {
            stream: Some(part.stream),
            delivery: part.delivery,
            payload,
        }));
        Ok(())
    }
}

impl Stream {
    /// Returns where the part belongs, and whether its message waits for others.
    fn place_of(&self, part: &Part) -> ((Space, u64), bool) {
        let space = match part.delivery {
            Delivery::ReliableOrdered => Space::Ordered,
            Delivery::ReliableUnordered => Space::Unordered,
            _ => Space::Keyed,
        };
        let is_early = space == Space::Ordered && (0..part.number).any(|n| !self.done.contains(&(space, n)));
        ((space, part.number), is_early)
    }

    /// Returns true for a message that was delivered, or is older than one that was.
    fn has_come(&self, part: &Part, id: (Space, u64)) -> bool {
        match part.delivery.key() {
            Some(key) => self.is_old(part.number, key),
            None => self.done.contains(&id),
        }
    }

    fn is_old(&self, number: u64, key: u16) -> bool {
        match self.newest.get(&key) {
            Some(newest) => number <= *newest,
            None => number < self.floor,
        }
    }

    fn receive_unkeyed(&mut self, part: &Part, room: usize) -> Result<Vec<Bytes>, ProtocolViolation> {
        let is_ordered = part.delivery == Delivery::ReliableOrdered;
        let space = if is_ordered { Space::Ordered } else { Space::Unordered };
        let id = (space, part.number);
        if self.done.contains(&id) || self.kept.get(&id).is_some_and(Kept::is_complete) {
            return Ok(Vec::new());
        }
        let mut next = (0..).find(|number| !self.done.contains(&(space, *number))).expect("there is one");
        if part.number - next >= 4_096 {
            return Err(ProtocolViolation::BeyondWindow { number: part.number });
        }
        let is_early = is_ordered && part.number > next;
        self.keep(id, part, if part.is_whole() && !is_early { usize::MAX } else { room })?;
        let mut up = Vec::new();
        if !is_ordered {
            up.extend(self.take_complete(id));
            self.done.extend((!up.is_empty()).then_some(id));
        }
        while let Some(payload) = is_ordered.then(|| self.take_complete((space, next))).flatten() {
            self.done.insert((space, next));
            next += 1;
            up.push(payload);
        }
        Ok(up)
    }

    fn receive_keyed(&mut self, part: &Part, key: u16, room: usize) -> Result<Vec<Bytes>, ProtocolViolation> {
        let id = (Space::Keyed, part.number);
        if self.is_old(part.number, key) {
            // It has been overtaken, so its fragments need no room any more.
            if self.kept.contains_key(&id) {
                self.keep(id, part, 0)?;
                self.kept.remove(&id);
            }
            return Ok(Vec::new());
        }
        self.keep(id, part, if part.is_whole() { usize::MAX } else { room })?;
        let Some(payload) = self.take_complete(id) else { return Ok(Vec::new()) };
        self.newest.insert(key, part.number);
        if self.newest.len() > 256 {
            let (&key, &number) = self.newest.iter().min_by_key(|(_, number)| **number).expect("many");
            self.newest.remove(&key);
            self.floor = number + 1;
        }
        Ok(vec![payload])
    }

    /// Keeps the part if `room` suffices.
    fn keep(&mut self, id: (Space, u64), part: &Part, room: usize) -> Result<(), ProtocolViolation> {
        let (shape, index, bytes) = match &part.body {
            Body::Whole(bytes) => (None, 0, bytes),
            Body::Fragment { count, total, index, bytes } => (Some((*count, *total)), *index, bytes),
        };
        let kept = match self.kept.entry(id) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(_) if part.total() + OVERHEAD_BYTES > room => {
                return Err(ProtocolViolation::ReceiveBuffer { max: CONFIG_BYTES });
            }
            Entry::Vacant(place) => place.insert(Kept {
                delivery: part.delivery,
                shape,
                total: part.total(),
                arrived: BTreeMap::new(),
            }),
        };
        let total = |shape: Option<(u32, u32)>| shape.map(|(_, total)| total);
        if (kept.delivery, total(kept.shape)) != (part.delivery, total(shape)) {
            return Err(ProtocolViolation::FragmentMismatch { number: part.number });
        }
        // A new cut into more fragments replaces the earlier one, and a fragment of an earlier cut is
        // ignored.
        match shape.cmp(&kept.shape) {
            Ordering::Less => return Ok(()),
            Ordering::Equal => {}
            Ordering::Greater => (kept.shape, kept.arrived) = (shape, BTreeMap::new()),
        }
        // The first arrival counts.
        kept.arrived.entry(index).or_insert_with(|| bytes.clone());
        Ok(())
    }

    fn take_complete(&mut self, id: (Space, u64)) -> Option<Bytes> {
        let Entry::Occupied(kept) = self.kept.entry(id) else { return None };
        kept.get().is_complete().then(|| kept.remove().arrived.into_values().flatten().collect())
    }
}
