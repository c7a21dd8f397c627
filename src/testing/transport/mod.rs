//! The transport's own simulation: endpoints and real clients under a virtual clock, on bad networks, without
//! sessions.
//!
//! Clients perform the complete handshake with real tokens. Both ends send messages of all modes and sizes on
//! streams that the server opens and finishes. Links lose, duplicate, delay and damage datagrams, and limit
//! their rate and size. Clients crash and come back, workers and clients sleep, the clock jumps, and an
//! attacker adds its own datagrams. All of it follows from one seed. A checker tests both ends against the
//! transport's promises: deliveries, closes, timers, buffers.
//!
//! | file | contents |
//! |---|---|
//! | `scenario` | the parameters of a run, and how a seed draws them |
//! | `simulation` | the main loop |
//! | `fate` | crashes, naps, jumps of the clock, changes of addresses and MTUs |
//! | `network` | datagrams in flight on impaired links |
//! | `attacker` | datagrams that neither end sent |
//! | `server`, `client` | the only places that drive endpoints and clients' connections |
//! | `hosts`, `party` | the owners of the server's ends, and a client's machine |
//! | `talker` | the messages that the owner of an end sends |
//! | `message` | messages that identify themselves |
//! | `checker` | the promises |

mod attacker;
mod checker;
mod client;
mod fate;
mod hosts;
mod message;
mod network;
mod party;
mod scenario;
mod server;
mod simulation;
mod talker;

pub use scenario::{Path, Scenario};
pub use simulation::{Outcome, Simulation};
