//! Identifiers: one newtype for every number or name that travels.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::codec::VARINT_MAX;

/// A map whose keys the server gives, at random or one after the other. Its hash is fast and no secret: nobody else
/// chooses keys, and so nobody can choose those that collide.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// A set of such keys.
pub type IdSet<K> = HashSet<K, BuildHasherDefault<IdHasher>>;

/// Hashes an integer that nobody has chosen, by one multiplication. The low bits of a product depend on the low bits
/// of its factor alone, and these are the same in all keys of a stripe; a table picks its buckets by the low bits
/// of the hash, which are therefore the product's high ones.
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

/// 2^64 divided by the golden ratio, to the next odd number: Knuth's multiplicative hashing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// More than a table has bits in the number of its buckets.
const HIGH_BITS: u32 = 26;

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(SPREAD);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(HIGH_BITS)
    }
}

/// Declares an integer newtype with the conversions that every identifier has.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl From<$int> for $name {
            fn from(value: $int) -> Self {
                Self(value)
            }
        }
    };
}

id! {
    /// A session, unique and random in one server. Spec: SES-1.
    SessionId(u64)
}
id! {
    /// A member of one session; never reused in it. Spec: SES-2.
    MemberId(u32)
}
id! {
    /// A connection's short handle for a session it is in, from 1; never reused in that
    /// connection. It is also the id of the session's stream. Spec: SES-3.
    Slot(u32)
}
id! {
    /// Number of a session's event; consecutive in a session, from 1. Spec: EVT-1.
    EventNumber(u64)
}
id! {
    /// Counts the changes of a session's properties. Spec: PRP-1.
    Revision(u64)
}
id! {
    /// Chosen by a client for each command that is answered. Spec: CMD-2.
    RequestId(u32)
}
id! {
    /// Names a connection in client → server packets; its top 8 bits name the worker that gave it.
    /// Spec: PKT-6.
    ConnectionId(u32)
}
id! {
    /// One worker of a server, from 0.
    WorkerId(u8)
}
id! {
    /// An ordering scope of a connection. 0 carries control commands and their results; every
    /// other stream is the [`Slot`] of the same number. Spec: STR-1.
    StreamId(u32)
}
id! {
    /// The app's own class of a session; the server only carries it.
    SessionKind(u16)
}

impl EventNumber {
    /// The largest that travels. Spec: EVT-1.
    pub const MAX: Self = Self(VARINT_MAX);
}

impl ConnectionId {
    /// The worker that gave the id: it has the connection, or knows which one has.
    pub fn worker(self) -> WorkerId {
        WorkerId(self.0.to_be_bytes()[0])
    }

    /// Builds an id of `worker` from 24 random bits.
    pub fn new(worker: WorkerId, random: u32) -> Self {
        Self(u32::from(worker.0) << 24 | (random & 0x00ff_ffff))
    }
}

impl StreamId {
    /// The stream of commands outside a session, their results, and the events of a user.
    pub const CONTROL: Self = Self(0);
}

impl From<Slot> for StreamId {
    fn from(slot: Slot) -> Self {
        Self(slot.0)
    }
}

/// Names one invite, and with it its session. Spec: INV-1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InviteId {
    /// The session that the invite admits to.
    pub session: SessionId,
    /// Number of the invite in its session; never reused in it.
    pub number: u32,
}

impl fmt::Display for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.session, self.number)
    }
}

impl fmt::Debug for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteId({self})")
    }
}

/// Why a text is no [`InviteId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an invite id is written SESSION-NUMBER, two decimal numbers")]
pub struct InvalidInviteId;

impl std::str::FromStr for InviteId {
    type Err = InvalidInviteId;

    fn from_str(text: &str) -> Result<Self, InvalidInviteId> {
        let (session, number) = text.split_once('-').ok_or(InvalidInviteId)?;
        Ok(Self {
            session: SessionId(session.parse().map_err(|_| InvalidInviteId)?),
            number: number.parse().map_err(|_| InvalidInviteId)?,
        })
    }
}

/// An authenticated user: UTF-8, 1 to 64 bytes. Cheap to clone. Spec: TOK-3.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Longest id, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks and keeps an id.
    ///
    /// # Errors
    /// [`InvalidUserId`] when `id` is empty or longer than [`UserId::MAX_BYTES`].
    pub fn new(id: &str) -> Result<Self, InvalidUserId> {
        match id.len() {
            1..=Self::MAX_BYTES => Ok(Self(id.into())),
            bytes => Err(InvalidUserId { bytes }),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for UserId {
    type Err = InvalidUserId;

    fn from_str(text: &str) -> Result<Self, InvalidUserId> {
        Self::new(text)
    }
}

impl TryFrom<String> for UserId {
    type Error = InvalidUserId;

    fn try_from(text: String) -> Result<Self, InvalidUserId> {
        Self::new(&text)
    }
}

impl AsRef<str> for UserId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", &*self.0)
    }
}

/// Why a text is no [`UserId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user id has 1 to 64 bytes, this one has {bytes}")]
pub struct InvalidUserId {
    /// Bytes of the text.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec-test: TOK-3
    #[test]
    fn a_user_id_has_1_to_64_bytes() {
        assert_eq!(UserId::new(""), Err(InvalidUserId { bytes: 0 }));
        assert!(UserId::new(&"é".repeat(32)).is_ok());
        assert_eq!(UserId::new(&"x".repeat(65)), Err(InvalidUserId { bytes: 65 }));
    }

    /// In case, in space, and in how one letter is composed.
    // spec-test: TOK-3
    #[test]
    fn users_whose_ids_differ_in_a_byte_are_two() {
        let ids = ["zoé", "Zoé", " zoé", "zoé ", "zoe\u{301}"].map(|id| UserId::new(id).unwrap());
        let all: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(all.len(), 5, "{all:?}");
        assert_eq!(UserId::new("zo\u{e9}"), Ok(ids[0].clone()));
    }

    /// Asserts that the hashes spread over what a table picks its buckets by, their low bits, and over what it tells
    /// the entries of a bucket apart by, their high ones.
    fn check_spread<T: std::hash::Hash>(ids: impl Iterator<Item = T>) {
        use std::hash::{BuildHasher, BuildHasherDefault};
        let hash = BuildHasherDefault::<IdHasher>::default();
        let mut counts = [[0_u32; 128]; 2];
        for id in ids.take(12_800) {
            let hashed = hash.hash_one(id);
            counts[0][usize::try_from(hashed % 128).unwrap()] += 1;
            counts[1][usize::try_from(hashed >> 57).unwrap()] += 1;
        }
        assert!(counts.iter().flatten().all(|count| (40..=200).contains(count)), "{counts:?}");
    }

    #[test]
    fn hashes_of_ids_spread_over_a_table() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let mut rng = StdRng::seed_from_u64(1);
        let random: Vec<u64> = (0..12_800).map(|_| rng.random()).collect();
        let numbers = random.iter().map(|random| u32::try_from(random & 0xff_ffff).unwrap());
        check_spread(numbers.map(|number| ConnectionId::new(WorkerId(7), number)));
        for stripe_bits in [0, 7, 16] {
            check_spread(random.iter().map(|random| SessionId(random << stripe_bits | 5)));
        }
    }

    #[test]
    fn a_connection_id_names_its_worker() {
        let id = ConnectionId::new(WorkerId(3), 0xffff_ffff);
        assert_eq!(id.worker(), WorkerId(3));
        assert_eq!(id.0, 0x03ff_ffff);
    }

    #[test]
    fn an_invite_id_is_read_as_it_is_written() {
        let id = InviteId { session: SessionId(77), number: 4 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("77".parse::<InviteId>(), Err(InvalidInviteId));
    }
}
