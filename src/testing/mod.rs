//! The simulation: a complete server and its clients under a virtual clock, on a virtual network.
//!
//! One seed determines everything that happens: losses, delays, the order in which workers take their turns,
//! what users do and when they crash. The same seed gives the same run, so a failure is reproduced by its
//! seed. A [`Checker`] records all that clients do and receive, and checks it against the promises of
//! sessions.
//!
//! | file | contents |
//! |---|---|
//! | `network` | datagrams in flight on impaired links |
//! | `server` | the workers of a server, each with its own pace |
//! | `client` | a client of one user, which crashes, leaves and comes back |
//! | `actor` | a user's next action |
//! | `writer` | their next change of properties |
//! | `intruder` | a user who follows no rule |
//! | `operator` | the actions of the program around the server |
//! | `payload` | message payloads that identify themselves |
//! | `checker` | the promises |
//! | `issues` | the broken promises that a checker has found |
//! | `scenario` | the parameters of a run |
//! | `simulation` | the main loop |
//! | `entrance` | how the clients of the next two enter |
//! | `engine` | one worker and its clients, without a network |
//! | `workload` | one session's traffic and its latencies |
//!
//! [`transport`] is a separate simulation of the reliable protocol below sessions.
//!
//! Available only with the feature `testing`; never part of a release build.

mod actor;
mod checker;
mod client;
mod engine;
mod entrance;
mod intruder;
mod issues;
mod network;
mod operator;
mod payload;
mod scenario;
mod server;
mod simulation;
pub mod transport;
mod workload;
mod writer;

pub use checker::Checker;
pub use engine::{Engine, Meter};
pub use scenario::Scenario;
pub use simulation::{Intrusions, Outcome, Simulation};
pub use workload::{Beside, Figures, Flood, Workload};
