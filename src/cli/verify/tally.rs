//! [`Tally`]: what one receiver got from each sender.

use crate::wire::Delivery;

/// Records a receiver's arrivals and judges each of them.
#[derive(Debug)]
pub struct Tally {
    /// True when a sender's messages must arrive in the order of sending.
    in_order: bool,
    first_sender: u32,
    senders: Vec<FromSender>,
}

/// What arrived from one sender.
#[derive(Debug, Default, Clone)]
struct FromSender {
    /// One bit per message, by sequence.
    seen: Vec<u64>,
    /// One more than the highest sequence that arrived.
    next: u32,
}

/// The verdict on one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The message is as it should be.
    Fresh,
    /// The message has arrived before.
    Duplicate,
    /// A later message of its sender arrived first, which the delivery mode rules out.
    OutOfOrder,
    /// The message is from a sender that does not send to this receiver.
    Stranger,
}

impl Tally {
    /// Creates the tally of a receiver with `senders` senders, numbered from `first_sender` on.
    pub fn new(delivery: Delivery, first_sender: u32, senders: usize) -> Self {
        let in_order = matches!(
            delivery,
            Delivery::ReliableOrdered | Delivery::Sequenced { .. } | Delivery::ReliableLatest { .. }
        );
        Self { in_order, first_sender, senders: vec![FromSender::default(); senders] }
    }

    /// Judges and records the arrival of a sender's message.
    pub fn arrive(&mut self, sender: u32, sequence: u32) -> Arrival {
        let index = sender.checked_sub(self.first_sender).and_then(|index| usize::try_from(index).ok());
        let Some(from) = index.and_then(|index| self.senders.get_mut(index)) else {
            return Arrival::Stranger;
        };
        if !from.mark(sequence) {
            return Arrival::Duplicate;
        }
        if sequence < from.next {
            return if self.in_order { Arrival::OutOfOrder } else { Arrival::Fresh };
        }
        from.next = sequence.saturating_add(1);
        Arrival::Fresh
    }

    /// Returns one more than the highest sequence that arrived from `sender`.
    pub fn next_of(&self, sender: u32) -> u32 {
        let index = sender.checked_sub(self.first_sender).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.senders.get(index)).map_or(0, |from| from.next)
    }
}

impl FromSender {
    /// Sets the message's bit; returns false if it was already set.
    fn mark(&mut self, sequence: u32) -> bool {
        let (word, bit) = ((sequence / 64) as usize, 1_u64 << (sequence % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let Some(word) = self.seen.get_mut(word) else { return false };
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_a_duplicate_in_every_mode() {
        for delivery in [Delivery::Unreliable, Delivery::ReliableUnordered, Delivery::ReliableOrdered] {
            let mut tally = Tally::new(delivery, 10, 2);
            assert_eq!(tally.arrive(11, 70), Arrival::Fresh);
            assert_eq!(tally.arrive(11, 70), Arrival::Duplicate);
            assert_eq!(tally.arrive(10, 70), Arrival::Fresh, "another sender's");
        }
    }

    #[test]
    fn an_overtaken_message_is_out_of_order_where_order_is_promised() {
        for (delivery, late) in [
            (Delivery::ReliableOrdered, Arrival::OutOfOrder),
            (Delivery::Sequenced { key: 1 }, Arrival::OutOfOrder),
            (Delivery::ReliableLatest { key: 1 }, Arrival::OutOfOrder),
            (Delivery::ReliableUnordered, Arrival::Fresh),
            (Delivery::Unreliable, Arrival::Fresh),
        ] {
            let mut tally = Tally::new(delivery, 0, 1);
            assert_eq!(tally.arrive(0, 2), Arrival::Fresh);
            assert_eq!(tally.arrive(0, 1), late, "{delivery:?}");
            assert_eq!(tally.next_of(0), 3);
        }
    }

    #[test]
    fn senders_of_other_sessions_are_strangers() {
        let mut tally = Tally::new(Delivery::Unreliable, 8, 4);
        assert_eq!(tally.arrive(7, 0), Arrival::Stranger);
        assert_eq!(tally.arrive(12, 0), Arrival::Stranger);
    }
}
