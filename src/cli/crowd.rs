//! How many clients one process, and one relay, can carry.

use super::netsim::MAX_CLIENTS;
use super::output::Failure;
use crate::net::allow_many_sockets;

/// Open files besides the clients' sockets: those of the runtime, of child processes and of this process.
const SPARE_DESCRIPTORS: u64 = 32;

/// Raises the number of sockets of this process as far as the system allows, and checks that they suffice.
///
/// # Errors
/// [`Failure::Usage`] for more `sockets` than the process may have, or, if they are `relayed`, more `clients`
/// than a relay carries.
pub fn check(clients: u64, sockets: u64, relayed: bool) -> Result<(), Failure> {
    if let Some(limit) = allow_many_sockets()
        && sockets + SPARE_DESCRIPTORS > limit
    {
        return Err(Failure::Usage(format!(
            "{clients} clients need {sockets} sockets; this process may have {limit} files open (ulimit -n)"
        )));
    }
    if relayed && clients > MAX_CLIENTS as u64 {
        return Err(Failure::Usage(format!(
            "{clients} clients; impairments need a relay, and one carries {MAX_CLIENTS} at most"
        )));
    }
    Ok(())
}
