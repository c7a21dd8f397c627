//! [`Lanes`]: the queues in which messages wait.

use super::lane::{Lane, Queued};
use crate::base::{Blank, Rare};
use crate::rudp::connection::stream::{MessageRef, Space};

/// The queues of a connection's messages. Each can be held up without the others: large messages while the
/// peer has no room for them, keyed ones while the peer might otherwise forget the keys of values not yet
/// settled.
#[derive(Debug, Default)]
pub struct Lanes {
    small: Lane,
    apart: Rare<Apart>,
    /// Number of messages enqueued so far.
    came: u64,
}

/// Lanes that most connections do not need.
#[derive(Debug, Default)]
struct Apart {
    keyed: Lane,
    large: Lane,
}

impl Blank for Apart {
    const BLANK: &'static Self = &Self { keyed: Lane::new(), large: Lane::new() };
}

/// Names a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneName {
    /// Messages without a key that fit into one packet.
    Small,
    /// Messages with a key that fit into one packet.
    Keyed,
    /// Messages that need several packets.
    Large,
}

/// Where a message is enqueued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Before all messages of the lane that were never sent.
    First,
    /// Behind them.
    Last,
}

/// Places of each lane that hold nothing for the packet being filled.
#[derive(Clone, Copy, Default, Debug)]
pub struct Passed {
    small: usize,
    keyed: usize,
    large: usize,
    /// Only retransmissions may be sent.
    resends_only: bool,
    /// Small messages go first, without a turn for fragments, which do not fit.
    small_first: bool,
}

impl LaneName {
    /// Returns the lane of a message of `space`, cut into fragments or not.
    pub fn of(space: Space, in_fragments: bool) -> Self {
        match space {
            _ if in_fragments => Self::Large,
            Space::Keyed => Self::Keyed,
            Space::Ordered | Space::Unordered => Self::Small,
        }
    }
}

impl Passed {
    /// Starts a packet that is smaller than the fragments were cut for; nothing has been passed yet.
    pub fn small_first() -> Self {
        Self { small_first: true, ..Self::default() }
    }

    /// Restricts the packet to retransmissions.
    pub fn resends_only(self) -> Self {
        Self { resends_only: true, ..self }
    }

    /// Returns true when only retransmissions may be sent.
    pub fn is_resends_only(&self) -> bool {
        self.resends_only
    }

    /// Forgets what was passed.
    pub fn begin_again(&mut self) {
        (self.small, self.keyed, self.large) = (0, 0, 0);
    }

    /// Returns true when small messages go first, without a turn for fragments.
    pub fn is_small_first(&self) -> bool {
        self.small_first
    }

    /// Returns the number of places passed in all lanes.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.small + self.keyed + self.large
    }

    /// Returns the number of places passed in one lane.
    pub fn of(&mut self, lane: LaneName) -> &mut usize {
        match lane {
            LaneName::Small => &mut self.small,
            LaneName::Keyed => &mut self.keyed,
            LaneName::Large => &mut self.large,
        }
    }
}

impl Lanes {
    pub fn of(&self, name: LaneName) -> &Lane {
        match name {
            LaneName::Small => &self.small,
            LaneName::Keyed => &self.apart.keyed,
            LaneName::Large => &self.apart.large,
        }
    }

    pub fn of_mut(&mut self, name: LaneName) -> &mut Lane {
        match name {
            LaneName::Small => &mut self.small,
            LaneName::Keyed => &mut self.apart.keyed,
            LaneName::Large => &mut self.apart.large,
        }
    }

    /// Prefetches the memory in which the next message will most likely wait.
    pub fn prefetch_to_push(&self) {
        self.small.prefetch_to_push();
    }

    /// Prefetches the messages that will most likely be sent next.
    pub fn prefetch_next(&self) {
        self.small.prefetch_next();
    }

    /// Adds a message at the end of a lane.
    pub fn push(&mut self, name: LaneName, queued: Queued) {
        let came = self.came;
        self.came += 1;
        self.of_mut(name).push(came, queued);
    }

    /// Adds a message to a lane.
    pub fn enqueue(&mut self, name: LaneName, queued: Queued, turn: Turn) {
        match turn {
            Turn::First => self.of_mut(name).push_first(queued),
            Turn::Last => self.push(name, queued),
        }
    }

    /// Returns true when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.small.is_empty() && self.apart.keyed.is_empty() && self.apart.large.is_empty()
    }

    /// Returns the lanes of messages that fit into one packet, starting with the one whose next message was
    /// enqueued first.
    pub fn small_by_age(&self, passed: &Passed) -> [LaneName; 2] {
        let keyed = self.apart.keyed.came(passed.keyed);
        let is_older =
            keyed.is_some_and(|keyed| self.small.came(passed.small).is_none_or(|small| keyed < small));
        if is_older { [LaneName::Keyed, LaneName::Small] } else { [LaneName::Small, LaneName::Keyed] }
    }

    /// Removes the oldest message that may be shed.
    pub fn shed(&mut self) -> Option<Queued> {
        let small = self.small.sheds();
        if let Some(Apart { keyed, .. }) = self.apart.get_mut()
            && let Some(came) = keyed.sheds()
            && small.is_none_or(|small| came < small)
        {
            return keyed.shed();
        }
        self.small.shed()
    }

    /// Drops the places of messages that are no longer kept.
    pub fn sweep(&mut self, is_kept: impl Fn(MessageRef) -> bool) {
        self.small.sweep(&is_kept);
        if let Some(Apart { keyed, large }) = self.apart.get_mut() {
            keyed.sweep(&is_kept);
            large.sweep(&is_kept);
        }
    }

    /// Frees memory beyond what is in use.
    pub fn shrink(&mut self) {
        self.small.shrink();
        if let Some(Apart { keyed, large }) = self.apart.get_mut() {
            keyed.shrink();
            large.shrink();
        }
        if self.apart.keyed.is_empty() && self.apart.large.is_empty() {
            self.apart.clear();
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Lanes {
    fn all(&self) -> [&Lane; 3] {
        [&self.small, &self.apart.keyed, &self.apart.large]
    }

    /// Returns how often the message is queued.
    pub fn count(&self, message: MessageRef) -> usize {
        self.all().iter().map(|lane| lane.count(message)).sum()
    }

    /// Returns the bytes of payloads that no stream keeps, and their number.
    pub fn unreliable(&self) -> (usize, usize) {
        assert_eq!(self.apart.keyed.unreliable().count() + self.apart.large.unreliable().count(), 0);
        (self.small.unreliable().map(crate::rudp::Payload::len).sum(), self.small.unreliable().count())
    }

    /// Returns the number of places taken, by messages and by what is left of replaced ones.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.all().iter().map(|lane| lane.len()).sum()
    }

    /// Returns the number of places that take memory.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.all().iter().map(|lane| lane.capacity()).sum()
    }
}
