//! `keygen`: a new token key, in a file that only its owner reads.

use std::path::PathBuf;

use clap::Args;

use crate::cli::key_file;
use crate::cli::output::{Failure, product};

/// Makes a token key: the secret that `serve` and whoever mints connect tokens share.
///
/// The file holds one line, a PASERK `k4.local.` text, and can be read and written by its owner only.
/// An existing file is never overwritten.
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
/// [`Failure::Work`] when the file exists or cannot be written.
pub fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let key = key_file::create(&args.out)?;
    product(format_args!("wrote a new token key to {}: {}", args.out.display(), key.id()))
}
