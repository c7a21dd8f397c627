//! The numbered events of sessions: all members see the same events, and a snapshot equals the result of its
//! events.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::intents::{Effect, Intents};
use super::{Issues, Life, Living, Seat, Tag};
use crate::base::{EventNumber, MemberId, Revision, SessionId};
use crate::client::core::{Event, Mirror};
use crate::testing::payload;
use crate::testing::writer::COUNTERS;
use crate::wire::command::{Create, InitialProperty};
use crate::wire::result::Entered;
use crate::wire::{
    DeleteReason, OnOwnerLeave, Property, PropertyChange, PropertyChanges, PropertyValue, Settings,
};

/// The number of the event that a session's first member receives first.
const FIRST: EventNumber = EventNumber(2);

#[derive(Default)]
pub(super) struct Logs {
    sessions: BTreeMap<SessionId, Log>,
}

#[derive(Default)]
struct Log {
    /// What happens when the owner leaves, as known from a snapshot.
    on_owner_leave: Option<OnOwnerLeave>,
    /// The events, as any member saw them.
    events: BTreeMap<EventNumber, Seen>,
    /// The state that a member has before the event of this number.
    states: BTreeMap<EventNumber, State>,
    /// The member that made each revision of the properties.
    revisions: BTreeMap<Revision, MemberId>,
    /// Members before the event of this number, as seen by a member that entered there.
    starts: BTreeMap<EventNumber, There>,
    /// The properties that the session began with, as seen by its first member.
    first: Option<Vec<Property>>,
}

/// A session's state, as far as it must be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) owner: MemberId,
    pub(super) members: usize,
    pub(super) revision: Revision,
    /// Hash of everything.
    hash: u64,
}

/// A session's members and owner.
#[derive(Debug, Clone)]
struct There {
    members: BTreeSet<MemberId>,
    owner: MemberId,
}

/// An event's change to [`There`].
#[derive(Debug, Clone, Copy, PartialEq)]
enum Move {
    Joins(MemberId),
    Leaves(MemberId),
    Owns(MemberId),
    /// All leave.
    Ends(DeleteReason),
}

/// A numbered event, reduced to what is the same for every member.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    /// The whole event as text; a receipt reads like the message that it stands for.
    what: String,
    /// The message's tag, if it is a message.
    tag: Option<Tag>,
    /// Counters that it sets, and their new values.
    steps: Vec<(String, i64)>,
    /// What becomes of the members and the owner.
    moves: Option<Move>,
}

impl Logs {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the member that made each revision of each session's properties.
    pub(super) fn revisions(&self) -> impl Iterator<Item = (SessionId, Revision, MemberId)> {
        self.sessions.iter().flat_map(|(session, log)| {
            log.revisions.iter().map(|(revision, member)| (*session, *revision, *member))
        })
    }

    /// Records an event of `session` seen by the member `own`.
    pub(super) fn event(&mut self, session: SessionId, own: MemberId, event: &Event, issues: &mut Issues) {
        let log = self.sessions.entry(session).or_default();
        if let Event::Entered { next, mirror, .. } = event {
            let members = mirror.members().map(|(member, _)| member).collect();
            log.starts.insert(*next, There { members, owner: mirror.owner() });
            log.on_owner_leave = Some(mirror.settings().on_owner_leave);
            if *next == FIRST {
                log.first = Some(mirror.properties().cloned().collect());
            }
        }
        let Some(number) = event.number() else { return };
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
                if let (Some(known), Some(seen)) = (known.tag, seen.tag)
                    && known != seen
                {
                    issues.add(format_args!(
                        "session {session} event {number}: member {own} saw {seen:?}, others {known:?}"
                    ));
                }
                known.tag = known.tag.or(seen.tag);
            }
        }
    }

    /// Records a client's state of a session. Clients that know the same events must have the same state,
    /// whether from a snapshot or from events.
    pub(super) fn state(&mut self, mirror: &Mirror, issues: &mut Issues) {
        let seats = usize::from(mirror.settings().max_members.get());
        if mirror.members().len() > seats {
            let members = mirror.members().len();
            issues.add(format_args!("session {}: {members} members in {seats} seats", mirror.session()));
        }
        let state = State::of(mirror);
        let log = self.sessions.entry(mirror.session()).or_default();
        let known = *log.states.entry(mirror.next()).or_insert(state);
        if known != state {
            issues.add(format_args!(
                "session {} before event {}: member {} knows another state than others: {mirror:?}",
                mirror.session(),
                mirror.next(),
                mirror.own()
            ));
        }
    }

    /// Checks that a session began as its creator asked. The snapshot comes before the result.
    // spec: CMD-10, SES-14
    pub(super) fn created(&self, entered: Entered, create: &Create, issues: &mut Issues) {
        let (Entered { session, member, .. }, settings) = (entered, &create.settings);
        let first = self.state_at(session, FIRST);
        let is_new = |state: State| (state.owner, state.members, state.revision) == (member, 1, Revision(0));
        if !first.is_some_and(|state| is_new(state) && state.settings == *settings) {
            issues.add(format_args!(
                "session {session} began with {first:?}, not with {settings:?} of {member}"
            ));
        }
        let properties = self.sessions.get(&session).and_then(|log| log.first.as_ref());
        let asked = create.properties.clone().into_vec().into_iter().map(|asked| {
            let InitialProperty { key, value, rule } = asked;
            Property { key, value, rule, creator: member }
        });
        if !properties.is_some_and(|properties| asked.eq(properties.iter().cloned())) {
            issues.add(format_args!("session {session} began with {properties:?}, not as in {create:?}"));
        }
    }

    /// Returns the state of a session before the event of this number, if any member has had it.
    pub(super) fn state_at(&self, session: SessionId, number: EventNumber) -> Option<State> {
        self.sessions.get(&session)?.states.get(&number).copied()
    }

    /// Checks that each sender's messages appear in order and once, that counters increase by one, that
    /// owners change as they should, and that members who are still there have seen all that others have.
    pub(super) fn finish(&self, living: &[Living<'_>], intents: &Intents, issues: &mut Issues) {
        for (life, _, mirrors) in living {
            mirrors.iter().for_each(|mirror| self.check_latest(*life, mirror, issues));
        }
        for (session, log) in &self.sessions {
            log.check_owners(*session, intents, issues);
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
                    // No member saw the events in between: the session was empty.
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

    /// Checks that a member has seen every event that any member has seen, and knows the owner.
    // spec: SES-12, EVT-7
    fn check_latest(&self, life: Life, mirror: &Mirror, issues: &mut Issues) {
        let (session, next, owner) = (mirror.session(), mirror.next(), mirror.owner());
        let newest = self.sessions.get(&session).and_then(|log| log.events.last_key_value());
        if let Some((newest, seen)) = newest.filter(|(newest, _)| **newest >= next) {
            let what = &seen.what;
            issues.add(format_args!("{life:?} in {session} never got events {next} to {newest}, {what}"));
        }
        if mirror.user(owner).is_none() {
            issues.add(format_args!("{life:?} in {session} was never told who owns it after {owner} left"));
        }
    }
}

impl Log {
    /// Checks what follows when the owner leaves: the oldest member owns the session, or it ends, as its
    /// settings say. Otherwise a new owner is a member that an owner named in a transfer, and no session ends
    /// because its owner left, or because it is empty.
    // spec: SES-6, EVT-7
    fn check_owners(&self, session: SessionId, intents: &Intents, issues: &mut Issues) {
        let mut there: Option<There> = None;
        let mut next = None;
        for (number, seen) in &self.events {
            if next != Some(*number) {
                // No member saw the events in between.
                there = None;
            }
            next = Some(EventNumber(number.0 + 1));
            there = there.or_else(|| self.starts.get(number).cloned());
            let Some(There { members, owner }) = &mut there else { continue };
            let owner_left = !members.contains(owner);
            let ends = owner_left && self.on_owner_leave == Some(OnOwnerLeave::Delete);
            let expected = match seen.moves {
                Some(Move::Owns(member)) if owner_left => !ends && members.first() == Some(&member),
                Some(Move::Owns(member)) => intents.may(Effect::Owns(Seat { session, member })),
                Some(Move::Ends(why)) => {
                    (why == DeleteReason::OwnerLeft) == ends && why != DeleteReason::Idle
                }
                _ => !owner_left || members.is_empty(),
            };
            if !expected {
                let what = &seen.what;
                issues.add(format_args!(
                    "session {session} event {number}: {what} after {owner}, of {members:?}"
                ));
            }
            match seen.moves {
                Some(Move::Joins(member)) => {
                    if members.is_empty() {
                        *owner = member;
                    }
                    members.insert(member);
                }
                Some(Move::Leaves(member)) => _ = members.remove(&member),
                Some(Move::Owns(member)) => *owner = member,
                Some(Move::Ends(_)) => members.clear(),
                None => {}
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
                format!("{revision} by {member}: {}", brief(changes))
            }
            Event::SessionDeleted { why, reason, .. } => format!("deleted, {why:?} {reason:?}"),
            other => format!("{other:?}"),
        };
        Self { what, tag: tag(event), steps: steps(event), moves: moves(event) }
    }
}

fn tag(event: &Event) -> Option<Tag> {
    match event {
        Event::Message { payload, .. } => payload::read(payload),
        _ => None,
    }
}

/// Returns changes as text; the end of a long one is replaced by a hash of all.
fn brief(changes: &PropertyChanges) -> String {
    let text = format!("{:?}", changes.as_slice());
    let Some(head) = text.get(..LONG) else { return text };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{head}… {:x}", hasher.finish())
}

/// Length of a long text.
const LONG: usize = 500;

fn steps(event: &Event) -> Vec<(String, i64)> {
    let Event::PropertiesChanged { changes, .. } = event else { return Vec::new() };
    let step = |change: &PropertyChange| match change {
        PropertyChange::Set { key, value: PropertyValue::Integer(value) } => {
            COUNTERS.contains(&key.as_str()).then(|| (key.as_str().to_owned(), *value))
        }
        _ => None,
    };
    changes.as_slice().iter().filter_map(step).collect()
}

fn moves(event: &Event) -> Option<Move> {
    match event {
        Event::MemberJoined { member, .. } => Some(Move::Joins(*member)),
        Event::MemberLeft { member, .. } => Some(Move::Leaves(*member)),
        Event::OwnerChanged { owner, .. } => Some(Move::Owns(*owner)),
        Event::SessionDeleted { why, .. } => Some(Move::Ends(*why)),
        _ => None,
    }
}

impl State {
    fn of(mirror: &Mirror) -> Self {
        let mut hasher = DefaultHasher::new();
        let members: Vec<_> = mirror.members().collect();
        let (settings, owner, revision) = (*mirror.settings(), mirror.owner(), mirror.revision());
        format!("{settings:?} {owner} {revision} {members:?}").hash(&mut hasher);
        for Property { key, value, rule, creator } in mirror.properties() {
            (key.as_str(), *rule as u8, creator, value.as_integer(), value.as_bytes()).hash(&mut hasher);
        }
        Self { settings, owner, members: members.len(), revision, hash: hasher.finish() }
    }
}
