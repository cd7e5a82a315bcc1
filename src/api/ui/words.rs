//! Numbers and texts as pages show them (pure).

use std::fmt::Write as _;

use crate::terminal;

/// A number of seconds, roughly.
pub(super) fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long something took.
pub(super) fn took(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1000.0),
        ..120.0 => format!("{seconds:.1} s"),
        _ => span(seconds as i64),
    }
}

/// A number of bytes.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= 1024.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

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

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, wanted) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (50 << 20, "50 MiB"),
        ] {
            assert_eq!(size(bytes), wanted);
        }
        assert_eq!(
            (span(119), span(180), span(86_400 * 3)),
            ("119 s".into(), "3 min".into(), "3 days".into())
        );
        assert_eq!(
            (took(0.289), took(1.04), took(300.0)),
            ("289 ms".into(), "1.0 s".into(), "5 min".into())
        );
    }
}
