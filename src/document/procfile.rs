//! Procfile, exactly as foreman 0.87 reads it (pure).
//!
//! Foreman folds CRLF to LF, splits at LF and keeps every line that matches `^([A-Za-z0-9_-]+):\s*(.+)$`; all others it
//! ignores without a word. So do we, with a warning for each that is neither blank nor a comment, and three deliberate
//! differences: a byte-order mark is stripped, a command of only blanks is no entry, and bytes that are not UTF-8 are
//! an error that names the line.

use super::lines::{Warnings, is_blank, lines};
use super::nearest::nearest;

const FILE: &str = "Procfile";

/// A parsed Procfile: entries in file order, a type that appears twice appears twice.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Procfile {
    pub entries: Vec<Entry>,
    /// What foreman would ignore without a word, each with its line.
    pub warnings: Vec<String>,
}

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
    /// No entry at all ([`Procfile::check`]).
    #[error("Procfile has no entry: write one line per process type, as \"web: command\"")]
    Empty,
    /// No entry that could be read ([`Procfile::check`]).
    #[error("Procfile has no entry that can be read; {0}")]
    NothingRead(String),
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
        let mut warnings = Warnings::of(FILE);
        let lines = lines(bytes, &mut warnings).map_err(|line| ProcfileError::NotUtf8 { line })?;
        let mut entries = Vec::new();
        for (line, content) in lines {
            match entry(line, content) {
                Ok(entry) => entries.push(entry),
                Err(reason) => warnings.add(line, &reason),
            }
        }
        Ok(Self {
            entries,
            warnings: warnings.texts,
        })
    }

    /// Checks that the Procfile can be deployed.
    ///
    /// # Errors
    /// It has no entry, or a NUL byte in one.
    pub fn check(&self) -> Result<(), ProcfileError> {
        if self.entries.is_empty() {
            if let Some(first) = self.warnings.iter().find(|w| w.contains("skipped: ")) {
                return Err(ProcfileError::NothingRead(first.clone()));
            }
            return Err(ProcfileError::Empty);
        }
        for entry in &self.entries {
            if entry.command.contains('\0') {
                return Err(ProcfileError::Nul { line: entry.line });
            }
        }
        Ok(())
    }

    /// Keeps the last entry of each name, in its place, with a warning for each entry that it overrides.
    #[must_use]
    pub fn taken(mut self) -> Self {
        let all = std::mem::take(&mut self.entries);
        let mut warnings = Warnings::of(FILE);
        for (index, entry) in all.iter().enumerate() {
            let last = all[index + 1..].iter().rev().find(|e| e.name == entry.name);
            match last {
                None => self.entries.push(entry.clone()),
                Some(last) => {
                    let reason = format!(
                        "\"{}\" is named again on line {}: the last one is taken",
                        entry.name, last.line
                    );
                    warnings.add(entry.line, &reason);
                }
            }
        }
        self.warnings.extend(warnings.texts);
        self
    }

    /// The warning about a `field` that names a process type which is not there.
    #[must_use]
    pub fn lacks(&self, field: &str, name: &str) -> String {
        let there: Vec<&str> = self.entries.iter().map(|e| e.name.as_str()).collect();
        let meant = nearest(name, &there).map(|near| format!(": did you mean \"{near}\"?"));
        let meant = meant.unwrap_or_default();
        format!("{field} names \"{name}\", but the Procfile has no such process type{meant}")
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

/// The entry on a line that is neither blank nor a comment, or why foreman ignores it.
fn entry(line: usize, content: &str) -> Result<Entry, String> {
    let Some((name, rest)) = split_name(content) else {
        return Err(reason_ignored(content).to_owned());
    };
    let command = rest.trim_start_matches(is_blank);
    if command.is_empty() {
        return Err(format!("\"{name}\" has no command, so it was skipped"));
    }
    Ok(Entry {
        name: name.to_owned(),
        command: command.to_owned(),
        line,
    })
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn split_name(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(':')?;
    (!name.is_empty() && name.chars().all(is_name_character)).then_some((name, rest))
}

/// Why foreman would ignore a line that is neither blank nor a comment.
fn reason_ignored(line: &str) -> &'static str {
    match line.split_once(':') {
        None => "no \"name: command\", so it was skipped",
        Some((name, _)) if name.starts_with(is_blank) => {
            "it begins with a blank, so it was skipped: process types start in the first column"
        }
        Some((name, _)) if name.ends_with(is_blank) => {
            "a blank before the colon, so it was skipped: write \"name: command\""
        }
        Some(_) => {
            "not a process type before the colon (letters, digits, - and _ only), so it was skipped"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Procfile {
        Procfile::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn comments_and_blank_lines_are_no_cause_for_a_warning() {
        let procfile = parse("# a\n  # b\n\n \t\nweb: x\n#worker: y\n");
        assert_eq!(procfile.warnings, Vec::<String>::new());
        assert_eq!(procfile.entries[0].line, 5);
    }

    #[test]
    fn each_ignored_line_is_named() {
        let procfile = parse("web: x\n web: y\nmy web: z\nworker :w\nnothing\nempty:\n");
        assert_eq!(procfile.entries.len(), 1);
        let lines: Vec<_> = procfile
            .warnings
            .iter()
            .map(|w| w.split(": ").next().unwrap())
            .collect();
        assert_eq!(
            lines,
            [
                "Procfile line 2",
                "Procfile line 3",
                "Procfile line 4",
                "Procfile line 5",
                "Procfile line 6"
            ]
        );
    }

    #[test]
    fn of_a_type_that_appears_twice_the_last_is_taken_with_a_warning() {
        let procfile = parse("web: a\nworker: x\nweb: b\n");
        assert_eq!(procfile.check(), Ok(()));
        assert_eq!(procfile.entries.len(), 3);
        let taken = procfile.taken();
        assert_eq!((taken.entries.len(), taken.command("web")), (2, Some("b")));
        let told = taken.warnings.concat();
        assert!(
            told.contains("line 1: \"web\" is named again on line 3"),
            "{told}"
        );
    }

    #[test]
    fn a_procfile_without_an_entry_or_with_a_nul_is_refused() {
        assert_eq!(parse("# none\n").check(), Err(ProcfileError::Empty));
        let blank = parse("web : x\n").check().unwrap_err().to_string();
        assert!(
            blank.contains("line 1: a blank before the colon"),
            "{blank}"
        );
        assert_eq!(
            parse("a: b\nweb: a\0b\n").check(),
            Err(ProcfileError::Nul { line: 2 })
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_name_their_line() {
        assert_eq!(
            Procfile::parse(b"web: a\n# \xe9t\xe9\n"),
            Err(ProcfileError::NotUtf8 { line: 2 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(procfile) = Procfile::parse(&bytes) {
                let _ = procfile.check();
            }
        }

        #[test]
        fn whatever_is_kept_has_a_name_and_a_command(text in "([a-zA-Z_:#= \t\r\n\u{feff}\u{a0}-]|\\PC){0,80}") {
            for entry in parse(&text).entries {
                prop_assert!(entry.name.chars().all(is_name_character) && !entry.name.is_empty());
                prop_assert!(!entry.command.trim_matches(is_blank).is_empty());
            }
        }
    }
}
