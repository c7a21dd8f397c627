//! [`Scene`]: commands and events of invites, for the checks of these.

use super::super::invites::Judge;
use super::*;

pub(super) const INVITE: InviteId = InviteId { session: SESSION, number: 1 };
/// Connections of ann, who owns the session, and of bob, who has two.
pub(super) const ANN: Life = Life(1);
pub(super) const BOB: Life = Life(2);
pub(super) const BOBS_OTHER: Life = Life(3);

/// What clients ask and are told of invites.
#[derive(Default)]
pub(super) struct Scene {
    pub(super) book: InviteBook,
    pub(super) lives: Lives,
    requests: u32,
}

impl Scene {
    /// A scene in which ann, bob and cat play.
    pub(super) fn new() -> Self {
        let mut scene = Self::default();
        for (life, name) in [(ANN, "ann"), (BOB, "bob"), (BOBS_OTHER, "bob"), (Life(4), "cat")] {
            scene.lives.born(life, user(name));
        }
        scene
    }

    /// A scene in which ann asks at 100 to invite bob for a second, and is answered at 150 that he has
    /// [`INVITE`].
    pub(super) fn with_one_made() -> Self {
        let mut scene = Self::new();
        scene.ask(ANN, [100, 150], invite_of("bob"), Ok(Value::Invited(vec![Ok(INVITE.number)])));
        scene
    }

    /// In addition, bob is told of the invite at 150.
    pub(super) fn with_one_told() -> Self {
        let mut scene = Self::with_one_made();
        scene.tell(150, BOB, &invited());
        scene
    }

    pub(super) fn tell(&mut self, millis: u64, life: Life, event: &Event) {
        self.book.event(at(millis), life, &self.lives, event);
    }

    /// Sends a command at the first time and answers it at the second.
    pub(super) fn ask(
        &mut self,
        life: Life,
        [sent, told]: [u64; 2],
        request: Request,
        outcome: Result<Value, RequestError>,
    ) {
        self.requests += 1;
        let user = self.lives.user(life).unwrap().clone();
        let sender = Sender { life, user, id: RequestId(self.requests) };
        let seat = (life == ANN).then_some(MINE);
        self.book.asked(at(sent), sender.clone(), seat, &request, None);
        let asked = Asked { seat, ..asked(sent, request) };
        self.book.answered(at(told), &sender, &asked, &outcome);
    }

    /// Returns what the judge of invites finds.
    pub(super) fn issues(&self) -> Vec<String> {
        let (intents, ends, mut issues) = (Intents::default(), Ends::default(), Issues::default());
        let there = mirror(1, 3, &[(1, "ann")]);
        let living = [(ANN, user("ann"), vec![&there])];
        let (book, lives) = (&self.book, &self.lives);
        Judge { book, lives, intents: &intents, ends: &ends, living: &living }.finish(&mut issues);
        issues.lines
    }
}

/// The command that makes [`INVITE`], or a similar one.
pub(super) fn invite_of(name: &str) -> Request {
    Request::Invite(Invite {
        users: InvitedUsers::new(vec![user(name)]).unwrap(),
        ttl: InviteTtl::new(1).unwrap(),
        hold_seat: false,
        note: Note::none(),
    })
}

pub(super) fn join_by_invite() -> Request {
    Request::Join(Join::Invite(INVITE))
}

pub(super) fn decline() -> Request {
    Request::Decline(Decline { invite: INVITE, reason: Reason::none() })
}

pub(super) fn revoke() -> Request {
    Request::Revoke(Revoke { number: INVITE.number })
}

pub(super) fn invitation(number: u32, owner: &str) -> Invitation {
    Invitation {
        invite: InviteId { number, ..INVITE },
        kind: SessionKind(1),
        owner: user(owner),
        ttl_left_ms: 1_000,
        note: Note::none(),
    }
}

/// The notification of [`INVITE`].
pub(super) fn invited() -> Event {
    Event::Invited(invitation(INVITE.number, "ann"))
}
