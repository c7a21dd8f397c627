//! `keygen`: writes a new token key to a file that only its owner can read.

use std::path::PathBuf;

use clap::Args;

use crate::cli::key_file;
use crate::cli::output::{Failure, product};

/// Creates a token key: the secret shared by `serve` and the backend that mints connect tokens.
///
/// The file holds one line, a PASERK `k4.local.` text, and only its owner can read and write it. An existing
/// file is never overwritten.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  rallypoint keygen --out rallypoint.key")]
pub struct KeygenArgs {
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = key_file::DEFAULT)]
    out: PathBuf,
}

/// Runs the subcommand.
///
/// # Errors
/// [`Failure::Work`] if the file exists or cannot be written.
pub fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let key = key_file::create(&args.out)?;
    product(format_args!("wrote a new token key to {}: {}", args.out.display(), key.id()))
}
