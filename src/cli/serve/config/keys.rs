//! The table of keys: name, meaning, type, range and place in [`Config`].

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use crate::cli::units::Written;

/// One key of the file.
pub(super) struct Key {
    /// The table that it stands in; empty for the top of the file.
    pub(super) section: &'static str,
    /// Its name in that table.
    pub(super) name: &'static str,
    /// What it means, for people.
    pub(super) doc: &'static str,
    /// Its type, range and place.
    pub(super) field: Field,
}

/// Where a value of one type lives in a [`Config`].
pub(super) type Place<T> = fn(&mut Config) -> &mut T;

/// The type of a key's value, what is allowed, and its place.
pub(super) enum Field {
    /// A whole number, with what it counts.
    Count(RangeInclusive<u64>, &'static str, Place<u64>),
    /// A number of bytes.
    Size(RangeInclusive<usize>, Place<usize>),
    /// A time span.
    Time(RangeInclusive<Duration>, Place<Duration>),
    /// An address and port.
    Address(Place<SocketAddr>),
    /// A file, or none.
    File(Place<Option<PathBuf>>),
    /// Names, any number of them.
    Names(Place<Vec<String>>),
}

impl Key {
    /// The name with its section.
    pub(super) fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }
}

impl Field {
    /// True when the value in `config` is in its range.
    pub(super) fn holds(&self, config: &mut Config) -> bool {
        match self {
            Self::Count(range, _, place) => range.contains(place(config)),
            Self::Size(range, place) => range.contains(place(config)),
            Self::Time(range, place) => range.contains(place(config)),
            Self::Address(_) | Self::File(_) => true,
            Self::Names(place) => place(config).iter().all(|name| (1..=NAME_MAX_BYTES).contains(&name.len())),
        }
    }

    /// The value in `config` as TOML; nothing when it is unset.
    pub(super) fn written(&self, config: &mut Config) -> Option<String> {
        let quoted = |text: String| toml::Value::String(text).to_string();
        Some(match self {
            Self::Count(_, _, place) => place(config).to_string(),
            Self::Size(_, place) => quoted(Written(*place(config)).to_string()),
            Self::Time(_, place) => quoted(Written(*place(config)).to_string()),
            Self::Address(place) => quoted(place(config).to_string()),
            Self::File(place) => quoted(place(config).as_ref()?.display().to_string()),
            Self::Names(place) => toml::Value::from(place(config).clone()).to_string(),
        })
    }
}

/// What is allowed, for people.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(range, unit, _) => write!(f, "{} to {}{unit}", range.start(), range.end()),
            Self::Size(range, _) => write!(f, "{} to {}", Written(*range.start()), Written(*range.end())),
            Self::Time(range, _) => write!(f, "{} to {}", Written(*range.start()), Written(*range.end())),
            Self::Address(_) => f.write_str("ADDRESS:PORT in quotes, as in \"0.0.0.0:7777\""),
            Self::File(_) => f.write_str("the path of a file in quotes"),
            Self::Names(_) => write!(f, "a list of names in quotes, of 1 to {NAME_MAX_BYTES} bytes each"),
        }
    }
}

const NAME_MAX_BYTES: usize = 128;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const fn top(name: &'static str, doc: &'static str, field: Field) -> Key {
    Key { section: "", name, doc, field }
}

const fn limit(name: &'static str, doc: &'static str, field: Field) -> Key {
    Key { section: "limits", name, doc, field }
}

/// Every key, in the order of printing: those of one section stand together.
pub(super) static KEYS: &[Key] = &[
    top(
        "listen",
        "Address and UDP port to listen on; port 0 asks the system for one.",
        Field::Address(|config| &mut config.listen),
    ),
    top(
        "workers",
        "Worker threads; 0 is one for each core.",
        Field::Count(0..=255, " threads", |config| &mut config.workers),
    ),
    top(
        "names",
        "What connect tokens may call this server (`aud`). With no names it is the address it listens on.",
        Field::Names(|config| &mut config.names),
    ),
    top(
        "protocol_id",
        "Tells games and their versions apart: clients with another one are not heard at all.",
        Field::Count(0..=u64::MAX, "", |config| &mut config.protocol_id),
    ),
    top(
        "key_file",
        "File with the token key, as `rallypoint keygen` writes it.",
        Field::File(|config| &mut config.key_file),
    ),
    top(
        "previous_key_file",
        "File with the key before it: its tokens are taken, too, while keys are being changed.",
        Field::File(|config| &mut config.previous_key_file),
    ),
    top(
        "idle_timeout",
        "How long a connection may be silent before it is ended and its seats are freed.",
        Field::Time(SECOND..=Duration::from_secs(600), |config| &mut config.idle_timeout),
    ),
    top(
        "drain_timeout",
        "How long the server waits, once it is told to stop, until everyone knows.",
        Field::Time(Duration::ZERO..=MINUTE, |config| &mut config.drain_timeout),
    ),
    limit(
        "connections",
        "Connections at the same time.",
        Field::Count(1..=1_000_000, " connections", |config| &mut config.limits.connections),
    ),
    limit(
        "sessions",
        "Sessions at the same time.",
        Field::Count(1..=1_000_000, " sessions", |config| &mut config.limits.sessions),
    ),
    limit(
        "sessions_per_user",
        "Sessions that one user may be in at the same time.",
        Field::Count(1..=1_024, " sessions", |config| &mut config.limits.sessions_per_user),
    ),
    limit(
        "invites_per_user",
        "Open invites that one user may have at the same time.",
        Field::Count(1..=4_096, " invites", |config| &mut config.limits.invites_per_user),
    ),
    limit(
        "invites_per_session",
        "Open invites of one session at the same time.",
        Field::Count(1..=4_096, " invites", |config| &mut config.limits.invites_per_session),
    ),
    limit(
        "commands_per_second",
        "Commands that one connection may send in a second.",
        Field::Count(10..=1_000_000, " a second", |config| &mut config.limits.commands_per_second),
    ),
    limit(
        "bytes_per_second",
        "Bytes of commands that one connection may send in a second.",
        Field::Size(16_384..=1 << 30, |config| &mut config.limits.bytes_per_second),
    ),
    limit(
        "session_bytes_per_second",
        "Bytes of broadcasts and messages that one session takes in a second, from all its members.",
        Field::Size(16_384..=1 << 30, |config| &mut config.limits.session_bytes_per_second),
    ),
];
