//! A user's next action: anything a user may do, and some actions that are not allowed.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::checker::{Audience, Checker, Mine, Sending, Tag};
use super::client::SimClient;
use super::{payload, writer};
use crate::base::{MemberId, SessionId, SessionKind, Timestamp, UserId};
use crate::client::core::{Core, Mirror, RequestError, SendFate};
use crate::wire::command::{Create, Decline, Delete, Invite, InvitedUsers, Join, Kick, Revoke, To, Transfer};
use crate::wire::{
    Admission, Delivery, IdleTtl, InviteTtl, MaxMembers, Note, OnOwnerLeave, Reason, Request, Settings,
};

/// Information that users exchange outside the server: the sessions that exist, and the users that play.
pub(super) struct Board {
    users: Vec<UserId>,
    sessions: Vec<SessionId>,
    /// Whether users set very large and very many properties.
    takes_bulk: bool,
}

impl Board {
    pub(super) fn new(users: Vec<UserId>, takes_bulk: bool) -> Self {
        Self { users, sessions: Vec::new(), takes_bulk }
    }

    pub(super) fn users(&self) -> &[UserId] {
        &self.users
    }

    /// Sessions that users try to join without an invite.
    pub(super) fn sessions(&self) -> &[SessionId] {
        self.sessions.get(self.sessions.len().saturating_sub(NEWEST)..).unwrap_or_default()
    }

    pub(super) fn note(&mut self, session: SessionId) {
        if !self.sessions.contains(&session) {
            self.sessions.push(session);
        }
    }
}

/// Number of newest sessions that are tried without an invite; most older ones have ended.
const NEWEST: usize = 6;

/// Performs one action and schedules the next.
pub(super) fn act(client: &mut SimClient, now: Timestamp, board: &Board, checker: &mut Checker) {
    client.acts_at = now + client.rng.random_range(Duration::from_millis(1)..=client.pace * 2);
    let mine = one_of_mine(client);
    match (client.rng.random_range(0..100), mine) {
        (0..15, Some(_)) | (0..70, None) => enter(client, now, board, checker),
        (15..17, Some(_)) | (70..80, None) => create(client, now, checker),
        (17..70, Some(mine)) => say(client, now, mine, checker),
        (_, Some(mine)) => manage(client, now, mine, board, checker),
        (_, None) => ask(client, now, checker),
    }
}

fn one_of_mine(client: &mut SimClient) -> Option<Mine> {
    let mine: Vec<Mine> = client.core.as_ref()?.mirrors().map(|mirror| mine(mirror)).collect();
    mine.choose(&mut client.rng).copied()
}

fn mine(mirror: &Mirror) -> Mine {
    Mine { session: mirror.session(), member: mirror.own(), slot: mirror.slot() }
}

/// Uses an invite, or tries to join a session that may or may not be open.
fn enter(client: &mut SimClient, now: Timestamp, board: &Board, checker: &mut Checker) {
    let invite = client.invites.choose(&mut client.rng).copied();
    let session = board.sessions().choose(&mut client.rng).copied();
    let request = match (invite, session) {
        (Some(invite), _) if client.rng.random_bool(0.1) => {
            Request::Decline(Decline { invite, reason: reason(&mut client.rng) })
        }
        (Some(invite), _) if client.rng.random_bool(0.7) => {
            // Usually the newest, because the others have often ended.
            let newest = client.invites.last().copied().unwrap_or(invite);
            let invite = if client.rng.random_bool(0.7) { newest } else { invite };
            Request::Join(Join::Invite(invite))
        }
        (_, Some(session)) => Request::Join(Join::Session(session)),
        _ => return create(client, now, checker),
    };
    ask_for(client, now, None, request, checker);
}

fn create(client: &mut SimClient, now: Timestamp, checker: &mut Checker) {
    let rng = &mut client.rng;
    let settings = Settings {
        kind: SessionKind(rng.random_range(0..3)),
        max_members: MaxMembers::new(rng.random_range(2..=12)).expect("invariant: 2 to 12 seats are legal"),
        idle_ttl: IdleTtl::new(rng.random_range(0..=3)).expect("invariant: 0 to 3 s are legal"),
        on_owner_leave: *[OnOwnerLeave::Transfer, OnOwnerLeave::Transfer, OnOwnerLeave::Delete]
            .choose(rng)
            .expect("invariant: not empty"),
        admission: if rng.random_bool(0.5) { Admission::Open } else { Admission::Invited },
    };
    let properties = writer::initial(rng);
    ask_for(client, now, None, Request::Create(Create { settings, properties }), checker);
}

fn ask(client: &mut SimClient, now: Timestamp, checker: &mut Checker) {
    let request = if client.rng.random() { Request::ListMine } else { Request::ListInvites };
    ask_for(client, now, None, request, checker);
}

fn say(client: &mut SimClient, now: Timestamp, mine: Mine, checker: &mut Checker) {
    let tag = Tag { life: client.life, serial: client.serial };
    let delivery = delivery(&mut client.rng);
    let bytes = bytes(&mut client.rng, delivery);
    let Some(core) = &mut client.core else { return };
    let Some(mirror) = core.mirror(mine.slot) else { return };
    let members: Vec<MemberId> = mirror.members().map(|(member, _)| member).collect();
    let payload = payload::write(tag, bytes);
    let bytes = payload.len();
    let (to, audience, sent) = if client.rng.random_bool(0.8) {
        let others = client.rng.random_bool(0.5);
        let to = members.into_iter().filter(|member| !others || *member != mine.member).collect();
        let (whom, audience) = if others { (To::Others, Audience::Others) } else { (To::All, Audience::All) };
        (to, audience, core.broadcast(now, mine.slot, whom, delivery, payload))
    } else {
        let to: Vec<MemberId> = members.into_iter().filter(|_| client.rng.random()).collect();
        let sent = core.message(now, mine.slot, &to, delivery, payload);
        (to, Audience::Named, sent)
    };
    if let Ok(sent) = sent {
        client.serial += 1;
        let (counter, shed) = (sent.counter, sent.fate == SendFate::Shed);
        checker.sent(Sending { tag, at: now, mine, counter, delivery, to, audience, bytes, shed });
    }
}

fn delivery(rng: &mut StdRng) -> Delivery {
    match rng.random_range(0..8) {
        0 => Delivery::Unreliable,
        1 => Delivery::Sequenced { key: rng.random_range(0..3) },
        2 => Delivery::ReliableUnordered,
        3 => Delivery::ReliableLatest { key: rng.random_range(10..13) },
        _ => Delivery::ReliableOrdered,
    }
}

fn bytes(rng: &mut StdRng, delivery: Delivery) -> usize {
    let fits_one = matches!(delivery, Delivery::Unreliable | Delivery::Sequenced { .. });
    match rng.random_range(0..40) {
        0 if !fits_one => rng.random_range(1_200..20_000),
        1..5 => rng.random_range(200..1_000),
        _ => rng.random_range(payload::MIN_BYTES..64),
    }
}

/// Changes the session's members, invites or properties.
fn manage(client: &mut SimClient, now: Timestamp, mine: Mine, board: &Board, checker: &mut Checker) {
    let Some(mirror) = client.core.as_ref().and_then(|core| core.mirror(mine.slot)) else { return };
    let members: Vec<MemberId> = mirror.members().map(|(member, _)| member).collect();
    let rng = &mut client.rng;
    let member = *members.choose(rng).expect("invariant: the client is a member");
    let request = match rng.random_range(0..100) {
        0..30 => invite(rng, board),
        30..75 => writer::next(rng, mirror, board.takes_bulk),
        75..78 => Request::Kick(Kick { member, reason: reason(rng) }),
        78..88 => Request::Revoke(Revoke { number: rng.random_range(1..5) }),
        88 if rng.random_bool(0.3) => Request::Delete(Delete { reason: reason(rng) }),
        89..92 => return ask_for(client, now, None, Request::Info(mine.session), checker),
        92..95 => return ask(client, now, checker),
        95..97 => Request::Leave,
        _ => Request::Transfer(Transfer { member }),
    };
    ask_for(client, now, Some(mine), request, checker);
}

fn invite(rng: &mut StdRng, board: &Board) -> Request {
    let count = rng.random_range(1..=3);
    let users = board.users.choose_multiple(rng, count).cloned().collect();
    Request::Invite(Invite {
        users: InvitedUsers::new(users).expect("invariant: 1 to 3 users, none twice"),
        ttl: InviteTtl::new(rng.random_range(1..=8)).expect("invariant: 1 to 8 s are legal"),
        hold_seat: rng.random_bool(0.3),
        note: Note::new(&words(rng)).expect("invariant: a short note is legal"),
    })
}

fn reason(rng: &mut StdRng) -> Reason {
    Reason::new(&words(rng)).expect("invariant: a short reason is legal")
}

/// Returns a text to be compared with what arrives, which is often empty.
fn words(rng: &mut StdRng) -> String {
    match rng.random_range(0..3) {
        0 => String::new(),
        _ => format!("words {}", rng.random::<u32>()),
    }
}

fn ask_for(
    client: &mut SimClient,
    now: Timestamp,
    mine: Option<Mine>,
    request: Request,
    checker: &mut Checker,
) {
    let Some(core) = &mut client.core else { return };
    if let Ok(id) = send(core, now, mine, &request) {
        checker.asked(now, client.life, id, mine, &request);
    }
}

fn send(
    core: &mut Core,
    now: Timestamp,
    mine: Option<Mine>,
    request: &Request,
) -> Result<crate::base::RequestId, RequestError> {
    match mine {
        Some(mine) => core.request_in(now, mine.slot, request),
        None => core.request(now, request),
    }
}
