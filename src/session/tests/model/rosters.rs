//! [`Rosters`]: workers and clients as the design describes them, fed with nothing but the mail.
//!
//! Each member has a mirror of its session, built from its snapshot and the numbered events after it. Mirrors
//! show exactly what members can know, so the promises are checked on them.

use super::reference::{Event, Reference};
use super::*;
use crate::wire::event::Snapshot;
use crate::wire::{PropertyChange, PropertyValue, WriteRule};

type Values = BTreeMap<PropertyKey, (PropertyValue, WriteRule, MemberId)>;

/// One member's view of its session.
#[derive(Debug)]
struct Mirror {
    you: MemberId,
    seats: usize,
    owner: MemberId,
    next: u64,
    members: BTreeMap<MemberId, UserId>,
    revision: u64,
    properties: Values,
}

#[derive(Debug, Default)]
pub(super) struct Rosters {
    rosters: BTreeMap<(WorkerId, SessionId), Vec<Mirror>>,
    /// Open invites, according to the answers that issued and ended them.
    live: BTreeMap<InviteId, (UserId, Timestamp)>,
    /// Members that received something unnumbered since the list was last taken.
    pub(super) received: Vec<MemberId>,
    /// Events sent to single members since the list was last taken.
    pub(super) told: Vec<(MemberId, UserEvent)>,
}

impl Mirror {
    fn enter(snapshot: Snapshot) -> Self {
        let property = |entry: crate::wire::Property| (entry.key, (entry.value, entry.rule, entry.creator));
        Self {
            you: snapshot.you,
            seats: snapshot.settings.max_members.get().into(),
            owner: snapshot.owner,
            next: snapshot.next.0,
            members: snapshot.members.into_iter().map(|member| (member.member, member.user)).collect(),
            revision: snapshot.revision.0,
            properties: snapshot.properties.into_iter().map(property).collect(),
        }
    }

    fn apply(&mut self, number: u64, event: &Event) {
        assert_eq!(number, self.next, "promise 3: {} missed or repeats an event", self.you);
        self.next += 1;
        match event {
            Event::Joined(member, user) => {
                assert!(self.members.insert(*member, user.clone()).is_none(), "ids are not reused");
            }
            Event::Left(member, _) => {
                self.members.remove(member).expect("a member left that was none");
            }
            Event::OwnerChanged(owner) => self.owner = *owner,
            Event::Properties(member, revision, changes) => {
                assert_eq!(*revision, self.revision + 1, "promise 7: by one a change");
                self.revision = *revision;
                changes.iter().for_each(|change| self.change(*member, change.clone()));
            }
            Event::Message(..) | Event::Deleted(_) => {}
        }
        assert!(self.members.len() <= self.seats, "promise 1: more members than seats");
    }

    fn change(&mut self, by: MemberId, change: PropertyChange) {
        match change {
            PropertyChange::Created { key, value, rule } => {
                assert!(self.properties.insert(key, (value, rule, by)).is_none(), "it was there already");
            }
            PropertyChange::Set { key, value } => {
                self.properties.get_mut(&key).expect("set means that it is there").0 = value;
            }
            PropertyChange::Deleted { key } => {
                assert!(self.properties.remove(&key).is_some(), "deleted means that it was there");
            }
        }
    }

    fn check_against(&self, session: &Reference) {
        let promise = "promise 4: snapshot and events are the state";
        let members: BTreeMap<_, _> = session.members.iter().cloned().collect();
        let entry = |entry: &PropertyEntry| (entry.value.clone(), entry.rule, entry.creator);
        let properties = session.properties.iter().map(|(key, it)| (key.clone(), entry(it))).collect();
        assert_eq!(self.members, members, "{promise}");
        assert_eq!(self.properties, properties, "{promise}");
        let seen = (self.owner, self.revision, self.next);
        assert_eq!(seen, (session.owner, session.revision, session.log.len() as u64 + 1), "{promise}");
    }
}

impl Rosters {
    /// Handles one mail as `worker` does.
    pub(super) fn take(&mut self, worker: WorkerId, fanout: &Fanout, session: &Reference) {
        let roster = self.rosters.entry((worker, fanout.session)).or_default();
        let entering = matches!(&fanout.change, Change::Joined { snapshot: Some(_), .. });
        assert!(entering || !roster.is_empty(), "{worker} serves nobody there: {fanout:?}");
        let numbered = numbered(&fanout.change);
        if let Some((number, event)) = &numbered {
            let place = usize::try_from(*number).unwrap() - 1;
            assert_eq!(session.log.get(place), Some(event), "promise 3: event {number} for {worker}");
            roster.iter_mut().for_each(|mirror| mirror.apply(*number, event));
        }
        match &fanout.change {
            Change::Joined { member, at, snapshot, .. } => {
                assert_eq!(snapshot.is_some(), at.worker == worker, "for its own worker alone");
                let mirror = snapshot.as_ref().map(|snapshot| Mirror::enter(snapshot.to_wire()));
                if let Some(mirror) = mirror {
                    let number = numbered.as_ref().map(|(number, _)| number + 1);
                    assert_eq!((mirror.you, Some(mirror.next)), (*member, number), "promise 4: no gap");
                    assert!(mirror.members.len() <= mirror.seats, "promise 1: more members than seats");
                    roster.push(mirror);
                }
            }
            Change::Left { member, .. } => roster.retain(|mirror| mirror.you != *member),
            Change::Deleted { .. } => roster.clear(),
            Change::Sent { sender, to, .. } => {
                let reached = |id: &MemberId| match to {
                    Audience::All => true,
                    Audience::Others => id != sender,
                    Audience::Members(to) => to.contains(id),
                };
                self.received.extend(roster.iter().map(|mirror| mirror.you).filter(reached));
            }
            Change::ToMember { member, event } => {
                assert!(roster.iter().any(|mirror| mirror.you == *member), "not of this worker");
                self.told.push((*member, event.clone()));
            }
            Change::OwnerChanged { .. } | Change::PropertiesChanged { .. } | Change::Message { .. } => {}
        }
    }

    /// Checks that a user who joined a session for invited users had a live invite.
    pub(super) fn check_entry(&self, fanout: &Fanout, session: &Reference, now: Timestamp) {
        let Change::Joined { number, user, .. } = &fanout.change else { return };
        let created = number.0 == 1;
        let live = |(invite, (whose, expires)): (&InviteId, &(UserId, Timestamp))| {
            invite.session == fanout.session && whose == user && now < *expires
        };
        let admitted = session.settings.admission == Admission::Open || created || self.live.iter().any(live);
        assert!(admitted, "promise 2: {user} has no live invite");
    }

    pub(super) fn issued(&mut self, new: NewInvite, user: &UserId, expires: Timestamp) {
        self.live.insert(new.invite, (user.clone(), expires));
        if let Some(replaced) = new.replaced {
            self.ended(replaced);
        }
    }

    /// Records that an invite was used or ended, which happens to it once.
    pub(super) fn ended(&mut self, invite: InviteId) {
        assert!(self.live.remove(&invite).is_some(), "promise 2: {invite} had ended already");
    }

    /// Checks that the members in the rosters are those of the session, and that their mirrors match it.
    pub(super) fn check_against(&self, session: &Reference) {
        let rosters = self.rosters.iter().filter(|((_, id), _)| *id == session.id);
        let mirrors: Vec<_> = rosters.flat_map(|(_, roster)| roster).collect();
        let mut there: Vec<_> = mirrors.iter().map(|mirror| mirror.you).collect();
        there.sort_unstable();
        let members: Vec<_> = session.members.iter().map(|(id, _)| *id).collect();
        assert_eq!(there, members, "the members in the rosters");
        mirrors.iter().for_each(|mirror| mirror.check_against(session));
    }
}

/// Returns a change as an event with its number, if it has one.
fn numbered(change: &Change) -> Option<(u64, Event)> {
    let event = match change {
        Change::Joined { member, user, .. } => Event::Joined(*member, user.clone()),
        Change::Left { member, why, .. } => Event::Left(*member, *why),
        Change::OwnerChanged { owner, .. } => Event::OwnerChanged(*owner),
        Change::PropertiesChanged { revision, member, changes, .. } => {
            Event::Properties(*member, revision.0, changes.as_slice().to_vec())
        }
        Change::Message { sender, to, .. } => Event::Message(*sender, *to),
        Change::Deleted { why, .. } => Event::Deleted(*why),
        Change::Sent { .. } | Change::ToMember { .. } => return None,
    };
    number_of(change).map(|number| (number, event))
}
