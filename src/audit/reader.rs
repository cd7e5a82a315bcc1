//! Reads the newest lines of the audit log.

use std::io;
use std::path::Path;

use serde_json::Value;

use crate::logs::rotating_file;

/// The newest `most` lines, those of `app` only, oldest first. What is no JSON is left out. Blocks.
///
/// # Errors
/// A file cannot be read.
pub fn newest(path: &Path, files: usize, most: usize, app: Option<&str>) -> io::Result<Vec<Value>> {
    let mut lines = Vec::new();
    if most == 0 {
        return Ok(lines);
    }
    rotating_file::each_backward(path, files, |line| {
        if let Ok(line) = serde_json::from_slice::<Value>(line)
            && app.is_none_or(|app| line["app"] == app)
        {
            lines.push(line);
        }
        lines.len() < most
    })?;
    lines.reverse();
    Ok(lines)
}
