//! A client's machine: it connects, sends, sleeps, moves to other addresses, crashes and comes back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::checker::{Checker, Gauge, MAX_BURST};
use super::client::{ClientEnd, ClientEvent, Door};
use super::message::{End, Name};
use super::network::{Parcel, Stamp};
use super::talker::Talker;
use crate::base::{Ecn, Now, Timestamp, UserId};
use crate::rudp::Event;
use crate::testing::checker::Life;

/// A client and its current connection.
pub(super) struct Party {
    pub(super) life: Life,
    pub(super) address: SocketAddr,
    /// Its previous address.
    former: SocketAddr,
    end: Option<ClientEnd>,
    talker: Option<Talker>,
    socket: VecDeque<Parcel>,
    pub(super) asleep_until: Timestamp,
    /// When a new life begins, this one ends, or its address changes.
    pub(super) begins_at: Timestamp,
    pub(super) ends_at: Timestamp,
    pub(super) moves_at: Timestamp,
    pace: Duration,
    idle_timeout: Duration,
    is_silent: bool,
    pub(super) rng: StdRng,
}

impl Party {
    /// Returns the `number`th client, which has not connected yet.
    pub(super) fn new(number: u8, now: Timestamp, pace: Duration, idle: Duration, mut rng: StdRng) -> Self {
        let address = SocketAddr::from(([10, 0, number, 1], rng.random_range(1_024..=u16::MAX)));
        Self {
            life: Life(0),
            address,
            former: address,
            end: None,
            talker: None,
            socket: VecDeque::new(),
            asleep_until: now,
            begins_at: now + rng.random_range(Duration::ZERO..Duration::from_millis(300)),
            ends_at: Timestamp::MAX,
            moves_at: Timestamp::MAX,
            pace,
            idle_timeout: idle,
            is_silent: false,
            rng,
        }
    }

    /// Returns when the client is next due.
    pub(super) fn next_at(&self) -> Timestamp {
        let inbox = self.socket.front().map(|_| Timestamp::ZERO);
        let timer = self.end.as_ref().and_then(ClientEnd::poll_timeout);
        let acts = self.talker.as_ref().map(|talker| talker.acts_at);
        let due = [self.begins_at, self.ends_at, self.moves_at].into_iter();
        due.chain(inbox).chain(timer).chain(acts).min().unwrap_or(Timestamp::MAX).max(self.asleep_until)
    }

    /// Takes another address, or its previous one.
    pub(super) fn change_address(&mut self) {
        let SocketAddr::V4(mut address) = self.address else { return };
        let former = std::mem::replace(&mut self.former, self.address);
        match self.rng.random_range(0..4) {
            0 | 1 => address.set_port(self.rng.random_range(1_024..=u16::MAX)),
            2 => {
                let [a, b, c, _] = address.ip().octets();
                address.set_ip([a, b, c, self.rng.random_range(2..250)].into());
            }
            _ => {
                self.address = former;
                return;
            }
        }
        self.address = address.into();
    }

    pub(super) fn connect(&mut self, now: Now, life: Life, door: &Door) {
        let user = UserId::new(&life.0.to_string()).expect("invariant: a number is short");
        self.end = Some(ClientEnd::connect(now, user, door, &mut self.rng));
        self.talker = None;
        self.socket.clear();
        self.life = life;
        self.begins_at = Timestamp::MAX;
    }

    /// Ends the process without closing its connection.
    pub(super) fn crash(&mut self, checker: &mut Checker) {
        if self.end.take().is_some() {
            checker.crashed(self.life);
        }
        self.talker = None;
    }

    /// Closes the connection, if it exists.
    pub(super) fn close(&mut self, now: Timestamp, checker: &mut Checker) {
        if let Some(end) = &mut self.end
            && let Some(talker) = &mut self.talker
            && let Some(connection) = end.connection()
        {
            talker.close(now, connection, checker);
        }
    }

    /// Wakes the client and stops its sending.
    pub(super) fn fall_silent(&mut self) {
        self.is_silent = true;
        self.asleep_until = Timestamp::ZERO;
        [self.begins_at, self.ends_at, self.moves_at] = [Timestamp::MAX; 3];
        if let Some(talker) = &mut self.talker {
            talker.acts_at = Timestamp::MAX;
        }
    }

    /// Sends one last message of each mode.
    pub(super) fn say_farewell(&mut self, now: Timestamp, checker: &mut Checker) {
        if let Some(end) = &mut self.end
            && let Some(talker) = &mut self.talker
            && let Some(connection) = end.connection()
        {
            talker.say_farewell(now, connection, checker);
        }
    }

    /// Whether the connection has no queued bytes.
    pub(super) fn is_quiet(&mut self) -> bool {
        let connection = self.end.as_mut().and_then(ClientEnd::connection);
        connection.is_none_or(|connection| connection.queued_bytes() == 0)
    }

    /// Whether it has neither a connection nor an attempt to connect.
    pub(super) fn is_gone(&self) -> bool {
        self.end.is_none()
    }

    pub(super) fn deliver(&mut self, parcel: Parcel) {
        self.socket.push_back(parcel);
    }

    /// Does what is due, reports it to the checker, and sends. `given` is called for each datagram that the
    /// client's end is given.
    pub(super) fn turn(
        &mut self,
        now: Timestamp,
        door: &Door,
        checker: &mut Checker,
        given: &mut dyn FnMut(Stamp, &mut Checker),
        send: &mut dyn FnMut((Ecn, Bytes), &mut Checker),
    ) {
        let Some(end) = &mut self.end else { return self.socket.clear() };
        for parcel in self.socket.drain(..) {
            end.handle_datagram(now, parcel.from, parcel.datagram);
            if let Some(stamp) = parcel.stamp {
                given(stamp, checker);
            }
        }
        if end.poll_timeout().is_some_and(|at| at <= now) {
            end.handle_timeout(now);
        }
        self.hear(now, checker);
        self.act(now, checker);
        self.hear(now, checker);
        let Some(end) = &mut self.end else { return };
        let datagrams = std::iter::from_fn(|| end.poll_transmit(now)).take(MAX_BURST);
        let sent = datagrams.map(|datagram| send(datagram, checker)).count();
        checker.burst(End::Client, sent);
        if let Some(connection) = end.connection() {
            let gauge = Gauge::of(connection, &door.connection, self.idle_timeout);
            checker.gauge(now, self.life, End::Client, &gauge);
        }
        if end.is_finished() {
            self.end = None;
            self.talker = None;
        }
    }

    fn act(&mut self, now: Timestamp, checker: &mut Checker) {
        if let Some(end) = &mut self.end
            && let Some(connection) = end.connection()
            && let Some(talker) = &mut self.talker
            && talker.acts_at <= now
        {
            talker.act(now, connection, checker);
        }
    }

    fn hear(&mut self, now: Timestamp, checker: &mut Checker) {
        let Some(end) = &mut self.end else { return };
        let mut ended = Vec::new();
        while let Some(event) = end.poll_event() {
            match event {
                ClientEvent::Open => {
                    checker.opened(self.life, End::Client);
                    let rng = StdRng::from_rng(&mut self.rng);
                    let who = (self.life, End::Client);
                    let mut talker = Talker::new(checker.seed(), who, now, self.pace, rng);
                    if self.is_silent {
                        talker.acts_at = Timestamp::MAX;
                    }
                    self.talker = Some(talker);
                }
                ClientEvent::Connection(Event::Established | Event::AddressChanged(_)) => {}
                ClientEvent::Connection(Event::Message { stream, delivery, payload }) => {
                    checker.message(self.life, End::Client, stream, delivery, &payload);
                    let (Some(stream), Some(talker)) = (stream, &mut self.talker) else { continue };
                    talker.learn(stream);
                    if Name::read(&payload).is_some_and(|name| name.is_last) {
                        ended.push(stream);
                    }
                }
                ClientEvent::Connection(Event::Closed(why)) => {
                    checker.closed(now, self.life, End::Client, &why);
                    // It comes back, unless the run is at its end.
                    if !self.is_silent {
                        self.begins_at = now + self.rng.random_range(Duration::ZERO..Duration::from_secs(1));
                    }
                    self.ends_at = Timestamp::MAX;
                }
            }
        }
        // Messages that had already arrived are delivered in any case; finishing the stream affects only
        // later ones.
        for stream in ended {
            if let (Some(connection), Some(talker)) = (end.connection(), &mut self.talker) {
                talker.hear_last(stream, connection, checker);
            }
        }
    }
}
