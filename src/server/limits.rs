//! Every limit of a server: one table yields the fields, defaults, ranges and texts.
//!
//! What happens at a limit stands in its text. The command line reads the same table for its
//! configuration file, so that the two never disagree.

/// Declares [`Limits`] and its rows.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $default:literal in $min:literal..=$max:literal, $unit:literal;)+) => {
        /// Every limit of a server, each with its default. A server refuses to start with one that
        /// is out of its range.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nUnit: ", $unit, ". Default ", $default, ", ", $min, " to ", $max, ".")]
                pub $name: u64,
            )+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// The rows of the table, in its order.
            pub const ALL: &'static [Limit] = &[$(
                Limit {
                    name: stringify!($name),
                    text: concat!($($doc, "\n"),+),
                    unit: $unit,
                    default: $default,
                    min: $min,
                    max: $max,
                },
            )+];

            /// The value of a limit, by name.
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(self.$name),)+
                    _ => None,
                }
            }

            /// Sets a limit by name.
            ///
            /// # Errors
            /// [`LimitError`]; nothing has changed.
            pub fn set(&mut self, name: &str, value: u64) -> Result<(), LimitError> {
                let limit = Self::ALL.iter().find(|limit| limit.name == name);
                limit.ok_or_else(|| LimitError::Unknown { name: name.to_owned() })?.check(value)?;
                match name {
                    $(stringify!($name) => self.$name = value,)+
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

limits! {
    /// Connections of the whole server. Above it a handshake is rejected with `full`, and a connection
    /// whose handshake was answered before is closed with `full`.
    max_connections: 10_000 in 1..=1_000_000, "connections";
    /// Handshakes of one worker that have been answered and wait for the client's first sealed
    /// packet. Above half of it clients must prove their addresses first (RETRY). Above it a new one takes the
    /// place of the oldest, at least a second old, of a user or an address prefix with more of them than its own;
    /// where nobody has more, it is rejected with `full`.
    max_half_open: 1_024 in 16..=65_536, "handshakes";
    /// Silence after which a connection ends and its user is removed from its sessions. The smaller of both ends'
    /// counts. A client that acks no reliable message is removed as well, when three looks at it, so far apart but at
    /// least 20 s, have found no progress.
    idle_timeout_ms: 10_000 in 1_000..=600_000, "ms";
    /// Silence after which the server asks a client for a sign of life, at most a third of the idle timeout. The
    /// server waits a quarter longer, so that a client with the same time is the only one to ask.
    keepalive_ms: 3_000 in 100..=200_000, "ms";
    /// Sessions of the whole server. Above it `create` ends an empty one early, and is refused with
    /// `server_full` when there is none.
    max_sessions: 10_000 in 1..=1_000_000, "sessions";
    /// Seats of the largest sessions whose members gather on one worker, which costs less than a session
    /// that is divided among several; members of larger ones stay where they are, so that several cores
    /// share the work. A user moves once: by the first session that they enter while in no other. A worker
    /// gets no more while it has 5/4 of its share of all users and 16. 0: none gather, as where the system
    /// cannot give a packet to the worker that its connection id names (Linux can).
    gathered_seats: 64 in 0..=65_535, "seats";
    /// Sessions that one user is in at the same time. Above it `create` and `join` are refused
    /// with `too_many_sessions`.
    sessions_per_user: 16 in 1..=500, "sessions";
    /// Sessions without members whose last owner one user was. When there are so many, another one that the user
    /// creates ends the one of them whose time is over first.
    empty_sessions_per_user: 1_024 in 1..=1_000_000, "sessions";
    /// Sessions that one connection creates or joins in a second; as many at once, or 64, or `sessions_per_user`, what
    /// is most. Above it `create` and `join` are refused with `rate_limited`.
    entries_per_second: 8 in 1..=65_536, "sessions/s";
    /// Invites that are open for one user at the same time; a quarter of them, rounded up, from one other
    /// user. Above it an invite is refused with `too_many_invites`. A list of 512 still fits a client that
    /// takes messages of 262144 bytes.
    invites_per_user: 64 in 1..=512, "invites";
    /// Invites by one user that are open at the same time, in all sessions. Above it an invite is refused with
    /// `too_many_invites`.
    invites_by_user: 4_096 in 1..=1_048_576, "invites";
    /// Invites of one session that are open at the same time. Above it an invite is refused with
    /// `too_many_invites`.
    invites_per_session: 1_024 in 1..=65_536, "invites";
    /// Users that one connection invites in a second; as many at once, or 1024. Above it `invite` is refused with
    /// `rate_limited`.
    invites_per_second: 64 in 1..=65_536, "invites/s";
    /// Commands of one connection in a second, and in a burst. Above it a command is refused with
    /// `rate_limited`; a connection of which ten times as many are refused is closed with
    /// `protocol_violation`.
    commands_per_second: 2_000 in 1..=1_000_000, "commands/s";
    /// Bytes of the commands of one connection in a second; a quarter of them at once, or 131072. Above
    /// it a command is refused with `rate_limited`.
    command_bytes_per_second: 1_048_576 in 4_096..=1_073_741_824, "B/s";
    /// Keys that one connection begins to use in a second, in all its sessions; as many at once, or 1024. The
    /// last 1024 that it has used are not new. For all members of a session together it is four times as many,
    /// and as many at once, or 2048. Above it a broadcast or message with a new key is refused with `rate_limited`.
    new_keys_per_second: 64 in 1..=65_536, "keys/s";
    /// Broadcasts, messages, changes of properties and transfers of all members of one session in a second, and as
    /// many at once. Above it they are refused with `rate_limited`. More than 4096 in the round trip of a member
    /// do not reach it.
    session_commands_per_second: 8_000 in 1..=10_000_000, "commands/s";
    /// Bytes that the members of one session send each other in a second, all together; a quarter of
    /// them at once, or 532736. Each message and each change of properties counts 64 bytes more. Above
    /// it they are refused with `rate_limited`, before members fall behind: a member's line should
    /// take as much, and its queue, `max_queued_bytes`, two seconds' worth.
    session_bytes_per_second: 2_097_152 in 4_096..=1_073_741_824, "B/s";
    /// Bytes of reliable messages that wait for one connection before its user is told that it is `lagging`. Must be
    /// less than `max_queued_bytes`.
    lagging_bytes: 524_288 in 4_096..=67_108_864, "B";
    /// Bytes of reliable messages that wait for one connection before it is closed with `lagging` and its
    /// user removed from its sessions. Must be at least 163840 and 416 more for each of `invites_per_user`,
    /// because a user who connects is told of all open invites. `create` and `join` are refused with `busy`
    /// while their snapshot could make it more than seven eighths of this.
    max_queued_bytes: 4_194_304 in 262_144..=134_217_728, "B";
    /// How long a connection that lags may need to take all that waits for it. Beyond that it is closed with
    /// `lagging`, too, if more than half of `lagging_bytes` still waits. What is sent to it meanwhile has as much time
    /// again.
    max_lagging_ms: 30_000 in 1_000..=600_000, "ms";
    /// Bytes that wait for all connections together, beyond the first 163840 of each; a payload
    /// counts once for each receiver. Above it a connection that needs more is closed with
    /// `lagging`, and unreliable messages are dropped, the oldest first. Messages of a few bytes take some three times
    /// what they count here, and below.
    send_memory_bytes: 1_073_741_824 in 16_777_216..=1_099_511_627_776, "B";
    /// Bytes that the server keeps of one connection's messages that are incomplete or out of
    /// order. A client that sends more is closed with `protocol_violation`.
    receive_buffer_bytes: 1_048_576 in 262_144..=134_217_728, "B";
    /// Bytes that the server keeps of all connections' messages that are incomplete or out of
    /// order, beyond the first 65536 of each. Above it a packet that needs more is dropped and comes again; each connection may
    /// still have one incomplete message that waits for no other.
    receive_memory_bytes: 1_073_741_824 in 16_777_216..=1_099_511_627_776, "B";
    /// Deliveries that wait for one worker. Above it commands that would add more are refused with `busy`, and below
    /// it those of a session of which eight times as many wait as there is room left; leaves and ends are not.
    mailbox_capacity: 524_288 in 64..=67_108_864, "deliveries";
}

/// One row of the table of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Name of the field, and of the key in a configuration file.
    pub name: &'static str,
    /// What it limits and what happens above it; lines begin with a space.
    pub text: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// Value when nothing is said.
    pub default: u64,
    /// Smallest value.
    pub min: u64,
    /// Largest value.
    pub max: u64,
}

/// Why a limit is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// There is no such limit.
    #[error("there is no limit named {name}")]
    Unknown {
        /// What was named.
        name: String,
    },
    /// The value is not in the limit's range.
    #[error("{name} is {value}, allowed are {min} to {max}")]
    OutOfRange {
        /// The limit.
        name: &'static str,
        /// What was asked for.
        value: u64,
        /// Smallest value allowed.
        min: u64,
        /// Largest value allowed.
        max: u64,
    },
    /// A limit that must lie below another does not.
    #[error("{name} is {value}, allowed is less than {other}, which is {other_value}")]
    NotBelow {
        /// The limit.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The other one.
        other: &'static str,
        /// Its value.
        other_value: u64,
    },
    /// What a user is told at first has no room in the user's queue.
    #[error(
        "max_queued_bytes is {value}, allowed is at least {min} with invites_per_user {invites_per_user}"
    )]
    QueueTooSmall {
        /// Value of `max_queued_bytes`.
        value: u64,
        /// Smallest value allowed.
        min: u64,
        /// Value of `invites_per_user`, from which it follows.
        invites_per_user: u64,
    },
}

/// Most bytes that a snapshot takes in a queue.
const SNAPSHOT_BYTES: u64 = 160 << 10;
/// Most bytes that an invitation takes in a queue.
const INVITATION_BYTES: u64 = 416;

impl Limit {
    /// Checks a value against the range.
    ///
    /// # Errors
    /// [`LimitError::OutOfRange`].
    pub fn check(&self, value: u64) -> Result<(), LimitError> {
        let Self { name, min, max, .. } = *self;
        if (min..=max).contains(&value) {
            Ok(())
        } else {
            Err(LimitError::OutOfRange { name, value, min, max })
        }
    }
}

impl Limits {
    /// Checks every limit against its range, and those that depend on each other.
    ///
    /// # Errors
    /// [`LimitError::OutOfRange`] with the first that is not in its range, [`LimitError::NotBelow`] when users
    /// would be removed without having been told that they lag, [`LimitError::QueueTooSmall`] when they would
    /// be removed for the invites that others have sent them.
    pub fn check(&self) -> Result<(), LimitError> {
        let in_range = |limit: &Limit| limit.check(self.get(limit.name).unwrap_or(limit.default));
        Self::ALL.iter().try_for_each(in_range)?;
        if self.lagging_bytes >= self.max_queued_bytes {
            return Err(LimitError::NotBelow {
                name: "lagging_bytes",
                value: self.lagging_bytes,
                other: "max_queued_bytes",
                other_value: self.max_queued_bytes,
            });
        }
        let (value, invites_per_user) = (self.max_queued_bytes, self.invites_per_user);
        let min = SNAPSHOT_BYTES + invites_per_user * INVITATION_BYTES;
        if value < min { Err(LimitError::QueueTooSmall { value, min, invites_per_user }) } else { Ok(()) }
    }
}

/// A limit as a size in memory; what the platform cannot count is as good as unlimited.
pub(super) fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{InviteId, RequestId, SessionId, SessionKind, UserId, Wire};
    use crate::wire::event::Invitation;
    use crate::wire::frame::MESSAGE_OVERHEAD_BYTES;
    use crate::wire::{CommandResult, UserEvent, Value};

    #[test]
    fn defaults_are_in_range_and_agree_with_the_rows() {
        let defaults = Limits::default();
        assert_eq!(defaults.check(), Ok(()));
        for limit in Limits::ALL {
            assert_eq!(defaults.get(limit.name), Some(limit.default), "{}", limit.name);
            assert!(limit.text.trim().ends_with('.'), "{} is explained", limit.name);
        }
    }

    #[test]
    fn a_limit_is_set_by_name_within_its_range() {
        let mut limits = Limits::default();
        assert_eq!(limits.set("sessions_per_user", 3), Ok(()));
        assert_eq!(limits.sessions_per_user, 3);
        assert_eq!(
            limits.set("sessions_per_user", 0),
            Err(LimitError::OutOfRange { name: "sessions_per_user", value: 0, min: 1, max: 500 })
        );
        assert_eq!(limits.sessions_per_user, 3);
        assert_eq!(limits.set("seats", 1), Err(LimitError::Unknown { name: "seats".to_owned() }));
    }

    #[test]
    fn a_field_out_of_range_is_found() {
        let limits = Limits { keepalive_ms: 1, ..Limits::default() };
        assert!(matches!(limits.check(), Err(LimitError::OutOfRange { name: "keepalive_ms", .. })));
    }

    // spec-test: SES-17
    #[test]
    fn the_bound_at_which_a_member_is_told_lies_below_that_at_which_it_is_removed() {
        let of = |lagging_bytes| Limits { lagging_bytes, max_queued_bytes: 262_144, ..Limits::default() };
        assert!(matches!(of(262_144).check(), Err(LimitError::NotBelow { name: "lagging_bytes", .. })));
        assert_eq!(of(262_143).check(), Ok(()));
    }

    // spec-test: SES-17
    #[test]
    fn whoever_connects_has_room_for_all_invites() {
        let text = |bytes| "x".repeat(bytes);
        let invitation = Invitation {
            invite: InviteId { session: SessionId(u64::MAX), number: u32::MAX },
            kind: SessionKind(u16::MAX),
            owner: UserId::new(&text(64)).unwrap(),
            ttl_left_ms: 86_400_000,
            note: text(256).parse().unwrap(),
        };
        let list = Value::Invites(vec![invitation.clone(); 512]);
        let result = CommandResult { request: RequestId(u32::MAX), outcome: Ok(list) };
        assert!(result.to_bytes().len() <= 262_144 - 64, "a client that takes no more gets the longest list");
        let bytes = (UserEvent::Invited(invitation).encode().len() + MESSAGE_OVERHEAD_BYTES) as u64;
        assert!((bytes..bytes + 16).contains(&INVITATION_BYTES), "{bytes}");
        let of = |invites_per_user| Limits {
            invites_per_user,
            lagging_bytes: 4_096,
            max_queued_bytes: 262_144,
            ..Limits::default()
        };
        let too_small = LimitError::QueueTooSmall { value: 262_144, min: 262_432, invites_per_user: 237 };
        assert_eq!([of(236).check(), of(237).check()], [Ok(()), Err(too_small)]);
        assert_eq!(Limits { invites_per_user: 512, ..Limits::default() }.check(), Ok(()));
    }
}
