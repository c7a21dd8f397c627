//! Files that the user names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longest file that is read, in bytes; far longer than any intended file.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a whole text file.
///
/// # Errors
/// Those of the system, and [`io::ErrorKind::InvalidData`] if it is not UTF-8 or is longer than 1 MiB.
pub fn read(path: &Path) -> io::Result<String> {
    // Allocated at once, so that a growing buffer leaves no copy of a key behind.
    let mut text = String::with_capacity(4_096);
    let bytes = File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if bytes as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than 1 MiB"));
    }
    Ok(text)
}

/// Like [`read`], but outside the runtime's thread, because the file may be a pipe that nobody writes to.
///
/// # Errors
/// Those of [`read`].
pub async fn read_aside(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || read(&path)).await.map_err(io::Error::other)?
}
