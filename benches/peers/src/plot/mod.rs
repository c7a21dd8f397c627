//! Pictures of a run, as SVG.

use std::path::Path;

use serde_json::Value;

use crate::error::Result;

/// Draws all pictures of a report into `folder`.
///
/// # Errors
/// When a file cannot be written.
pub fn draw(_report: &Value, _folder: &Path) -> Result<()> {
    Ok(())
}
