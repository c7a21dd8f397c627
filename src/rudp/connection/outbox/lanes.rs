//! [`Lanes`]: which queue a message waits in.

use super::lane::{Lane, Queued};
use crate::base::{Blank, Rare};
use crate::rudp::connection::stream::{MessageRef, Space};

/// The queues of a connection's messages. Each of them may be held up without the others: a large message
/// by the peer's room, keyed ones by values of which the peer would forget the keys.
#[derive(Debug, Default)]
pub struct Lanes {
    small: Lane,
    apart: Rare<Apart>,
    /// Messages that ever came.
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
    /// What fits into a packet and has no key.
    Small,
    /// What fits into a packet and has a key.
    Keyed,
    /// What needs several packets.
    Large,
}

/// Places of each lane that hold nothing for the packet that is being filled.
#[derive(Clone, Copy, Default, Debug)]
pub struct Passed {
    small: usize,
    keyed: usize,
    large: usize,
    /// What never left has no turn.
    resends_only: bool,
    /// Large pieces have no turn: they do not fit.
    small_first: bool,
    /// A large message that would have its turn was passed: the peer has no room for it.
    large_wants_room: bool,
}

impl LaneName {
    /// Where a message waits that is cut into fragments, or is not.
    pub fn of(space: Space, in_fragments: bool) -> Self {
        match space {
            _ if in_fragments => Self::Large,
            Space::Keyed => Self::Keyed,
            Space::Ordered | Space::Unordered => Self::Small,
        }
    }
}

impl Passed {
    /// None yet, for a packet that is smaller than what large pieces are cut for.
    pub fn small_first() -> Self {
        Self { small_first: true, ..Self::default() }
    }

    /// The same where nothing more may leave for the first time.
    pub fn resends_only(self) -> Self {
        Self { resends_only: true, ..self }
    }

    /// True when what never left has no turn.
    pub fn is_resends_only(&self) -> bool {
        self.resends_only
    }

    /// True when large pieces have no turn.
    pub fn is_small_first(&self) -> bool {
        self.small_first
    }

    /// A large message would have its turn, but the peer has no room for it.
    pub fn want_room(&mut self) {
        self.large_wants_room = true;
    }

    /// True when one was passed for that.
    pub fn wants_room(&self) -> bool {
        self.large_wants_room
    }

    /// The places of all lanes.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.small + self.keyed + self.large
    }

    /// The places of one lane.
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

    /// Asks for the memory that the next message will wait in, most likely.
    pub fn prefetch_to_push(&self) {
        self.small.prefetch_to_push();
    }

    /// Asks for that of the messages that leave next, most likely.
    pub fn prefetch_next(&self) {
        self.small.prefetch_next();
    }

    /// Adds a message at the end of a lane.
    pub fn push(&mut self, name: LaneName, queued: Queued) {
        let came = self.came;
        self.came += 1;
        self.of_mut(name).push(came, queued);
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.small.is_empty() && self.apart.keyed.is_empty() && self.apart.large.is_empty()
    }

    /// The lanes of what fits into a packet; first the one whose next message came first.
    pub fn small_by_age(&self, passed: &Passed) -> [LaneName; 2] {
        let keyed = self.apart.keyed.came(passed.keyed);
        let is_older =
            keyed.is_some_and(|keyed| self.small.came(passed.small).is_none_or(|small| keyed < small));
        if is_older { [LaneName::Keyed, LaneName::Small] } else { [LaneName::Small, LaneName::Keyed] }
    }

    /// Takes out the oldest message that may be shed.
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

    /// Drops the places of messages that are not kept any more.
    pub fn sweep(&mut self, is_kept: impl Fn(MessageRef) -> bool) {
        self.small.sweep(&is_kept);
        if let Some(Apart { keyed, large }) = self.apart.get_mut() {
            keyed.sweep(&is_kept);
            large.sweep(&is_kept);
        }
    }

    /// Gives back memory beyond what is in use.
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

    /// How often the message waits.
    pub fn count(&self, message: MessageRef) -> usize {
        self.all().iter().map(|lane| lane.count(message)).sum()
    }

    /// Bytes of payloads that no stream keeps, and how many they are.
    pub fn unreliable(&self) -> (usize, usize) {
        assert_eq!(self.apart.keyed.unreliable().count() + self.apart.large.unreliable().count(), 0);
        (self.small.unreliable().map(crate::rudp::Payload::len).sum(), self.small.unreliable().count())
    }

    /// Places taken, of messages and of what is left of replaced ones.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.all().iter().map(|lane| lane.len()).sum()
    }

    /// Places that take memory.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.all().iter().map(|lane| lane.capacity()).sum()
    }
}
