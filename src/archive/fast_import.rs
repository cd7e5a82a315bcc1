//! [`FastImport`]: makes a commit of an archive, as git-fast-import(1) takes it.

use std::io::{self, Read, Write};

use super::error::ArchiveError;
use super::sink::Sink;

/// The commit to be made.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The ref that it gets.
    pub reference: String,
    /// The full id of the commit before it.
    pub parent: Option<String>,
    /// Seconds since 1970.
    pub time: i64,
    pub message: String,
}

/// Writes a commit of what it takes.
#[derive(Debug)]
pub struct FastImport<W> {
    to: W,
}

impl<W: Write> FastImport<W> {
    /// Begins the commit, whose tree is empty.
    ///
    /// # Errors
    /// `to` takes no more.
    pub fn begin(mut to: W, commit: &Commit) -> io::Result<Self> {
        let Commit {
            reference,
            parent,
            time,
            message,
        } = commit;
        write!(
            to,
            "feature done\ncommit {reference}\nmark :1\ncommitter procserver <procserver@localhost> {time} +0000\n"
        )?;
        writeln!(to, "data {}\n{message}", message.len())?;
        if let Some(parent) = parent {
            writeln!(to, "from {parent}")?;
        }
        writeln!(to, "deleteall")?;
        Ok(Self { to })
    }

    /// Completes the commit. Only then there is one; git prints its id.
    ///
    /// # Errors
    /// `to` takes no more.
    pub fn finish(mut self) -> io::Result<()> {
        write!(self.to, "\nget-mark :1\ndone\n")?;
        self.to.flush()
    }
}

impl<W: Write> Sink for FastImport<W> {
    fn file(
        &mut self,
        path: &[u8],
        is_executable: bool,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let mode = if is_executable { "100755" } else { "100644" };
        let path = quoted(path);
        let head = write!(self.to, "M {mode} inline {path}\ndata {size}\n");
        head.map_err(ArchiveError::Sink)?;
        let mut left = size;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = content.read(&mut buffer).map_err(ArchiveError::damaged)?;
            left = match left.checked_sub(read as u64) {
                Some(left) if read > 0 || left == 0 => left,
                _ => return Err(ArchiveError::Damaged("it ends within a file".to_owned())),
            };
            if read == 0 {
                break;
            }
            self.to
                .write_all(&buffer[..read])
                .map_err(ArchiveError::Sink)?;
        }
        self.to.write_all(b"\n").map_err(ArchiveError::Sink)
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        let size = target.len();
        let head = write!(self.to, "M 120000 inline {}\ndata {size}\n", quoted(path));
        head.and_then(|()| self.to.write_all(target))
            .and_then(|()| self.to.write_all(b"\n"))
            .map_err(ArchiveError::Sink)
    }

    fn copy(&mut self, path: &[u8], from: &[u8]) -> Result<(), ArchiveError> {
        let copied = writeln!(self.to, "C {} {}", quoted(from), quoted(path));
        copied.map_err(ArchiveError::Sink)
    }
}

/// A path as git quotes it.
fn quoted(path: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("\"");
    for byte in path {
        match byte {
            b'"' | b'\\' => text.extend(['\\', *byte as char]),
            b' '..=b'~' => text.push(*byte as char),
            // A String takes everything.
            _ => drop(write!(text, "\\{byte:03o}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_whatever_it_has() {
        assert_eq!(
            quoted("a b/ü\n\"\\".as_bytes()),
            r#""a b/\303\274\012\"\\""#
        );
    }
}
