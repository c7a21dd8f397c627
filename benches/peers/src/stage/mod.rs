//! What a run is played on: the processes, and the order in which they come.
//!
//! | file | what it does |
//! |---|---|
//! | `announce` | how a server says that it is ready and what it has counted |
//! | `child` | a process of this binary |
//! | `workload` | the workloads and their numbers |
//! | `job` | one peer in one load: server, relay, load, and what they used |
//! | `saturation` | many of those, with more sessions each |
//! | `run` | all of it, the peers in turn |

mod announce;
mod child;
mod job;
mod run;
mod saturation;
mod workload;

pub use self::announce::Announce;
pub use self::job::Figures;
pub use self::run::{Options, run};
pub use self::workload::Workload;
