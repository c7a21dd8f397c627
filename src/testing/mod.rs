//! The simulation: a whole server and its clients under a virtual clock, on a virtual network.
//!
//! Everything that happens follows from one seed: losses, delays, the order in which workers take
//! their turns, what users do and when they crash. The same seed gives the same run, so a failure is
//! replayed by its number. A [`Checker`] hears all that clients do and are told, and holds the
//! promises of sessions against it.
//!
//! | file | what it is |
//! |---|---|
//! | `network` | datagrams on impaired links, waiting for their time |
//! | `server` | the workers of a server, each with its own pace |
//! | `client` | one user's client, which crashes, leaves and comes back |
//! | `actor` | what a user does next |
//! | `intruder` | a user who keeps no rule |
//! | `operator` | what the program around the server does |
//! | `payload` | messages that tell what they are |
//! | `checker` | the promises |
//! | `issues` | what a checker has found broken |
//! | `simulation` | the loop over all of them |
//! | `entrance` | how the clients of the next two get in |
//! | `engine` | one worker and its clients, without a network |
//! | `workload` | one session's traffic, and how late it was |
//!
//! [`transport`] is a simulation of its own, of the reliable protocol below sessions.
//!
//! Only with the feature `testing`; never in a release build.

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
mod server;
mod simulation;
pub mod transport;
mod workload;

pub use checker::Checker;
pub use engine::{Engine, Meter};
pub use simulation::{Intrusions, Outcome, Scenario, Simulation};
pub use workload::{Beside, Figures, Flood, Workload};
