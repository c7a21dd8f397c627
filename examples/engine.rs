//! A client in a game's own loop, without tasks: the sans-IO core on a standard library socket.
//!
//! Needs a server, in a terminal of its own, and a grant, which is void after 60 s, or what `token --ttl`
//! says (10min at most), so build the example first:
//!
//! ```text
//! cargo build --example engine --no-default-features
//! rallypoint serve --dev --key-file dev.key --listen 127.0.0.1:7777
//! rallypoint token --user ann --key-file dev.key --server 127.0.0.1:7777 > ann.json
//! cargo run --example engine --no-default-features ann.json
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use rallypoint::base::{Slot, Timestamp};
use rallypoint::bytes::{Bytes, BytesMut};
use rallypoint::client::core::{Core, Output};
use rallypoint::client::{ConnectGrant, CreateSession, Delivery, Event, To};
use rallypoint::rand::SeedableRng;
use rallypoint::rand::rngs::StdRng;
use rallypoint::rudp::{Connecting, ConnectingConfig};
use rallypoint::wire::{Request, Value};

/// Identifies the game; the server must be configured with the same id. This is the default of `serve`.
const PROTOCOL_ID: u64 = 1_382_116_460;
/// Time between two frames of the game.
const FRAME: Duration = Duration::from_millis(16);
/// Number of frames in the game.
const FRAMES: u32 = 60;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: engine GRANT.json")?;
    let heard = play(&ConnectGrant::from_json(&std::fs::read_to_string(file)?)?)?;
    println!("heard {heard} of its own positions");
    Ok(())
}

/// Plays alone for a second: sends a position each frame and receives it back. Returns how many were
/// received.
pub fn play(grant: &ConnectGrant) -> Result<u32, Box<dyn Error>> {
    let mut game = Game::connect(grant)?;
    // The session's snapshot arrives with the answer; from then on the slot identifies the session.
    let session = Request::Create(CreateSession::new(1).max_members(4).open().build()?);
    game.core.request(game.now(), &session)?;
    let mut frame = 0;
    while frame < FRAMES {
        game.exchange()?;
        if game.core.is_finished() {
            return Err("there is no connection".into());
        }
        if let Some(slot) = game.slot {
            let position = Bytes::copy_from_slice(&frame.to_be_bytes());
            game.core.broadcast(game.now(), slot, To::All, Delivery::ReliableOrdered, position)?;
            frame += 1;
        }
        game.send()?;
        std::thread::sleep(FRAME);
    }
    game.core.close(game.now(), "");
    while !game.core.is_finished() {
        game.exchange()?;
        game.send()?;
        std::thread::sleep(FRAME);
    }
    Ok(game.heard)
}

/// The client's state, which an engine keeps in addition to its own.
struct Game {
    core: Core,
    socket: UdpSocket,
    server: SocketAddr,
    began: Instant,
    slot: Option<Slot>,
    heard: u32,
    datagram: BytesMut,
}

impl Game {
    /// Tries all addresses of the server, one after the other. An attempt that is not answered spends
    /// nothing, so the next one may use the same token.
    fn connect(grant: &ConnectGrant) -> Result<Self, Box<dyn Error>> {
        for name in &grant.servers {
            // What cannot be resolved is passed over, as is what does not answer.
            for server in name.to_socket_addrs().into_iter().flatten() {
                let Ok(mut game) = Self::begin(grant, name, server) else { continue };
                // A game would draw its frames meanwhile.
                while !game.core.is_connected() && !game.core.is_finished() {
                    game.send()?;
                    std::thread::sleep(FRAME);
                    game.exchange()?;
                }
                if game.core.is_connected() {
                    return Ok(game);
                }
            }
        }
        Err("no address of the server has led to a connection".into())
    }

    /// Begins to connect to one address.
    fn begin(grant: &ConnectGrant, name: &str, server: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let local: SocketAddr = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
        let socket = UdpSocket::bind(local)?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let mut config = ConnectingConfig::new(PROTOCOL_ID);
        // A standard library socket does not keep IP from fragmenting datagrams.
        config.connection = config.connection.on_socket(false);
        let (audience, rng) = (grant.audience_at(name), StdRng::from_os_rng());
        let connecting = Connecting::new(Timestamp::ZERO, audience, server, grant, config, rng);
        let core = Core::new(server, connecting);
        let (began, datagram) = (Instant::now(), BytesMut::with_capacity(2_048));
        Ok(Self { core, socket, server, began, slot: None, heard: 0, datagram })
    }

    /// Returns the current time; any clock that never goes back is suitable.
    fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.began.elapsed()
    }

    /// Handles, at the beginning of a frame, received datagrams, due timers and output.
    fn exchange(&mut self) -> Result<(), Box<dyn Error>> {
        let mut buffer = [0; 2_048];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let datagram = buffer.get(..length).unwrap_or_default();
            self.core.handle_datagram(self.now(), self.server.into(), datagram.into());
        }
        if self.core.poll_timeout().is_some_and(|at| at <= self.now()) {
            self.core.handle_timeout(self.now());
        }
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Connected => println!("connected"),
                Output::Result { outcome, .. } => {
                    if let Value::Entered(entered) = outcome? {
                        self.slot = Some(entered.slot);
                    }
                }
                Output::Event(Event::Message { .. }) => self.heard += 1,
                Output::Event(Event::Disconnected(why)) => println!("the connection ended: {why}"),
                Output::Event(_) => {}
            }
        }
        Ok(())
    }

    /// Sends, at the end of a frame, the datagrams that the frame has caused.
    fn send(&mut self) -> Result<(), Box<dyn Error>> {
        self.datagram.clear();
        while self.core.poll_transmit(self.now(), &mut self.datagram).is_some() {
            // A datagram that the system does not take now is lost, and its content is sent again.
            let _ = self.socket.send(&self.datagram);
            self.datagram.clear();
        }
        Ok(())
    }
}
