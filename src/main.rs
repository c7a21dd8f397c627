//! The `rallypoint` binary, implemented in [`rallypoint::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    rallypoint::cli::main()
}
