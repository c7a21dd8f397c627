//! Key files: one line, a token key as PASERK `k4.local.` text.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use rand::TryRngCore;
use zeroize::Zeroizing;

use crate::cli::output::Failure;

/// Where the key is looked for and written when nothing else is said.
pub const DEFAULT: &str = "rallypoint.key";

/// Makes a new key and writes it to `path`, readable by its owner only.
///
/// # Errors
/// [`Failure::Work`] when the file exists already or cannot be written.
pub fn create(path: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::while_doing("making a key", error);
    let mut key = Zeroizing::new([0; 32]);
    rand::rngs::OsRng.try_fill_bytes(key.as_mut()).map_err(|error| failed(&error))?;
    let key = Base64UrlSafeNoPadding::encode_to_string(key).map_err(|error| failed(&error))?;
    let text = Zeroizing::new(format!("k4.local.{key}\n"));
    write_new(path, text.as_bytes()).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::Work(format!("{} exists already and is not overwritten", path.display()))
        }
        _ => Failure::while_doing(format_args!("writing {}", path.display()), error),
    })
}

/// Writes a file that must not exist yet; mode 0600 where files have modes.
fn write_new(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}
