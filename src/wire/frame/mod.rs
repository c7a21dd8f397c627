//! Frames: the contents of a sealed packet. One file per family.
//!
//! Spec: frames.md. A packet holds at least one frame. MESSAGE and FRAGMENT elide their length if and only if
//! they are the last frame, so a packet's frames have exactly one encoding.

mod ack;
mod close;
mod fragment;
mod lags;
mod message;
mod repair;

pub use ack::{Ack, AckRun, CLEAN_ACK_NUMBERS, MAX_ACK_RUNS, MAX_REPAIRED};
pub use close::{Close, MAX_CLOSE_REASON_BYTES};
pub use fragment::{Fragment, FragmentHead, MAX_FRAGMENTS};
pub use lags::Lags;
pub use message::{MESSAGE_OVERHEAD_BYTES, Message, MessageHead, Place};
pub use repair::{MAX_REPAIR_PACKETS, Repair, SYMBOL_BYTES};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::base::codec::varint_len;
use crate::base::{DecodeError, OutOfBounds, Reader, Writer};

/// One frame. Spec: FRM-1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Requests an ack.
    Ping,
    /// Asks the peer to prove that it is at the address this was sent to.
    PathChallenge([u8; 8]),
    /// The proof: the bytes of the challenge.
    PathResponse([u8; 8]),
    /// Ends the connection.
    Close(Close),
    /// The messages of earlier packets, repeated.
    Repair(Repair),
    /// Zeros up to the end of the packet; the value is their number. Spec: FRM-11.
    Padding(usize),
    /// Number of packets that arrived marked CE. Spec: ECN-3.
    CeCount(u64),
    /// Acknowledges packets.
    Ack(Ack),
    /// A whole message.
    Message(Message),
    /// A part of a message.
    Fragment(Fragment),
}

pub(crate) const PING: u8 = 0x01;
const PATH_CHALLENGE: u8 = 0x02;
const PATH_RESPONSE: u8 = 0x03;
const CLOSE: u8 = 0x04;
const PADDING: u8 = 0x06;
const CE_COUNT: u8 = 0x07;

/// Set in the type of MESSAGE and FRAGMENT: the payload runs to the packet's end.
const LENGTH_ELIDED: u8 = 0x10;
/// Set in the type of MESSAGE and FRAGMENT: the number has 4 bytes, not 1.
const WIDE_NUMBER: u8 = 0x08;
const MODE_BITS: u8 = 0x07;

/// Whether a MESSAGE or FRAGMENT has its length field. No other frame has one. Spec: FRM-2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LengthField {
    /// The length precedes the payload.
    Present,
    /// The payload extends to the end of the packet: the frame is the last one.
    Elided,
}

impl LengthField {
    /// Returns whether frame `index`, counted from 0, of the `count` frames of a packet has the field.
    pub fn of_frame(index: usize, count: usize) -> Self {
        if index + 1 == count { Self::Elided } else { Self::Present }
    }

    /// Returns the bit of the frame's type.
    fn type_bit(self) -> u8 {
        match self {
            Self::Present => 0,
            Self::Elided => LENGTH_ELIDED,
        }
    }

    /// Returns the size of the field for a payload of `length` bytes.
    fn encoded_len(self, length: usize) -> usize {
        match self {
            Self::Present => varint_len(length as u64),
            Self::Elided => 0,
        }
    }

    /// Appends the field for a payload of `length` bytes.
    fn write(self, writer: &mut Writer, length: usize) {
        match self {
            Self::Present => writer.varint(length as u64),
            Self::Elided => {}
        }
    }
}

impl Frame {
    /// Reads the next frame of a packet.
    ///
    /// # Errors
    /// [`DecodeError`] for everything except a canonical frame.
    pub fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let kind = reader.u8("frame type")?;
        match kind {
            PING => Ok(Self::Ping),
            PATH_CHALLENGE => Ok(Self::PathChallenge(reader.array("path challenge")?)),
            PATH_RESPONSE => Ok(Self::PathResponse(reader.array("path response")?)),
            CLOSE => Close::read(reader).map(Self::Close),
            repair::TYPE => Repair::read(reader).map(Self::Repair),
            PADDING => read_zeros(reader).map(Self::Padding),
            CE_COUNT => reader.varint("ce count").map(Self::CeCount),
            0x08..=0x0f => Ack::read(kind, reader).map(Self::Ack),
            0x20..=0x3f => Message::read(kind, reader).map(Self::Message),
            0x40..=0x5f => Fragment::read(kind, reader).map(Self::Fragment),
            _ => Err(DecodeError::Unknown { what: "frame type", value: u64::from(kind) }),
        }
    }

    /// Appends the frame.
    pub fn write(&self, writer: &mut Writer, length_field: LengthField) {
        match self {
            Self::Ping => writer.u8(PING),
            Self::PathChallenge(data) => {
                writer.u8(PATH_CHALLENGE);
                writer.slice(data);
            }
            Self::PathResponse(data) => {
                writer.u8(PATH_RESPONSE);
                writer.slice(data);
            }
            Self::Close(close) => {
                writer.u8(CLOSE);
                close.write(writer);
            }
            Self::Repair(repair) => repair.write(writer),
            Self::Padding(zeros) => {
                writer.u8(PADDING);
                writer.slice(&vec![0; *zeros]);
            }
            Self::CeCount(count) => {
                writer.u8(CE_COUNT);
                writer.varint(*count);
            }
            Self::Ack(ack) => ack.write(writer),
            Self::Message(message) => message.write(writer, length_field),
            Self::Fragment(fragment) => fragment.write(writer, length_field),
        }
    }

    /// Returns the number of bytes that [`Self::write`] appends.
    pub fn encoded_len(&self, length_field: LengthField) -> usize {
        match self {
            Self::Ping => 1,
            Self::PathChallenge(data) | Self::PathResponse(data) => 1 + data.len(),
            Self::Close(close) => 1 + close.encoded_len(),
            Self::Repair(repair) => Repair::encoded_len(repair.lags.len(), repair.symbol.len()),
            Self::Padding(zeros) => 1 + zeros,
            Self::CeCount(count) => 1 + varint_len(*count),
            Self::Ack(ack) => ack.encoded_len(),
            Self::Message(Message { head, payload }) => {
                head.encoded_len(payload.len(), length_field) + payload.len()
            }
            Self::Fragment(Fragment { head, .. }) => head.encoded_len(length_field) + head.payload_bytes(),
        }
    }

    /// Returns true for the frames whose packets the peer acknowledges. Spec: ACK-1.
    pub fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Ack(_) | Self::CeCount(_) | Self::Close(_) | Self::Padding(_))
    }
}

/// The frames of a packet in order; usually an ACK, a message and a REPAIR.
pub type Frames = SmallVec<[Frame; 3]>;

/// Maximum number of frames in a packet, far more than a datagram of the usual size holds. Spec: FRM-2.
pub const MAX_FRAMES: usize = 1_024;

/// Reads all frames of a packet in order. Spec: FRM-2.
///
/// # Errors
/// [`DecodeError`] if there is no frame, one is not canonical, or there are more than [`MAX_FRAMES`].
pub fn read_frames(payload: Bytes) -> Result<Frames, DecodeError> {
    let mut reader = Reader::new(payload);
    let mut frames = Frames::new();
    loop {
        frames.push(Frame::read(&mut reader)?);
        if reader.is_empty() {
            return Ok(frames);
        }
        if frames.len() == MAX_FRAMES {
            let (value, max) = (MAX_FRAMES as u64 + 1, MAX_FRAMES as u64);
            return Err(OutOfBounds::Range { what: "frames of a packet", value, min: 1, max }.into());
        }
    }
}

/// Appends the frames of a packet.
pub fn write_frames(frames: &[Frame], writer: &mut Writer) {
    for (index, frame) in frames.iter().enumerate() {
        frame.write(writer, LengthField::of_frame(index, frames.len()));
    }
}

/// Reads the rest of a packet, which must be zeros, and returns its length.
// spec: FRM-11
fn read_zeros(reader: &mut Reader) -> Result<usize, DecodeError> {
    let zeros = reader.rest();
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::NotCanonical { what: "padding" });
    }
    Ok(zeros.len())
}

/// Reads a payload, which extends to the end of the packet if the length is elided.
fn read_payload(kind: u8, reader: &mut Reader) -> Result<Bytes, DecodeError> {
    if kind & LENGTH_ELIDED != 0 {
        return Ok(reader.rest());
    }
    let length = reader.count("payload length", 0, usize::from(u16::MAX))?;
    let payload = reader.bytes("payload", length)?;
    if reader.is_empty() {
        return Err(DecodeError::NotCanonical { what: "length of the last frame" });
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{StreamId, Truncated};
    use crate::wire::Delivery;
    use proptest::prelude::*;
    use smallvec::smallvec;

    fn encode(frames: &[Frame]) -> Bytes {
        let mut writer = Writer::new();
        write_frames(frames, &mut writer);
        writer.finish()
    }

    // spec-test: FRM-2
    #[test]
    fn a_packet_has_frames_and_not_too_many() {
        let pings = |count| read_frames(vec![1; count].into()).map(|frames| frames.len());
        assert!(pings(0).is_err());
        assert_eq!([1, 1_024].map(pings), [Ok(1), Ok(1_024)]);
        assert!(pings(1_025).is_err());
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    fn number() -> impl Strategy<Value = Truncated> {
        prop_oneof![any::<u8>().prop_map(Truncated::Bits8), any::<u32>().prop_map(Truncated::Bits32)]
    }

    fn numbered() -> impl Strategy<Value = Delivery> {
        prop_oneof![
            any::<u16>().prop_map(|key| Delivery::Sequenced { key }),
            Just(Delivery::ReliableUnordered),
            Just(Delivery::ReliableOrdered),
            any::<u16>().prop_map(|key| Delivery::ReliableLatest { key }),
        ]
    }

    fn message() -> impl Strategy<Value = Frame> {
        let placed =
            (any::<u32>(), number(), numbered(), bytes()).prop_map(|(stream, number, delivery, payload)| {
                let place = Place { stream: StreamId(stream), number };
                Frame::Message(Message { head: MessageHead::Numbered { place, delivery }, payload })
            });
        prop_oneof![
            placed,
            bytes().prop_map(|payload| Frame::Message(Message { head: MessageHead::Unreliable, payload })),
        ]
    }

    fn fragment() -> impl Strategy<Value = Frame> {
        (any::<u32>(), number(), 2u32..50, 1usize..30, 0u32..50).prop_map(
            |(stream, number, count, unit, index)| {
                let index = index % count;
                let total = unit as u32 * (count - 1) + 1;
                let head = FragmentHead {
                    place: Place { stream: StreamId(stream), number },
                    delivery: Delivery::ReliableOrdered,
                    count,
                    total,
                    index,
                };
                let payload = Bytes::from(vec![7; head.payload_bytes()]);
                Frame::Fragment(Fragment { head, payload })
            },
        )
    }

    fn ack() -> impl Strategy<Value = Frame> {
        let runs = prop::collection::vec((1u64..1000, 1u64..1000), 0..4);
        let repaired = prop::collection::btree_set(1u8.., 0..6);
        (any::<u32>(), any::<bool>(), any::<u8>(), any::<bool>(), 1u64..1000, runs, repaired).prop_map(
            |(largest, wide, delay, clean, first, runs, repaired)| {
                let largest =
                    if wide { Truncated::bits32(largest.into()) } else { Truncated::bits16(largest.into()) };
                let runs = runs.into_iter().map(|(gap, run)| AckRun { gap, run }).collect();
                let repaired = repaired.into_iter().collect();
                Frame::Ack(Ack { largest, delay, runs: (!clean).then_some((first, runs)), repaired })
            },
        )
    }

    fn repair() -> impl Strategy<Value = Frame> {
        (prop::collection::btree_set(1u8.., 1..5), prop::collection::vec(any::<u8>(), 3..80)).prop_map(
            |(lags, symbol)| {
                Frame::Repair(Repair { lags: lags.into_iter().collect(), symbol: symbol.into() })
            },
        )
    }

    fn frame() -> impl Strategy<Value = Frame> {
        prop_oneof![
            Just(Frame::Ping),
            any::<[u8; 8]>().prop_map(Frame::PathChallenge),
            any::<[u8; 8]>().prop_map(Frame::PathResponse),
            (0u16..0x4000, "[a-zé]{0,40}").prop_map(|(code, reason)| Frame::Close(Close { code, reason })),
            ack(),
            (0u64..1 << 62).prop_map(Frame::CeCount),
            repair(),
            message(),
            fragment(),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_is_as_long_as_it_says(
            frame in frame(),
            length_field in prop::sample::select(&[LengthField::Present, LengthField::Elided]),
        ) {
            let mut writer = Writer::new();
            frame.write(&mut writer, length_field);
            prop_assert_eq!(frame.encoded_len(length_field), writer.len());
        }

        // spec-test: FRM-2
        #[test]
        fn frames_are_read_as_they_were_written(
            mut frames in prop::collection::vec(frame(), 1..6), padding in prop::option::of(0usize..40)
        ) {
            frames.extend(padding.map(Frame::Padding));
            prop_assert_eq!(read_frames(encode(&frames)), Ok(frames.into()));
        }

        #[test]
        fn accepted_frames_are_canonical(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(frames) = read_frames(Bytes::from(bytes.clone())) {
                prop_assert_eq!(encode(&frames), bytes);
            }
        }

        #[test]
        fn accepted_mutations_are_canonical(
            frames in prop::collection::vec(frame(), 1..4), at in any::<prop::sample::Index>(), bit in 0u8..8
        ) {
            let mut bytes = encode(&frames).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(frames) = read_frames(Bytes::from(bytes.clone())) {
                prop_assert_eq!(encode(&frames), bytes);
            }
        }
    }

    #[test]
    fn a_packet_without_frames_is_an_error() {
        assert_eq!(read_frames(Bytes::new()), Err(DecodeError::Truncated { what: "frame type", missing: 1 }));
    }

    // spec-test: FRM-11
    #[test]
    fn padding_is_zeros_to_the_end_of_the_packet() {
        let read = |bytes: &'static [u8]| read_frames(Bytes::from_static(bytes));
        assert_eq!(read(&[PADDING]), Ok(smallvec![Frame::Padding(0)]));
        assert_eq!(read(&[PING, PADDING, 0, 0]), Ok(smallvec![Frame::Ping, Frame::Padding(2)]));
        assert_eq!(encode(&[Frame::Ping, Frame::Padding(2)]), [PING, PADDING, 0, 0][..]);
        assert_eq!(read(&[PADDING, 0, PING]), Err(DecodeError::NotCanonical { what: "padding" }));
    }

    // spec-test: ECN-3
    #[test]
    fn a_count_of_marks_is_a_number_and_asks_for_nothing() {
        let read = |bytes: &'static [u8]| read_frames(Bytes::from_static(bytes));
        assert_eq!(read(&[CE_COUNT, 0x40, 0x40]), Ok(smallvec![Frame::CeCount(64)]));
        assert!(!Frame::CeCount(64).is_ack_eliciting());
    }

    #[test]
    fn the_last_message_must_elide_its_length() {
        assert_eq!(
            read_frames(Bytes::from_static(&[0x20, 1, 9])),
            Err(DecodeError::NotCanonical { what: "length of the last frame" })
        );
    }

    /// The overhead includes a header of 3 bytes and a tag of 16.
    // spec-test: FRM-3
    #[test]
    fn overhead_is_20_unreliable_22_reliable_26_with_an_ack() {
        let unreliable = Frame::Message(Message {
            head: MessageHead::Unreliable,
            payload: Bytes::from_static(b"payload"),
        });
        let place = Place { stream: StreamId(3), number: Truncated::bits8(9) };
        let reliable = Frame::Message(Message {
            head: MessageHead::Numbered { place, delivery: Delivery::ReliableOrdered },
            payload: Bytes::from_static(b"payload"),
        });
        let ack =
            Frame::Ack(Ack { largest: Truncated::bits16(9), delay: 0, runs: None, repaired: Lags::new() });
        assert_eq!(3 + 16 + encode(&[unreliable]).len() - 7, 20);
        assert_eq!(3 + 16 + encode(std::slice::from_ref(&reliable)).len() - 7, 22);
        assert_eq!(3 + 16 + encode(&[ack, reliable]).len() - 7, 26);
    }
}
