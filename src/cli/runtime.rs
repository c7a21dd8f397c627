//! What the subcommands run on: a single-threaded runtime, and a seed.

use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::cli::output::Failure;

/// Returns the seed of a run's random choices: the given one, or one drawn below 2^53, so that every JSON
/// reader reads it exactly.
///
/// # Errors
/// [`Failure::Work`] if the system provides no randomness.
pub fn seed(told: Option<u64>) -> Result<u64, Failure> {
    match told {
        Some(seed) => Ok(seed),
        None => match OsRng.try_next_u64() {
            Ok(drawn) => Ok(drawn >> 11),
            Err(error) => Err(Failure::while_doing("choosing a seed", error)),
        },
    }
}

/// Runs `work` to its end on a runtime of this thread.
///
/// # Errors
/// Those of `work`, and [`Failure::Work`] if no runtime can be created.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::while_doing("starting the runtime", error))?;
    let done = runtime.block_on(work);
    // A blocked read of standard input must not keep the process alive.
    runtime.shutdown_background();
    done
}
