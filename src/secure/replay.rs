//! [`ReplayWindow`]: the packet numbers already accepted in one direction.

use crate::base::{PacketNumber, prefetch};

/// Records which of the newest [`ReplayWindow::WIDTH`] packet numbers were accepted. Older numbers count as
/// accepted; after [`ReplayWindow::collapse`], so do all numbers up to the newest. Spec: PKT-9.
///
/// Contract: call [`ReplayWindow::check`] before a packet is opened, and [`ReplayWindow::accept`] only after
/// its seal was verified, so that only the peer can move the window.
#[derive(Debug, Clone)]
pub struct ReplayWindow {
    /// One above the newest accepted number; 0 if there is none.
    end: u64,
    /// Bit `number % WIDTH` is set if the number was accepted, for numbers in `end - WIDTH..end`. If `None`,
    /// all numbers below `end` count as accepted.
    taken: Option<Box<[u64; Self::WORDS]>>,
}

impl ReplayWindow {
    /// Number of packet numbers in the window.
    pub const WIDTH: u64 = 2_048;
    const WORDS: usize = 32;

    /// Creates a window that has accepted nothing.
    pub const fn new() -> Self {
        Self { end: 0, taken: None }
    }

    /// Returns true if `number` was not accepted yet and is not too old to tell.
    // spec: PKT-9
    pub fn check(&self, number: PacketNumber) -> bool {
        let number = number.0;
        if number >= self.end {
            return true;
        }
        self.end - number <= Self::WIDTH && self.word(number) & bit(number) == 0
    }

    /// Accepts `number`, and moves the window if it is the newest.
    pub fn accept(&mut self, number: PacketNumber) {
        let number = number.0;
        if number >= self.end {
            self.forget(self.end, number);
            self.end = number.saturating_add(1);
        } else if self.end - number > Self::WIDTH {
            return;
        }
        if let Some(word) = self.words().get_mut(index(number)) {
            *word |= bit(number);
        }
    }

    /// Counts all numbers up to the newest as accepted, and frees the memory that distinguishes them.
    // spec: PKT-9
    pub fn collapse(&mut self) {
        self.taken = None;
    }

    /// Prefetches the memory that a packet with the next number needs; see [`prefetch()`].
    pub fn prefetch(&self) {
        if let Some(word) = self.taken.as_ref().and_then(|words| words.get(index(self.end))) {
            prefetch(word);
        }
    }

    fn words(&mut self) -> &mut [u64; Self::WORDS] {
        self.taken.get_or_insert_with(|| Box::new([u64::MAX; Self::WORDS]))
    }

    /// Clears the bits of the numbers that `from..=to` push out of the window.
    fn forget(&mut self, from: u64, to: u64) {
        let words = self.words();
        if to - from >= Self::WIDTH {
            *words = [0; Self::WORDS];
            return;
        }
        for number in from..=to {
            if let Some(word) = words.get_mut(index(number)) {
                *word &= !bit(number);
            }
        }
    }

    fn word(&self, number: u64) -> u64 {
        self.taken.as_ref().and_then(|words| words.get(index(number))).copied().unwrap_or(u64::MAX)
    }
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::cast_possible_truncation, reason = "below WORDS")]
const fn index(number: u64) -> usize {
    (number % ReplayWindow::WIDTH / 64) as usize
}

const fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    // spec-test: PKT-9
    #[test]
    fn a_number_is_taken_once_and_only_within_the_window() {
        let mut window = ReplayWindow::new();
        assert!(window.check(PacketNumber(0)));
        window.accept(PacketNumber(0));
        assert!(!window.check(PacketNumber(0)));
        window.accept(PacketNumber(2_048));
        assert!(!window.check(PacketNumber(0)), "too old to tell");
        assert!(window.check(PacketNumber(1)), "the oldest that the window tells");
        window.accept(PacketNumber(1));
        assert!(!window.check(PacketNumber(1)));
        window.accept(PacketNumber(2_049));
        assert!(window.check(PacketNumber(2_050)));
        assert!(!window.check(PacketNumber(1)));
        assert!(window.check(PacketNumber(2)));
    }

    // spec-test: PKT-9
    #[test]
    fn after_a_rest_all_that_is_older_counts_as_taken() {
        let mut window = ReplayWindow::new();
        [0, 2].map(PacketNumber).iter().for_each(|number| window.accept(*number));
        window.collapse();
        let taken = |window: &ReplayWindow, numbers: std::ops::Range<u64>| {
            numbers.filter(|number| !window.check(PacketNumber(*number))).collect::<Vec<_>>()
        };
        assert_eq!(taken(&window, 0..9), [0, 1, 2]);
        window.accept(PacketNumber(6));
        assert_eq!(taken(&window, 0..9), [0, 1, 2, 6]);
        window.collapse();
        window.accept(PacketNumber(9_000));
        assert_eq!(taken(&window, 9_000 - ReplayWindow::WIDTH..9_002), [9_000 - ReplayWindow::WIDTH, 9_000]);
    }

    #[test]
    fn the_largest_number_does_not_overflow() {
        let mut window = ReplayWindow::new();
        window.accept(PacketNumber(u64::MAX));
        assert!(window.check(PacketNumber(u64::MAX - 1)));
        assert!(!window.check(PacketNumber(3)));
    }

    proptest! {
        /// Compares the window with a set that remembers everything.
        #[test]
        fn it_answers_as_a_full_memory_would(
            steps in prop::collection::vec(prop_oneof![8 => -40i64..40, 1 => -3_000i64..3_000, 1 => 0i64..100_000], 1..400)
        ) {
            let (mut window, mut taken, mut newest) = (ReplayWindow::new(), BTreeSet::new(), 0u64);
            for step in steps {
                let number = newest.saturating_add_signed(step);
                let fresh = !taken.contains(&number)
                    && (taken.is_empty() || number > newest || newest - number < ReplayWindow::WIDTH);
                prop_assert_eq!(window.check(PacketNumber(number)), fresh);
                if fresh {
                    window.accept(PacketNumber(number));
                    newest = newest.max(number);
                    taken.insert(number);
                }
            }
        }
    }
}
