//! A server that keeps the transport's rules, and otherwise sends what it likes, meets a client's core. The
//! core never panics, answers each command once, and reports events of which the app can make the same
//! sessions.
// spec-test: EVT-1, EVT-4, EVT-6, SES-3, CMD-4
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use rallypoint::base::{RequestId, SessionId, Slot, StreamId, Timestamp};
use rallypoint::client::core::{Core, Disconnected, Event, Mirror, Output};
use rallypoint::client::{CreateSession, Delivery, To};
use rallypoint::rudp::{Connection, ConnectionConfig, Role};
use rallypoint::wire::command::Join;
use rallypoint::wire::{PropertyOp, PropertyOps, Request};
use rallypoint_fuzz::forger::{CONNECTION, secrets};
use rallypoint_fuzz::{Forger, Input};
use rand::SeedableRng;
use rand::rngs::StdRng;

const DELAY: Duration = Duration::from_millis(1);

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mut line = Line::new();
    while !input.is_empty() && !line.app.is_over {
        match input.byte() % 8 {
            0 => line.ask(input.byte(), input.byte()),
            1 => line.broadcast(Slot(u32::from(input.byte())), input.pick(&DELIVERIES)),
            2 => line.server.finish_stream(StreamId(u32::from(input.byte()))),
            _ => {
                let (stream, delivery) = (StreamId(u32::from(input.byte() % 4)), input.pick(&DELIVERIES));
                let length = usize::from(input.u16());
                line.tell(stream, delivery, Bytes::copy_from_slice(input.bytes(length)));
            }
        }
        line.exchange();
    }
    line.core.abandon(Disconnected::TimedOut);
    line.take_outputs();
    assert!(line.app.asked.is_empty() && line.app.is_over, "every command has an outcome");
});

const DELIVERIES: [Delivery; 5] = [
    Delivery::ReliableOrdered,
    Delivery::Unreliable,
    Delivery::ReliableUnordered,
    Delivery::ReliableLatest { key: 1 },
    Delivery::Sequenced { key: 2 },
];

/// A client and the transport of its server, without losses.
struct Line {
    now: Timestamp,
    core: Core,
    app: App,
    server: Connection,
}

/// What an app knows.
#[derive(Default)]
struct App {
    asked: BTreeSet<RequestId>,
    sessions: BTreeMap<Slot, Mirror>,
    is_over: bool,
}

impl Line {
    fn new() -> Self {
        let now = Timestamp::ZERO;
        let end = |role, keys, seed| {
            let (config, rng) = (ConnectionConfig::default(), StdRng::seed_from_u64(seed));
            Connection::new(now, role, Forger::ADDRESS.into(), keys, config.parameters(), config, rng)
        };
        let mut server = end(Role::Server, secrets().server_keys(), 1);
        (1..4).for_each(|slot| server.open_stream(StreamId(slot)));
        let client = end(Role::Client { id: CONNECTION }, secrets().client_keys(), 2);
        let core = Core::connected(Forger::ADDRESS.into(), client);
        Self { now, core, app: App::default(), server }
    }

    /// Lets the client send a command.
    fn ask(&mut self, command: u8, slot: u8) {
        let (slot, now) = (Slot(u32::from(slot % 4)), self.now);
        let sent = match command % 7 {
            0 => {
                let create = CreateSession::new(1).build().expect("legal settings");
                self.core.request(now, &Request::Create(create))
            }
            1 => self.core.request(now, &Request::Join(Join::Session(SessionId(1)))),
            2 => self.core.request(now, &Request::ListMine),
            3 => self.core.request(now, &Request::ListInvites),
            4 => self.core.request(now, &Request::Info(SessionId(1))),
            5 => self.core.request_in(now, slot, &Request::Leave),
            _ => {
                let key = "k".parse().expect("a key");
                let ops = PropertyOps::new(vec![PropertyOp::delete(key)]).expect("one operation");
                self.core.request_in(now, slot, &Request::SetProperties(ops))
            }
        };
        if let Ok(request) = sent {
            assert!(self.app.asked.insert(request), "an id is used again");
        }
    }

    fn broadcast(&mut self, slot: Slot, delivery: Delivery) {
        let _ = self.core.broadcast(self.now, slot, To::All, delivery, Bytes::from_static(b"hello"));
    }

    fn tell(&mut self, stream: StreamId, delivery: Delivery, message: Bytes) {
        let _ = self.server.send(self.now, stream, delivery, message.into());
    }

    /// Passes datagrams both ways until there are none, a little later.
    fn exchange(&mut self) {
        self.now += DELAY;
        let mut out = BytesMut::new();
        for _ in 0..1_000 {
            let mut is_quiet = true;
            while self.server.poll_transmit(self.now, &mut out).is_some() {
                self.core.handle_datagram(self.now, Forger::ADDRESS.into(), std::mem::take(&mut out));
                self.take_outputs();
                is_quiet = false;
            }
            while self.core.poll_transmit(self.now, &mut out).is_some() {
                let _ = self.server.handle_packet(self.now, Forger::ADDRESS.into(), std::mem::take(&mut out));
                is_quiet = false;
            }
            while self.server.poll_event().is_some() {}
            if is_quiet {
                return;
            }
        }
        panic!("they never stop");
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.core.poll_output() {
            assert!(!self.app.is_over, "after the end: {output:?}");
            match output {
                Output::Connected => {}
                Output::Result { request, .. } => assert!(self.app.asked.remove(&request), "{request:?}"),
                Output::Event(event) => self.app.on_event(&event),
            }
        }
        if self.app.is_over {
            return;
        }
        let known: Vec<_> = self.core.mirrors().map(|mirror| &**mirror).collect();
        assert_eq!(known, self.app.sessions.values().collect::<Vec<_>>(), "the app follows the events");
    }
}

impl App {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Entered { slot, mirror, .. } => {
                assert!(self.sessions.insert(*slot, Mirror::clone(mirror)).is_none(), "{slot} twice");
            }
            Event::Disconnected(_) => self.is_over = true,
            _ => {
                let Some(slot) = event.slot() else { return };
                let session = self.sessions.get_mut(&slot).expect("a session that the app is in");
                session.apply(event).expect("what the client reports is consistent");
                if event.ends_membership() {
                    self.sessions.remove(&slot);
                }
            }
        }
    }
}
