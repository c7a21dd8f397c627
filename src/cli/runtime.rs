//! The runtime of the subcommands.

use crate::cli::output::Failure;

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
