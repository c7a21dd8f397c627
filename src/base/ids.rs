//! Identifiers: one newtype for each number or name in the protocol.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use super::bounded::bounded_text;
use super::codec::VARINT_MAX;

/// A map whose keys the server assigns, at random or sequentially. Its hash is fast and not secret: no peer
/// chooses keys, so none can choose colliding ones.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// A set of keys that the server assigns.
pub type IdSet<K> = HashSet<K, BuildHasherDefault<IdHasher>>;

/// Hashes an integer that no peer has chosen, with one multiplication. The low bits of a product depend only
/// on the low bits of its factor, and these are the same in all keys of a stripe. A table selects its buckets
/// by the low bits of the hash, so these are taken from the high bits of the product.
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

/// 2^64 divided by the golden ratio, rounded to the next odd number (Knuth's multiplicative hashing).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// More than the number of bits in a table's bucket index.
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
    /// A session; unique and random within one server. Spec: SES-1.
    SessionId(u64)
}
id! {
    /// A member of one session; never reused within it. Spec: SES-2.
    MemberId(u32)
}
id! {
    /// A connection's short handle for a session that it is in, from 1; never reused within that connection.
    /// It is also the id of the session's stream. Spec: SES-3.
    Slot(u32)
}
id! {
    /// Number of an event in a session; consecutive, from 1. Spec: EVT-1.
    EventNumber(u64)
}
id! {
    /// Number of changes to a session's properties. Spec: PRP-1.
    Revision(u64)
}
id! {
    /// Number chosen by a client for each command that is answered. Spec: CMD-2.
    RequestId(u32)
}
id! {
    /// Identifies a connection in client → server packets. Its top 8 bits identify the worker that assigned
    /// it. Spec: PKT-6.
    ConnectionId(u32)
}
id! {
    /// Number of a user's connection in one server. Of two connections of a user, the newer one has the
    /// larger number.
    LoginNumber(u64)
}
id! {
    /// One worker of a server, from 0.
    WorkerId(u8)
}
id! {
    /// An ordering scope of a connection. 0 carries control commands and their results; every other stream
    /// belongs to the [`Slot`] of the same number. Spec: STR-1.
    StreamId(u32)
}
id! {
    /// The application's class of a session; the server only passes it on.
    SessionKind(u16)
}

impl EventNumber {
    /// The largest number on the wire. Spec: EVT-1.
    pub const MAX: Self = Self(VARINT_MAX);
}

impl ConnectionId {
    /// Returns the worker that assigned the id. It has the connection, or knows which worker has it.
    pub fn worker(self) -> WorkerId {
        WorkerId(self.0.to_be_bytes()[0])
    }

    /// Creates an id of `worker` from the low 24 bits of `random`.
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

/// Identifies one invite, and with it its session. Spec: INV-1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InviteId {
    /// The session that the invite admits to.
    pub session: SessionId,
    /// Number of the invite in its session; never reused within it.
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

/// Error for a text that is not an [`InviteId`].
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

bounded_text! {
    /// An authenticated user: UTF-8, 1 to 64 bytes. Cheap to clone. Spec: TOK-3.
    UserId, "user id", 1..=64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::OutOfBounds;

    // spec-test: TOK-3
    #[test]
    fn a_user_id_has_1_to_64_bytes() {
        let wrong = |bytes| Err(OutOfBounds::Length { what: "user id", bytes, min: 1, max: 64 });
        assert_eq!(UserId::new(""), wrong(0));
        assert!(UserId::new(&"é".repeat(32)).is_ok());
        assert_eq!(UserId::new(&"x".repeat(65)), wrong(65));
    }

    /// The ids differ in case, in white space, and in how one letter is composed.
    // spec-test: TOK-3
    #[test]
    fn users_whose_ids_differ_in_a_byte_are_two() {
        let ids = ["zoé", "Zoé", " zoé", "zoé ", "zoe\u{301}"].map(|id| UserId::new(id).unwrap());
        let all: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(all.len(), 5, "{all:?}");
        assert_eq!(UserId::new("zo\u{e9}"), Ok(ids[0].clone()));
    }

    /// Asserts that the hashes are spread over their low bits, by which a table selects a bucket, and over
    /// their high bits, by which it distinguishes the entries of a bucket.
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
