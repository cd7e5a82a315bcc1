//! Texts as pages show them (pure).

use std::fmt::Write as _;

use crate::terminal;

/// Text of an application without what is meant for terminals: sequences that begin with ESC, and control characters.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\u{1b}' if rest.next_if_eq(&'[').is_some() => {
                // Parameters and intermediates, then a final byte (ECMA-48 §5.4).
                while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                rest.next_if(|c| matches!(c, '@'..='~'));
            }
            '\t' => out.push('\t'),
            other if terminal::is_control(other) => {
                let _ = write!(out, "\u{fffd}");
            }
            other => out.push(other),
        }
    }
    out
}

/// A commit as people name it.
pub(super) fn short(commit: Option<&String>) -> &str {
    let commit = commit.map(String::as_str).unwrap_or_default();
    commit.get(..8).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_terminals_is_left_out() {
        for (text, wanted) in [
            ("a\tb", "a\tb"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x", "\u{fffd}]0;title\u{fffd}x"),
            ("\u{1b}", "\u{fffd}"),
            ("\u{1b}[", ""),
            ("a\u{202e}b", "a\u{fffd}b"),
        ] {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
    }
}
