//! [`Output`]: what a verb says, for people or as JSON. A closed pipe is an error of kind `BrokenPipe`, which `main`
//! takes as the end.

use std::io::{self, IsTerminal, Write};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use crate::amounts;

/// Where a verb's answer goes.
pub struct Output {
    json: bool,
    terminal: bool,
    to: Box<dyn Write>,
}

impl Output {
    /// Standard output.
    #[must_use]
    pub fn stdout(json: bool) -> Self {
        Self {
            json,
            terminal: io::stdout().is_terminal(),
            to: Box::new(io::stdout()),
        }
    }

    /// Nowhere.
    #[must_use]
    pub fn discard() -> Self {
        Self {
            json: false,
            terminal: false,
            to: Box::new(io::sink()),
        }
    }

    /// Whether JSON was asked for: then nothing else may be written.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person watches: lines may be drawn over.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Makes the names in the first column of `rows` fit a terminal: that of a preview is long. Programs get the whole.
    #[must_use]
    pub fn with_short_names(&self, mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
        if self.terminal {
            for name in rows.iter_mut().filter_map(|row| row.first_mut()) {
                *name = short(name);
            }
        }
        rows
    }

    /// One line.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.to, "{text}")?;
        self.to.flush()
    }

    /// A sentence for people where the answer is empty, on stderr: programs read an empty answer.
    pub fn note(&self, text: &str) {
        if !self.json {
            // Nothing is left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.to.flush()
    }

    /// A document, indented.
    pub fn json(&mut self, value: &Value) -> io::Result<()> {
        self.line(&format!("{value:#}"))
    }

    /// Rows under their headings, each column as wide as its widest cell.
    pub fn table(&mut self, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        for line in aligned(headings, rows) {
            self.line(&line)?;
        }
        Ok(())
    }
}

/// The beginning and the end of a name, by which previews of one application differ. Names are ASCII.
fn short(name: &str) -> String {
    let (begin, end) = (name.get(..16), name.len().checked_sub(15));
    match (begin, end.and_then(|end| name.get(end..))) {
        (Some(begin), Some(end)) if name.len() > 32 => format!("{begin}…{end}"),
        _ => name.to_owned(),
    }
}

fn aligned(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(headings)
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines();
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// The text of a field, or `-` where there is none.
#[must_use]
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The applications that something is for: their names, or `all`.
#[must_use]
pub fn apps(value: &Value) -> String {
    value.as_array().map_or("all".to_owned(), |apps| {
        apps.iter().map(cell).collect::<Vec<_>>().join(" ")
    })
}

/// A time as people read it: whole seconds of `2026-11-22T10:15:30.123456789Z`; other text stays as it is.
#[must_use]
pub fn time(value: &Value) -> String {
    let text = cell(value);
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => format!("{time:.0}"),
        Err(_) => text,
    }
}

/// An amount of memory as a person reads it, or `-` for none.
#[must_use]
pub fn bytes(amount: u64) -> String {
    match amount {
        0 => "-".into(),
        some => amounts::size(some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["a".into(), "running".into()],
            vec!["longer".into(), "-".into()],
        ];
        assert_eq!(
            aligned(&["NAME", "STATE"], &rows),
            ["NAME    STATE", "a       running", "longer  -"]
        );
        // A Chinese character takes two columns.
        let wide = vec![
            vec!["\u{6f22}".into(), "x".into()],
            vec!["abc".into(), "y".into()],
        ];
        assert_eq!(
            aligned(&["", "B"], &wide),
            ["     B", "\u{6f22}   x", "abc  y"]
        );
    }

    #[test]
    fn long_names_keep_both_ends() {
        let name = "hello-feature-a-login-page-for-all-who-forgot-3f2a91";
        assert_eq!(short(name), "hello-feature-a-…o-forgot-3f2a91");
        assert_eq!(short(&name[..32]), name[..32]);
        assert_eq!(short("blog"), "blog");
    }
}
