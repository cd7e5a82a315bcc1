//! `.env`, exactly as foreman 0.87 reads it (pure).
//!
//! Foreman folds CRLF to LF, splits at LF and keeps every line that matches `\A([A-Za-z_0-9]+)=(.*)\z`. One pair of
//! single quotes around the whole value is dropped; within one pair of double quotes `\n` is a newline and a backslash
//! before any other character is dropped. There is no `export`, no expansion, no comment after a value, no value of
//! several lines. Lines it ignores are warnings here; a byte-order mark is stripped; bytes that are not UTF-8 are an
//! error. Warnings name lines and variables, never values: those may be secret.

use std::collections::BTreeMap;

use super::lines::{Warnings, is_blank, lines};

/// A parsed `.env`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Dotenv {
    /// The variables; the last assignment of a name wins.
    pub variables: BTreeMap<String, String>,
    /// What foreman would ignore without a word, each with its line.
    pub warnings: Vec<String>,
}

/// Why a `.env` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DotenvError {
    /// Bytes that are not UTF-8.
    #[error(".env line {line} is not UTF-8: save the file as UTF-8")]
    NotUtf8 {
        /// From 1.
        line: usize,
    },
}

impl Dotenv {
    /// Reads a `.env`.
    ///
    /// # Errors
    /// [`DotenvError::NotUtf8`] only.
    pub fn parse(bytes: &[u8]) -> Result<Self, DotenvError> {
        let mut warnings = Warnings::of(".env");
        let lines = lines(bytes, &mut warnings).map_err(|line| DotenvError::NotUtf8 { line })?;
        let mut variables = BTreeMap::new();
        for (line, content) in lines {
            let Some((name, value)) = split_assignment(content) else {
                warnings.add(line, reason_ignored(content));
                continue;
            };
            for reason in doubts(name, value) {
                warnings.add(line, &reason);
            }
            if variables.insert(name.to_owned(), unquoted(value)).is_some() {
                let reason = format!("{name} was set before; this line wins");
                warnings.add(line, &reason);
            }
        }
        Ok(Self {
            variables,
            warnings: warnings.texts,
        })
    }
}

/// Why an assignment may not do what its author meant.
fn doubts(name: &str, value: &str) -> Vec<String> {
    let mut doubts = Vec::new();
    if value.contains('\0') {
        doubts.push(format!(
            "{name} has a NUL byte, so no process can be given it"
        ));
    }
    doubts.extend(misread(value).map(|reason| format!("{name} {reason}")));
    if !fits(name, &unquoted(value)) {
        doubts.push(format!(
            "{name} is longer than 128 KiB, so no process can be given it"
        ));
    }
    doubts
}

/// Bytes of a variable as `NAME=value`, with the NUL after it (execve(2), `MAX_ARG_STRLEN`).
const MAX_VARIABLE: usize = 128 * 1024;

/// Whether a variable is as short as Linux demands.
pub(crate) fn fits(name: &str, value: &str) -> bool {
    name.len() + value.len() + 2 <= MAX_VARIABLE
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn split_assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    (!name.is_empty() && name.chars().all(is_name_character)).then_some((name, value))
}

/// Values that other readers understand differently: of several lines, or with a comment behind.
fn misread(value: &str) -> Option<&'static str> {
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let ends = |q: char| value.len() > 1 && value.ends_with(q);
    let comment = "has \" #\" in it: a comment behind a value belongs to the value, give it a line of its own";
    match quote {
        Some(q) if ends(q) => None,
        Some(q) if value[1..].contains(q) && value.contains(" #") => Some(comment),
        Some(_) => Some(
            "begins with a quote that does not end on its line: a value is one line, within double quotes \\n is a line's end",
        ),
        None if value.contains(" #") => Some(comment),
        None => None,
    }
}

fn unquoted(value: &str) -> String {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    match (within('\''), within('"')) {
        (Some(inner), _) => inner.to_owned(),
        (_, Some(inner)) => unescaped(inner),
        _ => value.to_owned(),
    }
}

/// Foreman's two substitutions in their order: `\n` becomes a newline everywhere, also where the backslash was itself
/// escaped; then each backslash is dropped before the next character, which is not a newline (Ruby's `.`).
fn unescaped(inner: &str) -> String {
    let text = inner.replace("\\n", "\n");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            None => out.push('\\'),
            Some('\n') => out.push_str("\\\n"),
            Some(escaped) => out.push(escaped),
        }
    }
    out
}

/// Why foreman would ignore a line that is neither blank nor a comment.
fn reason_ignored(line: &str) -> &'static str {
    match line.split_once('=') {
        None => "no NAME=value, so it was skipped",
        Some((name, _)) if name.starts_with("export ") => {
            "\"export\" is not understood here, so it was skipped: write NAME=value"
        }
        Some((name, _)) if name.starts_with(is_blank) => {
            "it begins with a blank, so it was skipped: names start in the first column"
        }
        Some((name, _)) if name.ends_with(is_blank) => {
            "a blank before the =, so it was skipped: write NAME=value"
        }
        Some(_) => "not a name before the = (letters, digits and _ only), so it was skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Dotenv {
        Dotenv::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn each_ignored_line_is_named_and_no_value_is_told() {
        let dotenv = parse("A=1\nexport TOKEN=hunter2\n B=hunter2\nC =hunter2\nhunter2\n# no\n\n");
        assert_eq!(dotenv.variables.len(), 1);
        let lines: Vec<_> = dotenv
            .warnings
            .iter()
            .map(|w| w.split(": ").next().unwrap())
            .collect();
        assert_eq!(
            lines,
            [".env line 2", ".env line 3", ".env line 4", ".env line 5"]
        );
        assert!(!dotenv.warnings.concat().contains("hunter2"));
    }

    #[test]
    fn what_others_read_as_something_else_is_told() {
        let dotenv = parse("A=\"-----BEGIN\nB=1 # one\nC='x' # y\nD='a # b'\nE=\"it's\"\nF=a#b\n");
        let told: Vec<_> = dotenv
            .warnings
            .iter()
            .map(|w| w.split_once(": ").unwrap().1)
            .collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("A begins with a quote") && !told[0].contains("BEGIN"));
        assert!(told[1].starts_with("B has \" #\"") && told[2].starts_with("C has \" #\""));
    }

    #[test]
    fn a_second_assignment_wins_and_is_told() {
        let dotenv = parse("A=1\nA=2\n");
        assert_eq!(dotenv.variables["A"], "2");
        assert_eq!(
            dotenv.warnings,
            [".env line 2: A was set before; this line wins"]
        );
    }

    #[test]
    fn a_value_that_no_process_can_be_given_is_told() {
        let dotenv = parse(&format!("A=1\nB={}\n", "x".repeat(128 * 1024)));
        let told = ".env line 2: B is longer than 128 KiB, so no process can be given it";
        assert_eq!(dotenv.warnings, [told]);
    }

    #[test]
    fn bytes_that_are_not_utf8_name_their_line() {
        assert_eq!(
            Dotenv::parse(b"A=1\nB=\xff\n"),
            Err(DotenvError::NotUtf8 { line: 2 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Dotenv::parse(&bytes);
        }

        #[test]
        fn a_plain_value_is_kept_as_written(value in "[^\n\r'\"][^\n\r]{0,40}") {
            let dotenv = parse(&format!("NAME={value}\n"));
            prop_assert_eq!(&dotenv.variables["NAME"], &value);
        }
    }
}
