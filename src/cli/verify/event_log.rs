//! [`EventLog`]: the single order of a session's events, as reported by its members.

use std::collections::BTreeMap;

use crate::base::EventNumber;

/// A numbered event, as far as members must agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seen {
    /// A broadcast, by sender and sequence.
    Message(u32, u32),
    /// Anything else.
    Other,
}

/// A log of which event was seen under which number. The first member that sees a number records its event;
/// all others must agree.
#[derive(Debug)]
pub struct EventLog {
    /// Each with the number of members that have noted it.
    events: BTreeMap<EventNumber, (Seen, usize)>,
    readers: usize,
}

impl EventLog {
    /// Creates an empty log that keeps everything.
    pub fn whole() -> Self {
        Self::read_by(usize::MAX)
    }

    /// Creates an empty log that forgets what `readers` members have noted.
    pub fn read_by(readers: usize) -> Self {
        Self { events: BTreeMap::new(), readers }
    }

    /// Notes what a member saw as event `number`; returns false if another member saw something else.
    ///
    /// A sender that excludes itself gets a receipt for its own broadcast, which also identifies the message.
    pub fn note(&mut self, number: EventNumber, seen: Seen) -> bool {
        let (first, noted) = self.events.entry(number).or_insert((seen, 0));
        let agrees = *first == seen;
        *noted += 1;
        if *noted >= self.readers {
            self.events.remove(&number);
        }
        agrees
    }

    /// Returns the number of broadcasts among the events from `first` up to, but not including, `end`.
    pub fn messages(&self, first: EventNumber, end: EventNumber) -> u64 {
        if first >= end {
            return 0;
        }
        self.events.range(first..end).map(|(_, (seen, _))| u64::from(matches!(seen, Seen::Message(..)))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_must_agree_on_each_event() {
        let mut log = EventLog::whole();
        assert!(log.note(EventNumber(4), Seen::Message(1, 0)));
        assert!(log.note(EventNumber(4), Seen::Message(1, 0)));
        assert!(!log.note(EventNumber(4), Seen::Message(2, 0)));
        assert!(!log.note(EventNumber(4), Seen::Other));
    }

    #[test]
    fn what_all_have_noted_is_forgotten() {
        let mut log = EventLog::read_by(2);
        assert!(
            log.note(EventNumber(1), Seen::Message(1, 0)) && log.note(EventNumber(2), Seen::Message(1, 1))
        );
        assert!(!log.note(EventNumber(1), Seen::Message(2, 0)), "the second must agree with the first");
        assert_eq!(log.events.len(), 1);
    }

    #[test]
    fn broadcasts_are_counted_between_joining_and_leaving() {
        let mut log = EventLog::whole();
        for (number, seen) in
            [(1, Seen::Other), (2, Seen::Message(0, 0)), (3, Seen::Message(0, 1)), (4, Seen::Message(1, 0))]
        {
            log.note(EventNumber(number), seen);
        }
        assert_eq!(log.messages(EventNumber(1), EventNumber(4)), 2);
        assert_eq!(log.messages(EventNumber(4), EventNumber(9)), 1);
        assert_eq!(log.messages(EventNumber(4), EventNumber(2)), 0);
    }
}
