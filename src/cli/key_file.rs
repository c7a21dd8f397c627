//! Key files: one line with a token key as PASERK `k4.local.` text.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::backend;
use crate::cli::files;
use crate::cli::output::Failure;
use crate::secure::TokenKey;

/// The default path for reading and writing the key.
pub const DEFAULT: &str = "rallypoint.key";

/// Creates a new key and writes it to `path`, readable by its owner only.
///
/// # Errors
/// [`Failure::Work`] if the file already exists or cannot be written, [`Failure::Usage`] if `path` is a
/// secret.
pub fn create(path: &Path) -> Result<TokenKey, Failure> {
    files::check_path("a key file", path)?;
    let key = backend::new_key();
    write_new(path, &[key.to_paserk().as_bytes(), b"\n"]).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::Work(format!("{} exists already and is not overwritten", path.display()))
        }
        _ => Failure::while_doing(format_args!("writing {}", path.display()), error),
    })?;
    Ok(key)
}

/// Reads the key in `path`.
///
/// # Errors
/// [`Failure::Work`] if the file cannot be read or holds no key, [`Failure::Usage`] if `path` is a secret.
pub fn read(path: &Path) -> Result<TokenKey, Failure> {
    files::check_path("a key file", path)?;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::while_doing(format_args!("reading the key file {}", path.display()), error)
    };
    let text = files::read(path).map_err(|error| failed(&error))?;
    warn_of_readers(path);
    TokenKey::from_paserk(&text).map_err(|error| failed(&error))
}

/// Like [`read`], but outside the runtime's thread, because the file may be a pipe that nobody writes to.
///
/// # Errors
/// Those of [`read`].
pub async fn read_aside(path: &Path) -> Result<TokenKey, Failure> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read(&path)).await;
    read.unwrap_or_else(|error| Err(Failure::while_doing("reading the key file", error)))
}

/// Writes a file that must not exist yet, with mode 0600 where files have modes.
fn write_new(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
    if written.is_err() {
        // A partial key is useless and would block the next attempt.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Warns if anyone other than the owner has access to a key.
fn warn_of_readers(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(path) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            crate::cli::output::note(format_args!(
                "warning: the key file {path} is open to others (mode {mode:o}, not 600)"
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_never_overwritten() {
        let dir = std::env::temp_dir().join(format!("rallypoint-key-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("key");
        let key = create(&path).unwrap_or_else(|failure| panic!("{failure}"));
        let again = create(&path).err().unwrap().to_string();
        assert!(again.ends_with("exists already and is not overwritten"), "{again}");
        let read = read(&path).unwrap_or_else(|failure| panic!("{failure}"));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(read.id(), key.id());
    }
}
