//! Procfile, exactly as foreman 0.87 reads it (pure).

/// A parsed Procfile: entries in file order, a type that appears twice appears twice.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Procfile {
    /// The entries.
    pub entries: Vec<Entry>,
    /// What foreman would ignore without a word, each with its line.
    pub warnings: Vec<String>,
}

/// One process type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The process type, `[A-Za-z0-9_-]+`.
    pub name: String,
    /// The shell command, as written.
    pub command: String,
    /// The line it stands on, from 1.
    pub line: usize,
}

/// Why a Procfile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcfileError {
    /// Bytes that are not UTF-8.
    #[error("Procfile line {line} is not UTF-8: save the file as UTF-8")]
    NotUtf8 {
        /// From 1.
        line: usize,
    },
    /// A type appears twice ([`Procfile::check`]).
    #[error(
        "Procfile names \"{name}\" twice, on lines {first} and {second}: give each process type one line"
    )]
    Duplicate {
        /// The process type.
        name: String,
        /// Line of the first entry.
        first: usize,
        /// Line of the second.
        second: usize,
    },
    /// No entry at all ([`Procfile::check`]).
    #[error("Procfile has no entry: write one line per process type, as \"web: command\"")]
    Empty,
    /// A NUL byte in a command ([`Procfile::check`]): no program can be given one.
    #[error("Procfile line {line} has a NUL byte: remove it")]
    Nul {
        /// From 1.
        line: usize,
    },
}

impl Procfile {
    /// Reads a Procfile.
    ///
    /// # Errors
    /// [`ProcfileError::NotUtf8`] only: everything else foreman accepts.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProcfileError> {
        let _ = bytes;
        todo!()
    }

    /// What must hold before it can be deployed.
    ///
    /// # Errors
    /// An empty Procfile, a type named twice, a NUL byte.
    pub fn check(&self) -> Result<(), ProcfileError> {
        todo!()
    }

    /// The command of `name`.
    #[must_use]
    pub fn command(&self, name: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|e| e.name == name)
            .map(|e| e.command.as_str())
    }
}
