//! The numbered events of sessions: all members see the same, and a snapshot is what its events make.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Issues, Life, Tag};
use crate::base::{EventNumber, MemberId, Revision, SessionId};
use crate::client::core::{Event, Mirror};
use crate::testing::payload;
use crate::wire::{PropertyChange, PropertyValue};

/// What is known of every session's events.
#[derive(Default)]
pub(super) struct Logs {
    sessions: BTreeMap<SessionId, Log>,
}

#[derive(Default)]
struct Log {
    /// The events, as anyone saw them.
    events: BTreeMap<EventNumber, Seen>,
    /// What a member knows before the event of this number, as a hash.
    states: BTreeMap<EventNumber, u64>,
    /// Who made each revision of the properties.
    revisions: BTreeMap<Revision, MemberId>,
}

/// A numbered event as it is the same for everyone.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    /// All of it; a receipt stands for its sender's message.
    what: String,
    /// The message that it is.
    tag: Option<Tag>,
    /// Steps that it takes counters to.
    steps: Vec<(String, i64)>,
}

impl Logs {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Who made each revision of each session's properties.
    pub(super) fn revisions(&self) -> impl Iterator<Item = (SessionId, Revision, MemberId)> {
        self.sessions.iter().flat_map(|(session, log)| {
            log.revisions.iter().map(|(revision, member)| (*session, *revision, *member))
        })
    }

    /// The member `own` saw an event of its session.
    pub(super) fn event(&mut self, session: SessionId, own: MemberId, event: &Event, issues: &mut Issues) {
        let Some(number) = event.number() else { return };
        let log = self.sessions.entry(session).or_default();
        if let Event::PropertiesChanged { revision, member, .. } = event {
            log.revisions.insert(*revision, *member);
        }
        let seen = Seen::new(event, own);
        match log.events.entry(number) {
            Entry::Vacant(entry) => {
                entry.insert(seen);
            }
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                if known.what != seen.what {
                    issues.add(format_args!(
                        "session {session} event {number}: member {own} saw {}, others {}",
                        seen.what, known.what
                    ));
                }
                known.tag = known.tag.or(seen.tag);
            }
        }
    }

    /// A client knows this of a session. Whoever knows the same events knows the same state, by its
    /// snapshot or by events.
    pub(super) fn state(&mut self, mirror: &Mirror, issues: &mut Issues) {
        let seats = usize::from(mirror.settings().max_members.get());
        if mirror.members().len() > seats {
            let members = mirror.members().len();
            issues.add(format_args!("session {}: {members} members in {seats} seats", mirror.session()));
        }
        let hash = hash(mirror);
        let log = self.sessions.entry(mirror.session()).or_default();
        let known = *log.states.entry(mirror.next()).or_insert(hash);
        if known != hash {
            issues.add(format_args!(
                "session {} before event {}: member {} knows another state than others: {mirror:?}",
                mirror.session(),
                mirror.next(),
                mirror.own()
            ));
        }
    }

    /// Messages of one sender stand in its order and once; counters go up by one.
    pub(super) fn finish(&self, issues: &mut Issues) {
        for (session, log) in &self.sessions {
            let mut newest: BTreeMap<Life, u32> = BTreeMap::new();
            let mut counters: BTreeMap<&str, i64> = BTreeMap::new();
            let mut before = None;
            for (number, seen) in &log.events {
                let complete = before.is_some_and(|before: EventNumber| before.0 + 1 == number.0);
                before = Some(*number);
                if let Some(tag) = seen.tag
                    && newest.insert(tag.life, tag.serial).is_some_and(|newest| newest >= tag.serial)
                {
                    issues
                        .add(format_args!("session {session} event {number}: {tag:?} again or out of order"));
                }
                if !complete {
                    // Nobody saw what was between: the session stood empty.
                    counters.clear();
                }
                for (key, value) in &seen.steps {
                    if counters.insert(key, *value).is_some_and(|last| last + 1 != *value) {
                        issues.add(format_args!("session {session} event {number}: {key} jumps to {value}"));
                    }
                }
            }
        }
    }
}

impl Seen {
    fn new(event: &Event, own: MemberId) -> Self {
        let what = match event {
            Event::Message { sender, .. } => format!("a message of {sender}"),
            Event::Receipt { .. } => format!("a message of {own}"),
            Event::MemberJoined { member, user, .. } => format!("{member} {user} joined"),
            Event::MemberLeft { member, why, reason, .. } => format!("{member} left, {why:?} {reason:?}"),
            Event::OwnerChanged { owner, .. } => format!("{owner} owns"),
            Event::PropertiesChanged { revision, member, changes, .. } => {
                format!("{revision} by {member}: {changes:?}")
            }
            Event::SessionDeleted { why, reason, .. } => format!("deleted, {why:?} {reason:?}"),
            other => format!("{other:?}"),
        };
        Self { what, tag: tag(event), steps: steps(event) }
    }
}

fn tag(event: &Event) -> Option<Tag> {
    match event {
        Event::Message { payload, .. } => payload::read(payload),
        _ => None,
    }
}

fn steps(event: &Event) -> Vec<(String, i64)> {
    let Event::PropertiesChanged { changes, .. } = event else { return Vec::new() };
    let step = |change: &PropertyChange| match change {
        PropertyChange::Set { key, value: PropertyValue::Integer(value) } => {
            Some((key.as_str().to_owned(), *value))
        }
        _ => None,
    };
    changes.as_slice().iter().filter_map(step).collect()
}

fn hash(mirror: &Mirror) -> u64 {
    let mut hasher = DefaultHasher::new();
    let members: Vec<_> = mirror.members().collect();
    let properties: Vec<_> = mirror.properties().collect();
    let (settings, owner, revision) = (mirror.settings(), mirror.owner(), mirror.revision());
    format!("{settings:?} {owner} {revision} {members:?} {properties:?}").hash(&mut hasher);
    hasher.finish()
}
