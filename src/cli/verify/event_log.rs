//! [`EventLog`]: the one order of a session's events, as its members tell it.

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

/// What was seen as which event. The member that sees an event first writes it; all others must agree.
#[derive(Debug, Default)]
pub struct EventLog {
    events: BTreeMap<EventNumber, Seen>,
}

impl EventLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what a member saw as event `number`; false when another member saw something else.
    ///
    /// A sender that leaves itself out gets a receipt for its own broadcast: it names the message, too.
    pub fn note(&mut self, number: EventNumber, seen: Seen) -> bool {
        *self.events.entry(number).or_insert(seen) == seen
    }

    /// How many broadcasts are in the events from `first` up to `end`, without `end`.
    pub fn messages(&self, first: EventNumber, end: EventNumber) -> u64 {
        if first >= end {
            return 0;
        }
        self.events.range(first..end).map(|(_, seen)| u64::from(matches!(seen, Seen::Message(..)))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_must_agree_on_each_event() {
        let mut log = EventLog::new();
        assert!(log.note(EventNumber(4), Seen::Message(1, 0)));
        assert!(log.note(EventNumber(4), Seen::Message(1, 0)));
        assert!(!log.note(EventNumber(4), Seen::Message(2, 0)));
        assert!(!log.note(EventNumber(4), Seen::Other));
    }

    #[test]
    fn broadcasts_are_counted_between_joining_and_leaving() {
        let mut log = EventLog::new();
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
