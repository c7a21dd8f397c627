//! [`CeCounter`]: the packets that arrived marked.

use crate::base::Ecn;

/// Counts the packets that arrived marked CE, and tracks whether the peer knows.
#[derive(Debug)]
pub struct CeCounter {
    /// Packets that arrived marked CE.
    received: u64,
    /// A marked packet has arrived since the peer's last challenge, or since the beginning.
    are_coming: bool,
    /// Count that the peer is known to have; `None` when it may not even know that marks are counted.
    confirmed: Option<u64>,
    /// How often the peer has challenged this end's address.
    asked: u32,
}

/// A reported count of packets that arrived marked CE; valid only for the path of that time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CeReport {
    /// The count.
    pub count: u64,
    asked: u32,
}

impl CeCounter {
    /// Starts without a marked packet.
    pub fn new() -> Self {
        Self { received: 0, are_coming: false, confirmed: None, asked: 0 }
    }

    /// Notes the mark `ecn` of a packet that opened and is not a replay.
    pub fn on_received(&mut self, ecn: Ecn) {
        self.are_coming |= ecn != Ecn::NotEct;
        self.received += u64::from(ecn == Ecn::Ce);
    }

    /// Notes that the peer challenged this end's address: its packets may take a new path, and it must learn
    /// whether marks arrive on it.
    pub fn on_challenge(&mut self) {
        (self.are_coming, self.confirmed) = (false, None);
        self.asked = self.asked.wrapping_add(1);
    }

    /// Returns the count for a packet with an ack, unless the peer is known to have it.
    // spec: ECN-3
    pub fn news(&self) -> Option<CeReport> {
        let is_news = self.are_coming && self.confirmed < Some(self.received);
        is_news.then_some(CeReport { count: self.received, asked: self.asked })
    }

    /// Notes that a packet that carried `told` was acked.
    pub fn on_confirmed(&mut self, told: CeReport) {
        if told.asked == self.asked {
            self.confirmed = self.confirmed.max(Some(told.count));
        }
    }

    /// Returns how many packets arrived marked CE.
    pub fn received(&self) -> u64 {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec-test: ECN-3
    #[test]
    fn a_count_is_told_until_it_is_known_to_have_arrived() {
        let mut counter = CeCounter::new();
        let news = |counter: &CeCounter| counter.news().map(|told| told.count);
        counter.on_received(Ecn::NotEct);
        assert_eq!(news(&counter), None);
        counter.on_received(Ecn::Ect0);
        assert_eq!(news(&counter), Some(0), "they arrive");
        let mut told: Vec<_> = (0..3)
            .map(|_| {
                counter.on_received(Ecn::Ce);
                counter.news().unwrap()
            })
            .collect();
        let last = told.remove(2);
        assert_eq!(last.count, 3);
        counter.on_confirmed(told[1]);
        assert_eq!(counter.news(), Some(last));
        counter.on_confirmed(last);
        counter.on_confirmed(told[0]);
        assert_eq!(counter.news(), None);
        counter.on_challenge();
        assert_eq!(counter.news(), None);
        counter.on_confirmed(last);
        counter.on_received(Ecn::Ect0);
        assert_eq!(news(&counter), Some(3), "on the new path they arrive, too, which was not said yet");
    }
}
