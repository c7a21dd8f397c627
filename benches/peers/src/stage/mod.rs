//! What a run is played on: the processes, and the order in which they come.
//!
//! | file | what it does |
//! |---|---|
//! | `announce` | how a server says that it is ready and what it has counted |
//! | `child` | a process of this binary |
//! | `workload` | the workloads and their numbers |
//! | `job` | one peer in one load |
//! | `cast` | the processes of a job, and what they use |
//! | `results` | what its loads tell |
//! | `saturation` | many of those, with more sessions each |
//! | `run` | all of it, the peers in turn |

mod announce;
mod cast;
mod child;
mod job;
mod results;
mod run;
mod saturation;
mod workload;

pub use self::announce::Announce;
pub use self::job::Figures;
pub use self::run::{Options, run};
pub use self::workload::Workload;
