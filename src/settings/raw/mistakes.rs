//! What to say of a settings file that is no TOML of ours, beyond what the reader says.

use super::RawSettings;

/// What is wrong at `offset` of `text`, and where what it meets or belongs to is.
pub(super) fn explained(message: &str, text: &str, offset: usize) -> String {
    let message = message.trim().replace('\n', "; ");
    let known = match message.strip_prefix("unknown field `") {
        Some(rest) => rest
            .split('`')
            .next()
            .and_then(|field| misplaced(field, text, offset)),
        None if message.starts_with("duplicate key") => duplicate(text, offset),
        None => None,
    };
    match known {
        Some(known) => format!("{message}: {known}"),
        None => message,
    }
}

/// The header of a table, `[engine.swarm]`, if the line is one.
fn header(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.starts_with('[')
        .then(|| line.split_inclusive(']').next().unwrap_or(line))
}

/// The key that a line gives a value.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    (!line.trim_start().starts_with('#')).then(|| key.trim())
}

/// The lines up to that of `offset`.
fn lines_to(text: &str, offset: usize) -> Vec<&str> {
    let before = text.get(..offset).unwrap_or_default();
    let count = before.matches('\n').count() + 1;
    text.split('\n').take(count).collect()
}

/// Of a key or table that is there twice: which, and where it stands first.
fn duplicate(text: &str, offset: usize) -> Option<String> {
    let lines = lines_to(text, offset);
    let (last, before) = lines.split_last()?;
    let (what, first) = match header(last) {
        Some(table) => {
            let first = before.iter().position(|line| header(line) == Some(table));
            (table.to_owned(), first?)
        }
        None => {
            let own = key(last)?;
            let table = before.iter().rposition(|line| header(line).is_some());
            let table = table.map_or(0, |at| at + 1);
            let mut of_table = before.iter().skip(table);
            let first = of_table.position(|line| key(line) == Some(own));
            (own.to_owned(), table + first?)
        }
    };
    let first = first + 1;
    Some(format!(
        "{what} stands in line {first} already: write there what this says"
    ))
}

/// Of a key that is none of its table's, and one of the settings outside of tables.
fn misplaced(field: &str, text: &str, offset: usize) -> Option<String> {
    let lines = lines_to(text, offset);
    let table = lines.iter().rev().find_map(|line| header(line))?;
    let alone = toml::from_str::<RawSettings>(&format!("{field} = 0\n"));
    let is_unknown = alone.is_err_and(|error| error.message().starts_with("unknown field"));
    (!is_unknown).then(|| {
        format!("`{field}` is not of {table}: it belongs above the first [table] of the file")
    })
}
