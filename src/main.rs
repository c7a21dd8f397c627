//! The `rallypoint` binary; all of it is in [`rallypoint::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    rallypoint::cli::main()
}
