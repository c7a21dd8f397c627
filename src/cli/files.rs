//! Files that the user names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::output::Failure;

/// Longest file that is read, in bytes; far longer than any intended file.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a whole text file, which may hold a secret.
///
/// # Errors
/// Those of the system, and [`io::ErrorKind::InvalidData`] if it is not UTF-8 or is longer than 1 MiB.
pub fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    // Allocated at once, so that a growing buffer leaves no copy of a key behind.
    let mut text = Zeroizing::new(String::with_capacity(4_096));
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
pub async fn read_aside(path: &Path) -> io::Result<Zeroizing<String>> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || read(&path)).await.map_err(io::Error::other)?
}

/// How texts begin that are secrets themselves: a token key, a token, and a grant, which is JSON.
const SECRETS: [&str; 3] = ["k4.local.", "v4.local.", "{"];

/// Returns true for a secret in place of the path of the file that holds it.
pub fn is_secret(path: &Path) -> bool {
    let text = path.to_string_lossy();
    SECRETS.iter().any(|secret| text.trim_start().starts_with(secret))
}

/// Refuses a secret in place of the path of `what`: every error would show it, and a server would log it.
///
/// # Errors
/// [`Failure::Usage`], without the secret.
pub fn check_path(what: &str, path: &Path) -> Result<(), Failure> {
    if is_secret(path) {
        return Err(Failure::Usage(format!(
            "what is given for {what} looks like a secret itself, not like the path of a file with one (a file of \
             such a name is ./NAME)"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_no_path() {
        assert!(is_secret(Path::new(&*crate::backend::new_key().to_paserk())));
        for (path, expected) in [
            ("k4.local.AAAA", true),
            ("\n k4.local.", true),
            ("v4.local.AAAA", true),
            ("{\"token\": \"v4.local.AAAA\"}", true),
            ("./k4.local.AAAA", false),
            ("keys/k4.local.AAAA", false),
            ("rallypoint.key", false),
            ("", false),
        ] {
            assert_eq!(is_secret(Path::new(path)), expected, "{path}");
            let refused = check_path("the key", Path::new(path)).err().map(|failure| failure.to_string());
            assert_eq!(refused.is_some(), expected);
            assert!(!refused.is_some_and(|text| text.contains("AAAA")), "{path}");
        }
    }
}
