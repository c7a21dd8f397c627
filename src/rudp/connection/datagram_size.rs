//! [`DatagramSize`]: finds out by probes how large a datagram the path carries. RFC 8899. Spec: MTU-1.
//!
//! Every path carries 1,200 bytes. Larger sizes are tried only when they would be useful: for a message in
//! fragments, or many full datagrams. The first probe has the largest size that both ends' links allow, which
//! most paths carry. If it does not arrive, the next probe has Ethernet's size; below that the search halves
//! the interval. When larger packets stop arriving, the size returns to 1,200 bytes and another search
//! begins.

mod doubt;

use std::time::Duration;

use self::doubt::Doubt;
use super::config::{BASE_DATAGRAM_BYTES, ETHERNET_DATAGRAM_BYTES};
use super::sent::LostPacket;
use crate::base::Timestamp;

/// The size that the path carries, and the search for a larger one.
#[derive(Debug)]
pub struct DatagramSize {
    /// Largest size that both ends allow.
    ceiling: usize,
    /// Largest size that has arrived.
    confirmed: usize,
    state: State,
    /// Number of the current or last search; probes of earlier ones are ignored.
    search: u32,
    doubt: Doubt,
    /// Recent datagrams that had no room for all data that waited, less two for each that had.
    full: u8,
}

/// A packet of the size that is being tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SizeProbe {
    search: u32,
    /// Size as UDP payload.
    pub bytes: usize,
}

#[derive(Debug)]
enum State {
    /// No larger datagram has been needed yet.
    Unused,
    Searching(Search),
    Found {
        next_search_at: Timestamp,
    },
}

#[derive(Debug, Default)]
struct Search {
    /// Smallest size that did not arrive.
    refused: Option<usize>,
    /// Lost probes of the current size.
    lost: u32,
    /// When the probe in flight counts as lost.
    lost_at: Option<Timestamp>,
}

/// Full datagrams that make a search for a larger size worthwhile; each one that is not full offsets two.
const MANY_FULL: u8 = 16;
/// Lost probes of a size after which it counts as too large. RFC 8899 §5.1.2.
const MAX_PROBES: u32 = 3;
/// A search ends when the size is known to within this many bytes.
const STEP_BYTES: usize = 16;
/// Time from the end of a search until the next may begin. RFC 8899 §5.1.1.
const SEARCH_INTERVAL: Duration = Duration::from_secs(600);

impl DatagramSize {
    /// Starts at the base size, on a path of which nothing is known; `ceiling` is never exceeded.
    pub fn new(ceiling: usize) -> Self {
        Self {
            ceiling: ceiling.max(BASE_DATAGRAM_BYTES),
            confirmed: BASE_DATAGRAM_BYTES,
            state: State::Unused,
            search: 0,
            doubt: Doubt::default(),
            full: 0,
        }
    }

    /// Returns the largest datagram that may be sent.
    pub fn bytes(&self) -> usize {
        self.confirmed
    }

    /// Notes a datagram with messages; `is_full` when it had no room for all data that waited.
    pub fn on_filled(&mut self, now: Timestamp, is_full: bool) {
        self.full = if is_full { (self.full + 1).min(MANY_FULL) } else { self.full.saturating_sub(2) };
        if self.full == MANY_FULL {
            self.on_use(now);
        }
    }

    /// Notes that larger datagrams would be useful, and begins a search if one is due.
    // spec: MTU-3
    pub fn on_use(&mut self, now: Timestamp) {
        let is_due = match self.state {
            State::Unused => true,
            State::Searching(_) => false,
            State::Found { next_search_at } => now >= next_search_at,
        };
        if is_due && self.confirmed < self.ceiling {
            self.begin_search();
        }
    }

    /// Returns to the base size on a new path, and begins a search if larger datagrams were ever needed.
    // spec: MTU-6
    pub fn on_new_path(&mut self) {
        self.confirmed = BASE_DATAGRAM_BYTES;
        if !matches!(self.state, State::Unused) {
            self.begin_search();
        }
    }

    /// Returns the probe that should leave now.
    pub fn next_probe(&self) -> Option<SizeProbe> {
        self.sought().filter(|_| self.deadline().is_none())
    }

    /// Notes that the probe from [`Self::next_probe`] left; it counts as lost at `lost_at`.
    pub fn on_probe_sent(&mut self, lost_at: Timestamp) {
        if let State::Searching(search) = &mut self.state {
            search.lost_at = Some(lost_at);
        }
    }

    /// Notes that a probe arrived, even if it already counted as lost: a peer may delay its ack for longer
    /// than probes on a short path wait. Returns whether larger datagrams may be sent than before.
    // spec: MTU-3
    pub fn on_probe_acked(&mut self, now: Timestamp, probe: SizeProbe) -> bool {
        if probe.search != self.search || probe.bytes <= self.confirmed {
            return false;
        }
        self.confirmed = probe.bytes;
        if let State::Searching(search) = &mut self.state {
            let refused = search.refused.filter(|refused| *refused > probe.bytes);
            *search = Search { refused, ..Search::default() };
            self.end_search_if_over(now);
        }
        true
    }

    /// Returns when [`Self::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Searching(search) => search.lost_at,
            State::Unused | State::Found { .. } => None,
        }
    }

    /// Counts a probe as lost when its time is over.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let Some(probe) = self.sought().filter(|_| self.deadline().is_some_and(|at| now >= at)) else {
            return;
        };
        let State::Searching(search) = &mut self.state else { return };
        search.lost_at = None;
        search.lost += 1;
        if search.lost == MAX_PROBES {
            *search = Search { refused: Some(probe.bytes), ..Search::default() };
            self.end_search_if_over(now);
        }
    }

    /// Notes that a packet of `bytes` bytes, other than a size probe, was acked, if only after it had counted
    /// as lost.
    pub fn on_acked(&mut self, bytes: usize) {
        self.doubt.on_acked(bytes);
    }

    /// Notes packets found lost at the same time. Returns true when the path no longer carries the current size,
    /// or chance made it look so; the size returns to the base and a search begins.
    // spec: MTU-4
    pub fn on_lost<'a>(&mut self, now: Timestamp, packets: impl Iterator<Item = &'a LostPacket>) -> bool {
        let large = packets.filter(|packet| packet.bytes > BASE_DATAGRAM_BYTES);
        let largest = large.max_by_key(|packet| (packet.bytes, packet.sent_at));
        let Some(&LostPacket { bytes, sent_at, .. }) = largest else { return false };
        if self.confirmed == BASE_DATAGRAM_BYTES || !self.doubt.on_lost(now, bytes, sent_at) {
            return false;
        }
        self.confirmed = BASE_DATAGRAM_BYTES;
        self.begin_search();
        true
    }

    fn sought(&self) -> Option<SizeProbe> {
        match &self.state {
            State::Searching(search) => search.sought(self.search, self.confirmed, self.ceiling),
            State::Unused | State::Found { .. } => None,
        }
    }

    fn begin_search(&mut self) {
        self.doubt = Doubt::default();
        self.search = self.search.wrapping_add(1);
        self.state = State::Searching(Search::default());
    }

    fn end_search_if_over(&mut self, now: Timestamp) {
        if self.sought().is_none() {
            self.end_search(now);
        }
    }

    fn end_search(&mut self, now: Timestamp) {
        self.state = State::Found { next_search_at: now + SEARCH_INTERVAL };
    }
}

impl Search {
    /// Returns the next probe to try; `None` when the search is over.
    fn sought(&self, search: u32, confirmed: usize, ceiling: usize) -> Option<SizeProbe> {
        let bytes = match self.refused {
            None => ceiling,
            // Paths with sizes in between are rare, and large probes are expensive.
            Some(refused) if refused > ETHERNET_DATAGRAM_BYTES => ETHERNET_DATAGRAM_BYTES,
            Some(refused) if refused - confirmed > STEP_BYTES => confirmed.midpoint(refused),
            Some(_) => return None,
        };
        (bytes > confirmed).then_some(SizeProbe { search, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    /// Searches on a path that carries `mtu` bytes, and returns the size tried in each attempt.
    fn search(size: &mut DatagramSize, now: &mut Timestamp, mtu: usize) -> Vec<usize> {
        let mut tried = vec![];
        while let Some(probe) = size.next_probe() {
            tried.push(probe.bytes);
            size.on_probe_sent(*now + WAIT);
            assert_eq!(size.next_probe(), None, "one at a time");
            if probe.bytes <= mtu {
                assert!(size.on_probe_acked(*now, probe));
            } else {
                *now = size.deadline().unwrap();
                size.handle_timeout(*now);
            }
        }
        assert_eq!(size.deadline(), None);
        tried
    }

    fn found(ceiling: usize, mtu: usize) -> (DatagramSize, Timestamp) {
        let (mut size, mut now) = (DatagramSize::new(ceiling), Timestamp::ZERO);
        size.on_use(now);
        search(&mut size, &mut now, mtu);
        (size, now)
    }

    #[test]
    fn most_paths_cost_one_probe() {
        let (mut size, mut now) = (DatagramSize::new(1_452), Timestamp::ZERO);
        assert_eq!(size.next_probe(), None, "no use for one");
        size.on_use(now);
        assert_eq!(search(&mut size, &mut now, 1_472), [1_452]);
        assert_eq!(size.bytes(), 1_452);
    }

    /// 1,452 bytes do not pass, half of the interval does, and so on.
    // spec-test: MTU-3
    #[test]
    fn a_size_is_tried_three_times_and_the_gap_halved() {
        let (mut size, mut now) = (DatagramSize::new(1_452), Timestamp::ZERO);
        size.on_use(now);
        let tried = search(&mut size, &mut now, 1_372);
        assert_eq!(tried, [1_452, 1_452, 1_452, 1_326, 1_389, 1_389, 1_389, 1_357, 1_373, 1_373, 1_373]);
        assert_eq!(size.bytes(), 1_357);
    }

    #[test]
    fn every_size_is_found_to_a_step() {
        for ceiling in [1_200, 1_201, 1_216, 1_452, 1_453, 9_216] {
            for mtu in 1_200..=ceiling.min(1_452) {
                let bytes = found(ceiling, mtu).0.bytes();
                let is_exact = bytes == ceiling || bytes == 1_452;
                assert!(bytes <= mtu && (is_exact || mtu - bytes < STEP_BYTES), "{bytes} of {mtu}");
            }
        }
    }

    /// 9,216 bytes do not pass, and the sizes between Ethernet's and that are not tried.
    // spec-test: MTU-3
    #[test]
    fn after_a_larger_one_the_size_of_ethernet_is_tried() {
        for (mtu, expected) in [
            (9_216, &[9_216][..]),
            (9_215, &[9_216, 9_216, 9_216, 1_452]),
            (1_452, &[9_216, 9_216, 9_216, 1_452]),
            (1_451, &[9_216, 9_216, 9_216, 1_452, 1_452, 1_452, 1_326, 1_389, 1_420, 1_436]),
        ] {
            let (mut size, mut now) = (DatagramSize::new(9_216), Timestamp::ZERO);
            size.on_use(now);
            assert_eq!(search(&mut size, &mut now, mtu), expected, "{mtu}");
            assert_eq!(size.bytes(), *expected.last().unwrap());
        }
    }

    /// Each turn's messages fill several datagrams, the last of which is not full.
    // spec-test: MTU-3
    #[test]
    fn many_full_datagrams_are_a_use() {
        for (full, turns) in [(16, Some(1)), (15, Some(2)), (8, Some(3)), (3, Some(14)), (2, None)] {
            let (mut size, now) = (DatagramSize::new(1_452), Timestamp::ZERO);
            let begins = (1..=100).find(|_| {
                (0..full).for_each(|_| size.on_filled(now, true));
                let begins = size.next_probe().is_some();
                size.on_filled(now, false);
                begins
            });
            assert_eq!(begins, turns, "{full} and one that is not");
        }
    }

    /// One of the ends pauses for a moment; on a short path that is enough for all probes to count as lost.
    // spec-test: MTU-3
    #[test]
    fn a_probe_that_arrives_late_is_no_less_an_answer() {
        for lost in 1..=20 {
            let (mut size, mut now) = (DatagramSize::new(9_216), Timestamp::ZERO);
            size.on_use(now);
            let first = size.next_probe().unwrap();
            for _ in 0..lost {
                let Some(_) = size.next_probe() else { break };
                size.on_probe_sent(now + WAIT);
                now = size.deadline().unwrap();
                size.handle_timeout(now);
            }
            assert!(size.on_probe_acked(now, first));
            assert_eq!((size.bytes(), size.next_probe()), (9_216, None), "after {lost}");
            assert!(!size.on_probe_acked(now, first));
        }
    }

    #[test]
    fn a_smaller_probe_that_arrives_late_does_not_end_the_search() {
        let (mut size, mut now) = (DatagramSize::new(1_452), Timestamp::ZERO);
        size.on_use(now);
        let mut late = None;
        for _ in 0..7 {
            late = size.next_probe();
            size.on_probe_sent(now + WAIT);
            now = size.deadline().unwrap();
            size.handle_timeout(now);
        }
        let late = late.unwrap();
        assert_eq!((late.bytes, size.next_probe().unwrap().bytes), (1_263, 1_263));
        assert!(size.on_probe_acked(now, SizeProbe { bytes: 1_326, ..late }));
        let tried = [1_452, 1_452, 1_452, 1_389, 1_420, 1_420, 1_420, 1_404, 1_404, 1_404];
        assert_eq!(search(&mut size, &mut now, 1_400), tried);
    }

    fn lost(bytes: usize, sent_at: Timestamp) -> LostPacket {
        LostPacket {
            number: crate::base::PacketNumber(0),
            bytes,
            sent_at,
            is_marked: false,
            is_former: false,
        }
    }

    // spec-test: MTU-3
    #[test]
    fn the_next_search_is_ten_minutes_later_and_needs_a_use() {
        let (mut size, mut now) = found(1_452, 1_300);
        now += Duration::from_millis(599_999);
        size.on_use(now);
        assert_eq!(size.next_probe(), None);
        now += Duration::from_millis(1);
        assert_eq!(size.next_probe(), None);
        size.on_use(now);
        search(&mut size, &mut now, 1_452);
        assert_eq!(size.bytes(), 1_452);
    }

    #[test]
    fn what_was_probed_on_another_path_is_no_news() {
        let mut size = DatagramSize::new(1_452);
        size.on_use(Timestamp::ZERO);
        let probe = size.next_probe().unwrap();
        size.on_probe_sent(Timestamp::ZERO + WAIT);
        size.on_new_path();
        assert!(!size.on_probe_acked(Timestamp::ZERO, probe));
        assert!(size.next_probe().is_some_and(|next| next != probe));
    }

    #[test]
    fn a_black_hole_begins_another_search_at_the_base() {
        let (mut size, mut now) = found(1_452, 1_452);
        for at in [1, 2, 3].map(|second| now + Duration::from_secs(second)) {
            assert_eq!(size.bytes(), 1_452);
            size.on_lost(at, [lost(1_452, at), lost(60, at)].iter());
        }
        assert_eq!(size.bytes(), BASE_DATAGRAM_BYTES);
        search(&mut size, &mut now, 1_300);
        assert!((1_285..=1_300).contains(&size.bytes()), "{}", size.bytes());
    }
}
