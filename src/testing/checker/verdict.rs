//! The judgement of a run at its end.

use std::sync::Arc;

use super::idle::Known;
use super::invites::Judge;
use super::{Checker, Living, Mine};
use crate::base::Timestamp;
use crate::client::core::Mirror;
use crate::session::PropertyMap;
use crate::wire::result::Info;

impl Checker {
    /// Judges the run at its end, when every living client has received everything. `living` are the
    /// connected clients.
    pub(in crate::testing) fn finish(&mut self, now: Timestamp, living: &[Living<'_>]) {
        let issues = &mut self.issues;
        issues.now = now;
        let (intents, lives, seats) = (&self.intents, &self.lives, self.memberships.seats());
        self.logs.finish(living, intents, issues);
        self.memberships.finish(living, issues);
        self.ends.finish(living, lives, intents, seats, issues);
        self.deeds.finish(living, intents, seats, issues);
        self.truths.finish(living, lives, seats, &self.book, issues);
        self.arrivals.finish(now, living, lives, &self.book, issues);
        let known = Known { lives, seats, logs: &self.logs, book: &self.book, intents, ends: &self.ends };
        self.idle.finish(&known, issues);
        self.lists.finish(living, seats, &self.logs, &self.book, issues);
        Judge { book: &self.book, lives, intents, ends: &self.ends, living }.finish(issues);
        let present = Mine::of_all(living);
        self.deliveries.finish(&present, issues);
        if !self.ends.causes.drops {
            self.deliveries.all_arrived(now, &self.presence, issues);
        }
        self.answers.finish(&present, seats, intents, self.logs.revisions(), issues);
        for life in &self.ending {
            issues.add(format_args!("{life:?} was told that an outcome is unknown, and never of its end"));
        }
    }

    /// Compares the views of the connected clients with the server's sessions and their properties, when
    /// nothing happens any more and the time of every invite is over.
    pub(in crate::testing) fn compare(
        &mut self,
        living: &[Living<'_>],
        sessions: &[(Info, Arc<PropertyMap>)],
    ) {
        let mirrors = || living.iter().flat_map(|(_, _, mirrors)| mirrors);
        for (info, properties) in sessions {
            let mut views = mirrors().filter(|mirror| mirror.session() == info.session).peekable();
            if views.peek().is_none() {
                self.issues.add(format_args!("{} goes on without members", info.session));
            }
            for mirror in views {
                let known = (mirror.owner(), mirror.members().len(), mirror.revision(), mirror.next());
                let is_known = known == (info.owner, info.members as usize, info.revision, info.next);
                if !is_known || *mirror.settings() != info.settings {
                    self.issues.add(format_args!("{} knows {mirror:?}, the server {info:?}", mirror.own()));
                }
                if !are_equal(mirror, properties) {
                    let own = mirror.own();
                    self.issues.add(format_args!("{own} knows {mirror:?}, the server has {properties:?}"));
                }
            }
            // Strangers may invite for longer.
            if info.open_invites > 0 && !self.intents.has_strangers() {
                self.issues.add(format_args!("{} keeps {} invites", info.session, info.open_invites));
            }
        }
        for mirror in
            mirrors().filter(|mirror| !sessions.iter().any(|(it, _)| it.session == mirror.session()))
        {
            self.issues.add(format_args!("{} is in {}, which is gone", mirror.own(), mirror.session()));
        }
    }
}

fn are_equal(mirror: &Mirror, properties: &PropertyMap) -> bool {
    let known = mirror.properties().map(|it| (&it.key, &it.value, it.rule, it.creator));
    known.eq(properties.iter().map(|(key, it)| (key, &it.value, it.rule, it.creator)))
}
