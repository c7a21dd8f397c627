//! [`Play`]: one session of the demo, from its creation to its end.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::figures::Figures;
use super::player::{Game, Player};
use crate::base::sync::Mutex;
use crate::base::{EventNumber, InviteId, MemberId, UserId};
use crate::cli::backend::Backend;
use crate::cli::output::Failure;
use crate::cli::verify::EventLog;
use crate::client::{CreateSession, Entered, InviteUsers, RequestError};
use crate::wire::{ErrorCode, PropertyKey, PropertyOp, PropertyValue, WriteRule};

/// The parameters of one session.
#[derive(Clone)]
pub struct Play {
    pub backend: Arc<Backend>,
    pub figures: Arc<Figures>,
    /// Number of the session, from 1.
    pub session: u16,
    pub members: u16,
    pub period: Duration,
    pub size: usize,
    pub length: Duration,
    pub seed: u64,
    /// True when the demo must end early.
    pub stop: watch::Receiver<bool>,
}

/// A running session.
struct Stage {
    play: Play,
    rng: StdRng,
    log: Arc<Mutex<EventLog>>,
    /// The owner first.
    players: Vec<Player>,
    seats: Vec<Entered>,
    /// Users that never get in.
    guests: Vec<Player>,
    /// Sum of the members' increments.
    score: i64,
}

/// The property that every member increments.
const SCORE: &str = "score";
/// After this time without progress, whatever is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

impl Play {
    /// Runs the session and counts the results.
    ///
    /// # Errors
    /// [`Failure::Work`] if a step did not end as expected.
    pub async fn run(self) -> Result<(), Failure> {
        let ends = Instant::now() + self.length;
        let mut stage = Stage::set(self).await?;
        let mut played = Ok(());
        if !stage.play.is_stopped() {
            (0..stage.players.len()).for_each(|index| stage.begin_to_send(index));
            played = stage.incidents(ends).await;
        }
        for player in &mut stage.players {
            player.stop().await;
        }
        // Whatever happened, everything sent so far must arrive.
        stage.settle().await;
        stage.account();
        stage.end().await?;
        played
    }

    fn user(&self, name: &str) -> Result<UserId, Failure> {
        let name = format!("session{}-{name}", self.session);
        UserId::new(&name).map_err(|error| Failure::while_doing("naming a user", error))
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

/// Users of a session besides its members: one finds it full, and the other's invite expires.
pub const GUESTS: u16 = 2;

impl Stage {
    /// Connects everyone; the first creates the session and invites the others, who accept. When the demo
    /// must end, those who are in by then are all of it.
    async fn set(play: Play) -> Result<Self, Failure> {
        let log = Arc::new(Mutex::new(EventLog::whole()));
        let game =
            Game { log: Arc::clone(&log), seats: play.members.into(), figures: Arc::clone(&play.figures) };
        let mut connecting = JoinSet::new();
        for number in 0..play.members + GUESTS {
            let name =
                if number < play.members { format!("player{number}") } else { format!("guest{number}") };
            let (play, game, user) = (play.clone(), game.clone(), play.user(&name)?);
            connecting.spawn(async move {
                let player = Player::connect(&play.backend, user, number.into(), game).await?;
                Ok::<_, Failure>((number, player))
            });
        }
        let mut players: Vec<(u16, Player)> =
            connecting.join_all().await.into_iter().collect::<Result<_, _>>()?;
        players.sort_by_key(|(number, _)| *number);
        let mut players: Vec<Player> = players.into_iter().map(|(_, player)| player).collect();
        let guests = players.split_off(play.members.into());
        let rng = StdRng::seed_from_u64(play.seed);
        let mut stage = Self { play, rng, log, players, seats: Vec::new(), guests, score: 0 };
        stage.meet().await?;
        Ok(stage)
    }

    async fn meet(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let create = CreateSession::new(1).max_members(self.play.members).integer(SCORE, 0, WriteRule::Any);
        let entered = done("creating a session", self.owner()?.client.create(create).await)?;
        self.seats.push(entered);
        for index in 1..self.players.len() {
            if self.play.is_stopped() {
                self.players.drain(index..).for_each(|player| player.client.close("the demo ends early"));
                break;
            }
            let entered = self.invite_and_accept(index).await?.0;
            self.seats.push(entered);
        }
        let (session, members) = (self.play.session, self.players.len());
        self.play.figures.tell(format_args!(
            "session {session}: {members} users met by invitation in {:.0} ms",
            began.elapsed().as_secs_f64() * 1_000.0
        ));
        Ok(())
    }

    /// Has the owner invite a player, who accepts; returns the player's seat and the invite.
    async fn invite_and_accept(&mut self, index: usize) -> Result<(Entered, InviteId), Failure> {
        let user = self.player(index)?.user.clone();
        self.invite(user, Duration::from_secs(60)).await?;
        let player = self.player(index)?;
        let invite = player.next_invite().await?;
        Ok((done("accepting an invite", player.client.join(invite).await)?, invite))
    }

    async fn invite(&mut self, user: UserId, ttl: Duration) -> Result<(), Failure> {
        let slot = self.seat(0)?.slot;
        let answers = self.owner()?.client.invite(slot, InviteUsers::new([user]).ttl(ttl)).await;
        for (user, answer) in done("inviting", answers)? {
            answer.map_err(|code| Failure::while_doing(format_args!("inviting {user}"), code))?;
        }
        Ok(())
    }

    fn begin_to_send(&mut self, index: usize) {
        let phase = self.rng.random_range(Duration::ZERO..self.play.period);
        let Play { period, size, ref figures, .. } = self.play;
        let Some(seat) = self.seats.get(index) else { return };
        if let Some(player) = self.players.get_mut(index) {
            player.send(seat.slot, phase, period, size, figures);
        }
    }

    /// Runs the incidents that happen while everyone sends, until the time is over.
    async fn incidents(&mut self, ends: Instant) -> Result<(), Failure> {
        self.increment().await?;
        if !self.play.is_stopped() {
            self.refuse_by_rule().await?;
        }
        if !self.play.is_stopped() {
            self.refuse_expired().await?;
        }
        if !self.play.is_stopped() {
            self.leave_and_return().await?;
        }
        if !self.play.is_stopped() {
            self.increment().await?;
        }
        let mut stop = self.play.stop.clone();
        tokio::select! {
            () = sleep_until(ends) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        Ok(())
    }

    /// Has every member increment the score, at the same time.
    async fn increment(&mut self) -> Result<(), Failure> {
        let key = done("naming a property", PropertyKey::new(SCORE))?;
        let mut adding = JoinSet::new();
        for (player, seat) in self.players.iter().zip(&self.seats) {
            let (client, slot, key) = (player.client.clone(), seat.slot, key.clone());
            adding
                .spawn(async move { client.set_properties(slot, vec![PropertyOp::increment(key, 1)]).await });
        }
        for added in adding.join_all().await {
            done("incrementing a property", added)?;
            self.score += 1;
        }
        Ok(())
    }

    /// Checks that a full session, another user's invite and a command of a member that is not the owner are
    /// refused.
    async fn refuse_by_rule(&mut self) -> Result<(), Failure> {
        let late = self.guest(0)?.user.clone();
        self.invite(late, Duration::from_secs(60)).await?;
        let guest = self.guest(0)?;
        let invite = guest.next_invite().await?;
        let joined = guest.client.join(invite).await;
        self.must_be_refused("joining a full session", joined, ErrorCode::SessionFull)?;
        let joined = self.guest(1)?.client.join(invite).await;
        self.must_be_refused("joining with another's invite", joined, ErrorCode::NotYourInvite)?;
        let (slot, owner): (_, MemberId) = (self.seat(1)?.slot, self.seat(0)?.member);
        let kicked = self.player(1)?.client.kick(slot, owner, "").await;
        self.must_be_refused("kicking without owning", kicked, ErrorCode::NotOwner)
    }

    /// Checks that an invite used too late is refused.
    async fn refuse_expired(&mut self) -> Result<(), Failure> {
        let sleepy = self.guest(1)?.user.clone();
        self.invite(sleepy, Duration::from_secs(1)).await?;
        let guest = self.guest(1)?;
        let invite = guest.next_invite().await?;
        let expired = guest.next_expired().await?;
        if expired != invite {
            return Err(Failure::Work(format!("{expired} has expired in place of {invite}")));
        }
        let joined = guest.client.join(invite).await;
        self.must_be_refused("joining with an expired invite", joined, ErrorCode::InviteExpired)
    }

    /// Has the last member leave, get a new invite and return; the invite works only once.
    async fn leave_and_return(&mut self) -> Result<(), Failure> {
        let index = self.players.len() - 1;
        let slot = self.seat(index)?.slot;
        let player = self.player(index)?;
        player.stop().await;
        done("leaving", player.client.leave(slot).await)?;
        let (entered, invite) = self.invite_and_accept(index).await?;
        if let Some(seat) = self.seats.get_mut(index) {
            *seat = entered;
        }
        self.begin_to_send(index);
        let user = self.player(index)?.user.clone();
        self.play.figures.tell(format_args!("session {}: {user} left and came back", self.play.session));
        let joined = self.player(index)?.client.join(invite).await;
        self.must_be_refused("joining with a used invite", joined, ErrorCode::InviteUsed)
    }

    fn must_be_refused<T>(
        &self,
        what: &str,
        outcome: Result<T, RequestError>,
        with: ErrorCode,
    ) -> Result<(), Failure> {
        let named = match outcome {
            Err(RequestError::Refused(code)) if code == with => {
                self.play.figures.lock().refusals += 1;
                let session = self.play.session;
                self.play.figures.tell(format_args!("session {session}: {what}: refused, {}", code.name()));
                return Ok(());
            }
            Err(error) => error.to_string(),
            Ok(_) => "it was done".to_owned(),
        };
        Err(Failure::Work(format!("{what} should be refused with {}, but: {named}", with.name())))
    }

    /// Waits until every member has seen every event, or no more arrive.
    async fn settle(&self) {
        let mut seen = None;
        let mut since = Instant::now();
        loop {
            let now: Vec<Option<EventNumber>> = self.players.iter().map(Player::next_event).collect();
            let sent: u64 = self.players.iter().map(Player::sent).sum();
            let is_complete =
                self.broadcasts() >= sent && now.windows(2).all(|pair| pair.first() == pair.last());
            if is_complete || since.elapsed() >= PATIENCE {
                return;
            }
            if seen.as_ref() != Some(&now) {
                (seen, since) = (Some(now), Instant::now());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Checks the properties and counts the expected deliveries.
    fn account(&self) {
        for (player, seat) in self.players.iter().zip(&self.seats) {
            let session = player.client.session(seat.slot);
            let score = session.as_ref().and_then(|session| session.property(SCORE));
            if score != Some(&PropertyValue::Integer(self.score)) {
                let problem = format!("{} has the score {score:?} in place of {}", player.user, self.score);
                self.play.figures.problem(problem);
            }
        }
        let sent: u64 = self.players.iter().map(Player::sent).sum();
        let lost = sent.saturating_sub(self.broadcasts());
        let log = self.log.lock();
        let expected: u64 = self.players.iter().map(|player| player.expected(&log)).sum();
        drop(log);
        // A broadcast that never became an event is missing at every member.
        self.play.figures.lock().expected += expected + lost * u64::from(self.play.members);
    }

    /// Deletes the session; every member must be notified.
    async fn end(&mut self) -> Result<(), Failure> {
        let slot = self.seat(0)?.slot;
        done("deleting the session", self.owner()?.client.delete(slot, "the demo is over").await)?;
        let deadline = Instant::now() + PATIENCE;
        while self.players.iter().any(|player| player.next_event().is_some()) {
            if Instant::now() >= deadline {
                return Err(Failure::Work("a member was not told that the session is deleted".to_owned()));
            }
            sleep(Duration::from_millis(5)).await;
        }
        self.players.iter().chain(&self.guests).for_each(|player| player.client.close("the demo is over"));
        Ok(())
    }

    /// Returns how many broadcasts became events.
    fn broadcasts(&self) -> u64 {
        let log = self.log.lock();
        log.messages(EventNumber(0), EventNumber(u64::MAX))
    }

    fn owner(&mut self) -> Result<&mut Player, Failure> {
        self.player(0)
    }

    fn player(&mut self, index: usize) -> Result<&mut Player, Failure> {
        self.players.get_mut(index).ok_or_else(|| Failure::Work(format!("there is no player {index}")))
    }

    fn guest(&mut self, index: usize) -> Result<&mut Player, Failure> {
        self.guests.get_mut(index).ok_or_else(|| Failure::Work(format!("there is no guest {index}")))
    }

    fn seat(&self, index: usize) -> Result<Entered, Failure> {
        self.seats.get(index).copied().ok_or_else(|| Failure::Work(format!("player {index} has no seat")))
    }
}

fn done<T, E: std::fmt::Display>(what: &str, outcome: Result<T, E>) -> Result<T, Failure> {
    outcome.map_err(|error| Failure::while_doing(what, error))
}
