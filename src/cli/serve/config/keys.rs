//! The table of keys: name, meaning, type, range and place in [`Config`].
//!
//! The section `[limits]` comes from the server's own table of limits, so that the two never disagree.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use crate::cli::files;
use crate::cli::units::Written;
use crate::secure::token::NAME_BYTES;
use crate::server::limits::{Limit, Limits};

/// One key of the file.
pub(super) struct Key {
    /// The table that contains it; empty for the top of the file.
    pub(super) section: &'static str,
    /// Its name in that table.
    pub(super) name: &'static str,
    /// Its meaning, for people; may have several lines.
    pub(super) doc: &'static str,
    /// Its type, range and place.
    pub(super) field: Field,
}

/// Accessor of a value of one type in a [`Config`].
pub(super) type Place<T> = fn(&mut Config) -> &mut T;

/// The type of a key's value, what is allowed, and its place.
pub(super) enum Field {
    /// A whole number.
    Count(RangeInclusive<u64>, Place<u64>),
    /// A whole number from the server's table of limits.
    Limit(&'static Limit),
    /// A time span.
    Time(RangeInclusive<Duration>, Place<Duration>),
    /// An address and port.
    Address(Place<SocketAddr>),
    /// An optional file.
    File(Place<Option<PathBuf>>),
    /// Any number of names.
    Names(Place<Vec<String>>),
}

impl Key {
    /// Returns the name with its section.
    pub(super) fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// Returns true if the value in `config` is in its range.
    pub(super) fn holds(&self, config: &mut Config) -> bool {
        match &self.field {
            Field::Count(range, place) => range.contains(place(config)),
            Field::Limit(limit) => {
                config.limits.get(limit.name).is_some_and(|value| limit.check(value).is_ok())
            }
            Field::Time(range, place) => range.contains(place(config)),
            Field::Address(_) => true,
            Field::File(place) => !place(config).as_deref().is_some_and(files::is_secret),
            Field::Names(place) => place(config).iter().all(|name| NAME_BYTES.contains(&name.len())),
        }
    }

    /// Returns the value in `config` as TOML; `None` if it is unset.
    pub(super) fn written(&self, config: &mut Config) -> Option<String> {
        let quoted = |text: String| toml::Value::String(text).to_string();
        Some(match &self.field {
            Field::Count(_, place) => place(config).to_string(),
            Field::Limit(limit) => config.limits.get(limit.name)?.to_string(),
            Field::Time(_, place) => quoted(Written(*place(config)).to_string()),
            Field::Address(place) => quoted(place(config).to_string()),
            Field::File(place) => quoted(place(config).as_ref()?.display().to_string()),
            Field::Names(place) => toml::Value::from(place(config).clone()).to_string(),
        })
    }
}

/// Describes what is allowed, for people.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(range, _) => write!(f, "{} to {}", range.start(), range.end()),
            Self::Limit(limit) => write!(f, "{} to {} {}", limit.min, limit.max, limit.unit),
            Self::Time(range, _) => write!(f, "{} to {}", Written(*range.start()), Written(*range.end())),
            Self::Address(_) => f.write_str("ADDRESS:PORT in quotes, as in \"0.0.0.0:7777\""),
            Self::File(_) => f.write_str("the path of a file in quotes"),
            Self::Names(_) => {
                let (least, most) = NAME_BYTES.into_inner();
                write!(f, "a list of names in quotes, of {least} to {most} bytes each")
            }
        }
    }
}

const fn top(name: &'static str, doc: &'static str, field: Field) -> Key {
    Key { section: "", name, doc, field }
}

/// Returns every key, in the order of printing; the keys of one section are adjacent.
pub(super) fn all() -> impl Iterator<Item = Key> {
    let limits = Limits::ALL.iter().map(|limit| Key {
        section: "limits",
        name: limit.name,
        doc: limit.text,
        field: Field::Limit(limit),
    });
    top_keys().into_iter().chain(limits)
}

fn top_keys() -> [Key; 8] {
    [
        top(
            "listen",
            "Address and UDP port to listen on; port 0 asks the system for one.",
            Field::Address(|config| &mut config.listen),
        ),
        top(
            "workers",
            "Worker threads; 0 is one for each core.",
            Field::Count(0..=255, |config| &mut config.workers),
        ),
        top(
            "busy_poll",
            "How long a worker looks for datagrams without sleeping after each batch: lower latency for a busy\ncore each. Only with more cores than workers.",
            Field::Time(Duration::ZERO..=Duration::from_secs(1), |config| &mut config.busy_poll),
        ),
        top(
            "names",
            "What connect tokens may call this server (`aud`). With none it takes tokens for every server:\nright only while no other server has its keys.",
            Field::Names(|config| &mut config.names),
        ),
        top(
            "protocol_id",
            "Tells games and their versions apart: clients with another one are not heard at all.",
            Field::Count(0..=u64::MAX, |config| &mut config.protocol_id),
        ),
        top(
            "key_file",
            "File with the token key, as `rallypoint keygen` writes it. Read again on SIGHUP.",
            Field::File(|config| &mut config.key_file),
        ),
        top(
            "previous_key_file",
            "File with the key before it: its tokens are taken, too, while keys are being changed. Read again on SIGHUP.",
            Field::File(|config| &mut config.previous_key_file),
        ),
        top(
            "drain_timeout",
            "How long the server waits at most, once it is told to stop, until everyone knows; it tells each for 3 s.",
            Field::Time(Duration::ZERO..=Duration::from_secs(60), |config| &mut config.drain_timeout),
        ),
    ]
}
