//! The elements of the scripts.

use bytes::{Bytes, BytesMut};
use rallypoint::base::{StreamId, Truncated};
use rallypoint::wire::Delivery;
use rallypoint::wire::frame::{
    Fragment, FragmentHead, Frame, Message, MessageHead, Place, Repair, write_frames,
};

use crate::{unhex, written};

pub(super) const ORDERED: Delivery = Delivery::ReliableOrdered;
pub(super) const UNORDERED: Delivery = Delivery::ReliableUnordered;

pub(super) fn sequenced(key: u16) -> Delivery {
    Delivery::Sequenced { key }
}

pub(super) fn latest(key: u16) -> Delivery {
    Delivery::ReliableLatest { key }
}

/// Packets in the order in which they are opened.
pub(super) struct Script {
    pub(super) name: &'static str,
    /// Numbers of the packets that the receiver has sent before, where they matter.
    pub(super) sent: &'static [u64],
    pub(super) steps: Vec<Step>,
}

pub(super) enum Step {
    /// A packet's number and frames.
    Packet(u64, Bytes),
    /// The application has read the last event of a stream.
    Finish(StreamId),
}

impl Script {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, sent: &[], steps: Vec::new() }
    }

    pub(super) fn after_sending(self, sent: &'static [u64]) -> Self {
        Self { sent, ..self }
    }

    pub(super) fn packet(mut self, number: u64, frames: &[Frame]) -> Self {
        let frames = written(|writer| write_frames(frames, writer));
        self.steps.push(Step::Packet(number, frames));
        self
    }

    /// Adds a packet with frames that [`Frame`] cannot represent.
    pub(super) fn bytes(mut self, number: u64, frames: &str) -> Self {
        self.steps.push(Step::Packet(number, unhex(frames).into()));
        self
    }

    /// Adds packets with one PING each.
    pub(super) fn pings(self, numbers: impl IntoIterator<Item = u64>) -> Self {
        numbers.into_iter().fold(self, |script, number| script.packet(number, &[Frame::Ping]))
    }

    pub(super) fn finish(mut self, stream: u32) -> Self {
        self.steps.push(Step::Finish(StreamId(stream)));
        self
    }
}

/// Returns a message with a 1-byte number.
pub(super) fn message(delivery: Delivery, stream: u32, number: u64, payload: &'static str) -> Frame {
    numbered(delivery, stream, Truncated::bits8(number), payload)
}

/// Returns a message with a 4-byte number.
pub(super) fn wide(delivery: Delivery, stream: u32, number: u64, payload: &'static str) -> Frame {
    numbered(delivery, stream, Truncated::bits32(number), payload)
}

fn numbered(delivery: Delivery, stream: u32, number: Truncated, payload: &'static str) -> Frame {
    let head = MessageHead::Numbered { place: Place { stream: StreamId(stream), number }, delivery };
    Frame::Message(Message { head, payload: Bytes::from_static(payload.as_bytes()) })
}

pub(super) fn unreliable(payload: &'static str) -> Frame {
    Frame::Message(Message { head: MessageHead::Unreliable, payload: Bytes::from_static(payload.as_bytes()) })
}

/// Returns fragment `index` of the `count` into which `whole` is cut, with a 1-byte number, on stream 1.
pub(super) fn fragment(
    delivery: Delivery,
    number: u64,
    whole: &'static str,
    (index, count): (u32, u32),
) -> Frame {
    let place = Place { stream: StreamId(1), number: Truncated::bits8(number) };
    let head = FragmentHead { place, delivery, count, total: u32::try_from(whole.len()).unwrap(), index };
    let payload = Bytes::from_static(whole.as_bytes()).slice(head.offset()..).slice(..head.payload_bytes());
    Frame::Fragment(Fragment { head, payload })
}

/// Returns a REPAIR of packets, each given by its distance below the REPAIR's own packet and its messages.
pub(super) fn repair(covered: &[(u8, &[Frame])]) -> Frame {
    let mut sum = BytesMut::new();
    for (_, messages) in covered {
        let content = written(|writer| write_frames(messages, writer));
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let symbol = [&length[..], &content].concat();
        sum.resize(sum.len().max(symbol.len()), 0);
        sum.iter_mut().zip(&symbol).for_each(|(sum, byte)| *sum ^= byte);
    }
    Frame::Repair(Repair { lags: covered.iter().map(|(lag, _)| *lag).collect(), symbol: sum.freeze() })
}
