//! [`RepairDecoder`]: recovers the messages of lost packets from those that arrived.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::symbol;
use crate::base::PacketNumber;
use crate::wire::frame::{Frame, Message, MessageHead, Repair};

/// The receiver's side. Costs nothing while no REPAIR arrives.
#[derive(Debug, Default)]
pub struct RepairDecoder {
    memory: Option<Box<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Symbols of packets that arrived or were repaired, in the order in which they did.
    known: VecDeque<(PacketNumber, BytesMut)>,
    /// Largest number that is or was in `known`.
    largest: PacketNumber,
    /// Memory of a symbol that is no longer needed.
    spare: BytesMut,
    /// REPAIRs that could not be used yet, oldest first.
    pending: VecDeque<Pending>,
    /// Further packets for which symbols are kept although no REPAIR arrives.
    interest: u32,
}

#[derive(Debug)]
struct Pending {
    missing: SmallVec<[PacketNumber; 4]>,
    sum: BytesMut,
}

/// Maximum number of symbols kept, of at most 514 bytes each; beyond it the oldest are dropped.
const MAX_KNOWN: usize = 32;
/// Maximum number of REPAIRs kept; beyond it the oldest are dropped.
const MAX_PENDING: usize = 16;
/// Maximum number of REPAIRs taken from one packet. This implementation sends at most two.
const MAX_IN_PACKET: usize = 4;
/// After this many packets without a REPAIR nothing is remembered.
const INTEREST_PACKETS: u32 = 512;

impl RepairDecoder {
    /// Returns whether nothing is remembered.
    #[cfg(test)]
    pub fn is_blank(&self) -> bool {
        self.memory.is_none()
    }

    /// Takes a packet that arrived with these frames, and returns what they repair, oldest first: since
    /// one-byte numbers are read relative to a position (STR-6), a newer packet must not be handled before an
    /// older one.
    pub fn on_packet(&mut self, number: PacketNumber, frames: &[Frame]) -> Vec<(PacketNumber, Bytes)> {
        let mut repaired = Vec::new();
        let repairs = frames.iter().filter_map(|frame| match frame {
            Frame::Repair(repair) => Some(repair),
            _ => None,
        });
        for repair in repairs.take(MAX_IN_PACKET) {
            let memory = self.memory.get_or_insert_default();
            memory.interest = INTEREST_PACKETS;
            memory.on_repair(number, repair);
        }
        let Some(memory) = &mut self.memory else { return repaired };
        memory.interest -= 1;
        if memory.interest == 0 {
            self.memory = None;
            return repaired;
        }
        let mut symbol = std::mem::take(&mut memory.spare);
        if symbol::write(messages(frames), &mut symbol) {
            memory.learn(number, symbol);
        } else {
            memory.spare = symbol;
        }
        while let Some(at) = memory.pending.iter().position(|pending| pending.missing.len() == 1) {
            let Some(Pending { missing, sum }) = memory.pending.remove(at) else { break };
            let Some(&number) = missing.first() else { continue };
            repaired.push((number, sum.clone().freeze()));
            memory.learn(number, sum);
        }
        memory.pending.retain(|pending| !pending.missing.is_empty());
        repaired.sort_unstable_by_key(|(number, _)| *number);
        repaired
    }
}

impl Memory {
    fn on_repair(&mut self, number: PacketNumber, repair: &Repair) {
        let mut missing = SmallVec::new();
        let mut known: SmallVec<[&BytesMut; 4]> = SmallVec::new();
        for lag in &repair.lags {
            let Some(covered) = number.0.checked_sub(u64::from(*lag)).map(PacketNumber) else { return };
            // Usually one of the newest.
            match self.known.iter().rev().find(|(known, _)| *known == covered) {
                Some((_, symbol)) => known.push(symbol),
                None => missing.push(covered),
            }
        }
        if missing.is_empty() {
            return;
        }
        let mut sum = BytesMut::from(&repair.symbol[..]);
        known.iter().for_each(|symbol| symbol::add(&mut sum, symbol));
        self.pending.push_back(Pending { missing, sum });
        if self.pending.len() > MAX_PENDING {
            self.pending.pop_front();
        }
    }

    fn learn(&mut self, number: PacketNumber, symbol: BytesMut) {
        if number <= self.largest && self.known.iter().any(|(known, _)| *known == number) {
            return;
        }
        self.largest = self.largest.max(number);
        for pending in &mut self.pending {
            if let Some(at) = pending.missing.iter().position(|missing| *missing == number) {
                pending.missing.remove(at);
                symbol::add(&mut pending.sum, &symbol);
            }
        }
        self.known.push_back((number, symbol));
        if self.known.len() > MAX_KNOWN
            && let Some((_, oldest)) = self.known.pop_front()
        {
            self.spare = oldest;
        }
    }
}

/// Returns the messages of a packet with `frames`, each with its payload in two pieces.
fn messages(frames: &[Frame]) -> impl Iterator<Item = (MessageHead, [&[u8]; 2])> {
    frames.iter().filter_map(|frame| match frame {
        Frame::Message(Message { head, payload }) => Some((*head, [&payload[..], &[]])),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{StreamId, Truncated};
    use crate::wire::Delivery;
    use crate::wire::frame::Place;
    use proptest::prelude::*;

    fn packet(number: u64, bytes: usize) -> Vec<Frame> {
        let place = Place { stream: StreamId(1), number: Truncated::bits8(number) };
        let head = MessageHead::Numbered { place, delivery: Delivery::ReliableOrdered };
        let payload = Bytes::from(vec![number.to_be_bytes()[7]; bytes]);
        vec![Frame::Message(Message { head, payload })]
    }

    fn symbol_of(frames: &[Frame]) -> Option<BytesMut> {
        let mut symbol = BytesMut::new();
        symbol::write(messages(frames), &mut symbol).then_some(symbol)
    }

    fn repair(number: u64, lags: &[u8]) -> Frame {
        let mut sum = BytesMut::new();
        for lag in lags {
            let covered = number - u64::from(*lag);
            symbol::add(&mut sum, &symbol_of(&packet(covered, sizes(covered))).unwrap());
        }
        Frame::Repair(Repair { lags: lags.iter().copied().collect(), symbol: sum.freeze() })
    }

    /// Returns payload sizes that differ between packets.
    fn sizes(number: u64) -> usize {
        usize::try_from(number * 37 % 100).unwrap()
    }

    proptest! {
        /// Whatever is lost, what is repaired equals what was sent, and only what did not arrive is repaired.
        // spec-test: FRM-10, REP-5
        #[test]
        fn repaired_packets_are_those_that_were_lost(lost in prop::collection::vec(prop::bool::weighted(0.3), 200)) {
            let mut decoder = RepairDecoder::default();
            let mut missed = 0;
            for (number, is_lost) in (10u64..).zip(&lost) {
                if *is_lost {
                    missed += 1;
                    continue;
                }
                let mut frames = packet(number, sizes(number));
                if number > 20 {
                    frames.insert(0, repair(number, &[1, 3]));
                }
                let repairs = decoder.on_packet(PacketNumber(number), &frames);
                prop_assert!(repairs.is_sorted_by_key(|(repaired, _)| *repaired), "the oldest first");
                for (repaired, symbol) in repairs {
                    let expected = symbol_of(&packet(repaired.0, sizes(repaired.0))).unwrap();
                    prop_assert_eq!(&symbol[..expected.len()], &expected[..]);
                    prop_assert!(symbol[expected.len()..].iter().all(|byte| *byte == 0));
                    // Nothing is remembered before the first REPAIR, so packets that arrived then may come
                    // again.
                    if repaired.0 > 20 {
                        prop_assert!(lost[usize::try_from(repaired.0 - 10).unwrap()]);
                        missed -= 1;
                    }
                }
            }
            prop_assert!(missed < 100, "{missed} were not repaired");
        }

        // spec-test: REP-5
        #[test]
        fn whatever_comes_memory_is_bounded(
            repairs in prop::collection::vec((1u64..1 << 40, prop::collection::vec(any::<u8>(), 3..514)), 1..200)
        ) {
            let mut decoder = RepairDecoder::default();
            for (number, symbol) in repairs {
                let lags = (1..=4).collect();
                let mut frames = packet(number, 200);
                frames.insert(0, Frame::Repair(Repair { lags, symbol: symbol.into() }));
                decoder.on_packet(PacketNumber(number), &frames);
                let Memory { known, pending, .. } = decoder.memory.as_deref().unwrap();
                prop_assert!(known.len() <= 32 && pending.len() <= 16);
            }
        }
    }

    #[test]
    fn of_more_repairs_in_a_packet_than_anybody_sends_the_first_are_taken() {
        let mut decoder = RepairDecoder::default();
        let repairs: Vec<_> = (1..=9).map(|lag| repair(20, &[lag])).collect();
        let repaired = decoder.on_packet(PacketNumber(20), &repairs);
        let repaired: Vec<_> = repaired.iter().map(|(number, _)| number.0).collect();
        assert_eq!(repaired, [16, 17, 18, 19]);
    }

    /// Each REPAIR waits for one of two packets.
    // spec-test: REP-5
    #[test]
    fn of_more_repairs_than_are_remembered_the_oldest_go() {
        let mut decoder = RepairDecoder::default();
        for number in (10u64..).step_by(10).take(17) {
            assert!(decoder.on_packet(PacketNumber(number), &[repair(number, &[1, 2])]).is_empty());
        }
        let mut repaired = |number: u64| {
            let repaired =
                decoder.on_packet(PacketNumber(number - 1), &packet(number - 1, sizes(number - 1)));
            repaired.into_iter().map(|(number, _)| number.0).collect::<Vec<_>>()
        };
        assert!(repaired(10).is_empty());
        assert_eq!(repaired(20), [18]);
        assert_eq!(repaired(170), [168]);
    }

    #[test]
    fn after_packets_without_a_repair_nothing_is_remembered() {
        let mut decoder = RepairDecoder::default();
        let mut frames = packet(50, 10);
        frames.insert(0, repair(50, &[1]));
        decoder.on_packet(PacketNumber(50), &frames);
        assert!(decoder.memory.is_some());
        for number in 51..51 + u64::from(INTEREST_PACKETS) {
            decoder.on_packet(PacketNumber(number), &packet(number, 10));
        }
        assert!(decoder.memory.is_none());
    }
}
