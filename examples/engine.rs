//! A client in a game's own loop, without tasks: the sans-IO core on a standard library socket.
//!
//! ```text
//! rallypoint serve --dev --key-file dev.key --listen 127.0.0.1:7777
//! rallypoint token --user ann --key-file dev.key --server 127.0.0.1:7777 > ann.json
//! cargo run --example engine --no-default-features ann.json
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rallypoint::base::{Slot, Timestamp};
use rallypoint::client::core::{Core, Output};
use rallypoint::client::{ConnectGrant, CreateSession, Delivery, Event, To};
use rallypoint::rudp::{Connecting, ConnectingConfig};
use rallypoint::wire::{Request, Value};
use rand::SeedableRng;
use rand::rngs::StdRng;

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
    let (mut asked, mut frame) = (false, 0);
    while frame < FRAMES {
        game.exchange()?;
        if game.core.is_finished() {
            return Err("there is no connection".into());
        }
        if game.core.is_connected() && !asked {
            game.core.request(game.now(), &session)?;
            asked = true;
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
    fn connect(grant: &ConnectGrant) -> Result<Self, Box<dyn Error>> {
        let name = grant.servers.first().ok_or("the grant names no server")?;
        let server = name.to_socket_addrs()?.next().ok_or("the server's name leads nowhere")?;
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
