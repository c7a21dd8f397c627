//! [`Gaps`]: how long deliveries take to resume after a blackhole has ended.
//!
//! The relay schedules a path's blackholes from the path's first datagram, whose exact time is not known
//! here. The length of the blackholes is known, however. During one, nothing reaches a receiver, so its
//! deliveries have a gap: the blackhole, and then the time until something is sent again and arrives. The
//! recovery took as long as the gap exceeds the blackhole.
//!
//! This is too long by the time between the last delivery and the blackhole's start, which is at most the
//! usual time between two deliveries at a receiver, and by the time between the starts of the members'
//! blackholes, which equals the time between their first datagrams. It is too short by the time that the last
//! delivery before the blackhole waited longer in a queue than the first one after it. Other silences, such
//! as those caused by losses, are distinguished from blackholes by their length: only a silence of more than
//! half a blackhole counts, and of those that end within half of the time from one blackhole to the next,
//! only the longest.

use std::time::Duration;

use crate::link::Blackhole;

/// Finds the gaps that blackholes leave between the deliveries at one receiver.
#[derive(Debug)]
pub struct Gaps {
    blackhole_micros: u64,
    /// Gaps that end closer together than this count as one blackhole.
    apart_micros: u64,
    last_micros: Option<u64>,
    /// The longest of the newest gaps.
    candidate: Option<Gap>,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    end_micros: u64,
    length_micros: u64,
    is_counted: bool,
}

impl Gaps {
    /// Creates the gaps of a receiver behind a line with these blackholes.
    pub fn new(blackhole: Blackhole) -> Self {
        Self {
            blackhole_micros: micros(blackhole.lasting),
            apart_micros: micros(blackhole.every) / 2,
            last_micros: None,
            candidate: None,
        }
    }

    /// Notes a delivery. If it shows that an earlier gap was caused by a blackhole, and the message that
    /// ended that gap is counted, returns how long the gap lasted after the blackhole's end, in microseconds.
    pub fn deliver(&mut self, at_micros: u64, is_counted: bool) -> Option<u64> {
        let length_micros = at_micros.saturating_sub(self.last_micros.replace(at_micros)?);
        // Half, because queued messages still arrive after the blackhole has begun.
        if length_micros <= self.blackhole_micros / 2 {
            return None;
        }
        let gap = Gap { end_micros: at_micros, length_micros, is_counted };
        match self.candidate {
            Some(other) if at_micros.saturating_sub(other.end_micros) < self.apart_micros => {
                if length_micros > other.length_micros {
                    self.candidate = Some(gap);
                }
                None
            }
            _ => self.finish_before(Some(gap)),
        }
    }

    /// Returns the last gap's recovery, as [`Gaps::deliver`] would, when no more deliveries come.
    pub fn finish(&mut self) -> Option<u64> {
        self.finish_before(None)
    }

    fn finish_before(&mut self, next: Option<Gap>) -> Option<u64> {
        let gap = std::mem::replace(&mut self.candidate, next).filter(|gap| gap.is_counted)?;
        Some(gap.length_micros.saturating_sub(self.blackhole_micros))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the recoveries for deliveries at these milliseconds, with blackholes of 500 ms every 2 s.
    fn recoveries(millis: &[u64], is_counted: bool) -> Vec<u64> {
        let blackhole = Blackhole { every: Duration::from_secs(2), lasting: Duration::from_millis(500) };
        let mut gaps = Gaps::new(blackhole);
        let mut found: Vec<_> =
            millis.iter().filter_map(|millis| gaps.deliver(millis * 1_000, is_counted)).collect();
        found.extend(gaps.finish());
        found
    }

    #[test]
    fn what_a_gap_is_longer_than_the_blackhole_is_the_recovery() {
        let deliveries = [10, 43, 76, 616, 650, 850, 1_050, 1_250, 1_450, 1_650, 1_850, 2_050, 2_610, 2_611];
        assert_eq!(recoveries(&deliveries, true), [40_000, 60_000]);
        assert!(recoveries(&deliveries, false).is_empty(), "while it warms up");
    }

    #[test]
    fn the_wait_in_a_queue_does_not_hide_a_blackhole() {
        assert_eq!(recoveries(&[100, 500], true), [0]);
        assert!(recoveries(&[900], true).is_empty(), "nothing came before");
    }

    #[test]
    fn silences_around_a_blackhole_do_not_count_beside_it() {
        assert_eq!(recoveries(&[0, 300, 840, 1_100, 1_400, 1_420], true), [40_000]);
    }

    #[test]
    fn usual_pauses_are_no_blackholes() {
        let deliveries: Vec<u64> = (0..100).map(|number| number * 250).collect();
        assert!(recoveries(&deliveries, true).is_empty());
    }
}
