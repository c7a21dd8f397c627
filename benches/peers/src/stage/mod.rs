//! The execution of a run: its processes, and their order.
//!
//! | file | contents |
//! |---|---|
//! | `announce` | how a server reports that it is ready, and later its counts |
//! | `child` | a process of this binary |
//! | `workload` | the workloads and their numbers |
//! | `job` | one peer in one load |
//! | `cast` | the processes of a job, and the resources they use |
//! | `results` | the results of its loads |
//! | `saturation` | many jobs, with more sessions each |
//! | `run` | the whole run, peers alternately |

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
