//! What the subcommands run on: a runtime of one thread, and a seed.

use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::cli::output::Failure;

/// Where a run's chance comes from: as told, or drawn, below 2^53, so that every reader of JSON reads it whole.
///
/// # Errors
/// [`Failure::Work`] when the system gives no randomness.
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
/// Those of `work`, and [`Failure::Work`] when there is no runtime to be had.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::while_doing("starting the runtime", error))?;
    let done = runtime.block_on(work);
    // A blocked read of standard input must not keep the process.
    runtime.shutdown_background();
    done
}
