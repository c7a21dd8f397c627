//! Membership: as notified, once per seat, with no events after the end, and at the end all views agree.

use std::collections::{BTreeMap, BTreeSet};

use super::{Issues, Life, Living, Seat};
use crate::base::{EventNumber, SessionId, Slot};
use crate::client::core::Event;

/// Memberships as reported to the clients.
#[derive(Default)]
pub(super) struct Memberships {
    current: BTreeMap<(Life, Slot), Current>,
    /// Every slot that a life has had; none is reused.
    slots: BTreeSet<(Life, Slot)>,
    /// Every seat that was ever entered, with its life.
    seats: BTreeMap<Seat, Life>,
    /// Those of which the command's result has also come.
    admitted: BTreeSet<Seat>,
}

struct Current {
    seat: Seat,
    next: EventNumber,
}

impl Memberships {
    /// Returns every seat that was ever entered, with its life.
    pub(super) fn seats(&self) -> &BTreeMap<Seat, Life> {
        &self.seats
    }

    /// Returns the seat at a slot.
    pub(super) fn seat(&self, life: Life, slot: Slot) -> Option<Seat> {
        self.current.get(&(life, slot)).map(|current| current.seat)
    }

    /// Checks a command's result that reports that a life has entered.
    pub(super) fn admitted(&mut self, life: Life, seat: Seat, issues: &mut Issues) {
        self.admitted.insert(seat);
        if self.seats.get(&seat) != Some(&life) {
            issues.add(format_args!("{life:?} was admitted to {seat:?} but has not entered it"));
        }
    }

    pub(super) fn event(&mut self, life: Life, event: &Event, issues: &mut Issues) {
        if let Event::Entered { slot, session, member, next, mirror } = event {
            let seat = Seat { session: *session, member: *member };
            let mirrored = Seat { session: mirror.session(), member: mirror.own() };
            if (mirrored, mirror.slot(), mirror.next()) != (seat, *slot, *next) {
                issues.add(format_args!("{life:?} was shown {mirrored:?} as what it entered, {seat:?}"));
            }
            if !self.slots.insert((life, *slot)) {
                issues.add(format_args!("{life:?} was given slot {slot} twice"));
            }
            if let Some(other) = self.seats.insert(seat, life) {
                issues.add(format_args!("{life:?} was given {seat:?}, which was {other:?}'s"));
            }
            self.current.insert((life, *slot), Current { seat, next: *next });
            return;
        }
        let Some(slot) = event.slot() else { return };
        let Some(current) = self.current.get_mut(&(life, slot)) else {
            issues.add(format_args!("{life:?} is in no session at slot {slot} but was told {event:?}"));
            return;
        };
        if let Some(number) = event.number() {
            if number != current.next {
                let (seat, next) = (current.seat, current.next);
                issues.add(format_args!("{seat:?} was told event {number} instead of {next}"));
            }
            current.next = EventNumber(number.0 + 1);
        }
    }

    /// Forgets the membership that `event` ends, so that later events for it are an issue.
    pub(super) fn forget_ended(&mut self, life: Life, event: &Event) {
        let Some(slot) = event.slot() else { return };
        if event.ends_membership() {
            self.current.remove(&(life, slot));
        }
    }

    pub(super) fn end_life(&mut self, life: Life) {
        self.current.retain(|(of, _), _| *of != life);
    }

    /// Checks that every member of every session is a connected client that knows its membership and was
    /// told that its command to enter was carried out, and that all members know of all others.
    pub(super) fn finish(&self, living: &[Living<'_>], issues: &mut Issues) {
        let mut truth: BTreeMap<SessionId, BTreeSet<String>> = BTreeMap::new();
        for (_, user, mirrors) in living {
            for mirror in mirrors {
                let member = format!("{} {user}", mirror.own());
                truth.entry(mirror.session()).or_default().insert(member);
            }
        }
        for (life, _, mirrors) in living {
            for mirror in mirrors {
                let seat = Seat { session: mirror.session(), member: mirror.own() };
                if !self.admitted.contains(&seat) {
                    issues.add(format_args!("{life:?} is at {seat:?}, to which it was never admitted"));
                }
                let believed: BTreeSet<String> =
                    mirror.members().map(|(member, user)| format!("{member} {user}")).collect();
                let there = truth.get(&mirror.session());
                if there != Some(&believed) {
                    issues.add(format_args!(
                        "{life:?} believes that session {} has {believed:?}, there are {there:?}",
                        mirror.session()
                    ));
                }
            }
        }
    }
}
