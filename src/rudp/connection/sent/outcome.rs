//! What becomes of sent packets: the outcomes of an ack and of loss detection.

use std::time::Duration;

use smallvec::SmallVec;

use super::SentFrame;
use crate::base::{PacketNumber, Timestamp};
use crate::rudp::connection::stream::MessageRef;

/// The outcome of an ack.
#[derive(Debug, Default)]
pub struct AckOutcome {
    /// Frames that arrived.
    pub frames: SmallVec<[SentFrame; ACKED_AT_ONCE]>,
    /// Newly acked packets of this path.
    pub packets: SmallVec<[AckedPacket; ACKED_AT_ONCE]>,
    /// It is news that packets of a former path have arrived.
    pub former_acked: bool,
    /// When the packet with the ack's largest number was sent, if it is newly acked, asked for an ack, and
    /// left on this path: an RTT sample.
    pub largest_sent_at: Option<Timestamp>,
    /// Largest newly acked number.
    pub largest: Option<PacketNumber>,
    /// Largest newly acked number of a packet that was sent with a mark.
    pub marked: Option<PacketNumber>,
    /// Messages of packets that did not arrive, but were repaired.
    pub repaired: Vec<MessageRef>,
    /// Packets that had been declared lost, of whichever path.
    pub spurious: SmallVec<[LostPacket; 4]>,
}

/// Most acks settle fewer packets than this, which is what a session of 64 sends in 33 ms.
const ACKED_AT_ONCE: usize = 64;

/// A packet that the peer acked.
#[derive(Debug, Clone, Copy)]
pub struct AckedPacket {
    /// Its size.
    pub bytes: usize,
    /// When it was sent.
    pub sent_at: Timestamp,
}

/// A packet that was declared lost.
#[derive(Debug, Clone, Copy)]
pub struct LostPacket {
    /// Its number.
    pub number: PacketNumber,
    /// Its size.
    pub bytes: usize,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// It was sent marked ECT.
    pub is_marked: bool,
    /// It left on a former path, and says nothing about this one.
    pub is_former: bool,
}

/// The outcome of loss detection.
#[derive(Debug, Default)]
pub struct LossOutcome {
    /// Frames to send again.
    pub frames: Vec<SentFrame>,
    /// The packets, of whichever path.
    pub packets: SmallVec<[LostPacket; 8]>,
    /// Longest time from the sending of one lost packet of this path to that of a later one, found lost now,
    /// with nothing acked that was sent in between: persistent congestion, RFC 9002 §7.6.
    pub longest_run: Duration,
}

impl LossOutcome {
    /// Returns the packets that left on this path.
    pub fn on_path(&self) -> impl Iterator<Item = &LostPacket> + Clone {
        self.packets.iter().filter(|packet| !packet.is_former)
    }
}
