//! The transport's own simulation: endpoints and real clients under a virtual clock, on bad networks,
//! without sessions.
//!
//! Clients go through the whole handshake with real tokens; both ends send messages of all modes and
//! sizes on streams that the server opens and finishes; links lose, double, hold up, damage and limit
//! what they carry; clients crash and come back, workers and clients sleep, the clock jumps, and an
//! attacker adds its own. All of it follows from one seed. A checker holds the transport's promises
//! against both ends: deliveries, closes, timers, buffers.
//!
//! | file | what it is |
//! |---|---|
//! | `scenario` | what a run is made of, and how a seed draws it |
//! | `simulation` | the loop over all that follows |
//! | `fate` | crashes, naps, jumps of the clock, changes of addresses and MTUs |
//! | `network` | datagrams on impaired links, waiting for their time |
//! | `attacker` | datagrams that nobody sent |
//! | `server`, `client` | the only places that drive endpoints and clients' connections |
//! | `hosts`, `party` | the owners of the server's ends, and a client's machine |
//! | `talker` | what the owner of an end says |
//! | `message` | messages that tell what they are |
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
