//! Reads the newest of the events that are kept.

use std::io;

use jiff::Timestamp;
use serde_json::Value;

use super::writer::EventFiles;
use crate::logs::rotating_file;

/// So many lines in a row that are too old are the end: the clock may have been set between two.
const OLD_IN_A_ROW: usize = 100;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The most lines.
    pub tail: usize,
    pub since: Option<Timestamp>,
    /// Only of this application.
    pub app: Option<String>,
    pub kinds: Kinds,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            tail: usize::MAX,
            since: None,
            app: None,
            kinds: Kinds::default(),
        }
    }
}

/// Names of events, or what they begin with up to a dot; empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds(Vec<String>);

impl Kinds {
    /// Reads `deployment,process.exited`.
    ///
    /// # Errors
    /// What is wanted instead.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_name = |name: &&str| {
            let known = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_');
            !name.is_empty() && name.len() <= 40 && name.bytes().all(known)
        };
        let names: Vec<&str> = text.split(',').collect();
        match names.len() <= 20 && names.iter().all(is_name) {
            true => Ok(Self(names.into_iter().map(str::to_owned).collect())),
            false => Err(
                "must be names of events, or their first part, such as \"deployment,process.exited\"",
            ),
        }
    }

    #[must_use]
    pub fn has(&self, event: &str) -> bool {
        let is_of = |name: &String| {
            let rest = event.strip_prefix(&**name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.is_empty() || self.0.iter().any(is_of)
    }
}

/// The newest events that are wished for, of those that who wishes `sees`, oldest first. What is no JSON is left out. Blocks.
///
/// # Errors
/// A file cannot be read.
pub fn newest(
    files: &EventFiles,
    wish: &Wish,
    sees: impl Fn(&Value) -> bool,
) -> io::Result<Vec<Value>> {
    let (mut lines, mut old) = (Vec::new(), 0);
    if wish.tail == 0 {
        return Ok(lines);
    }
    rotating_file::each_backward(&files.path, files.files, |line| {
        let Ok(line) = serde_json::from_slice::<Value>(line) else {
            return true;
        };
        let time = line["time"].as_str().and_then(|time| time.parse().ok());
        if wish
            .since
            .is_some_and(|since| time.is_none_or(|time: Timestamp| time < since))
        {
            old += 1;
            return old < OLD_IN_A_ROW;
        }
        old = 0;
        let is_of_app = wish.app.as_ref().is_none_or(|app| line["app"] == **app);
        let event = line["event"].as_str().unwrap_or_default();
        if is_of_app && wish.kinds.has(event) && sees(&line) {
            lines.push(line);
        }
        lines.len() < wish.tail
    })?;
    lines.reverse();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_names_or_their_first_parts() {
        let kinds = Kinds::parse("deployment,process.exited").unwrap();
        for (event, has) in [
            ("deployment.started", true),
            ("process.exited", true),
            ("process.started", false),
            ("deployments.x", false),
        ] {
            assert_eq!(kinds.has(event), has, "{event}");
        }
        assert!(Kinds::default().has("x"));
        for wrong in ["", "a,,b", "A", "a b"] {
            assert!(Kinds::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_asked_for_is_found_from_the_end() {
        let home = tempfile::tempdir().unwrap();
        let files = EventFiles::below(home.path(), 1);
        std::fs::create_dir(home.path().join("logs")).unwrap();
        let line = |hour: u32, app: &str, event: &str| {
            format!(
                "{{\"time\":\"2026-11-30T{hour:02}:00:00Z\",\"app\":\"{app}\",\"event\":\"{event}\"}}\n"
            )
        };
        let text = line(1, "a", "x.a") + "rubbish\n" + &line(2, "b", "x.a") + &line(3, "a", "y.a");
        std::fs::write(&files.path, text + "torn").unwrap();
        let hours = |wish: Wish| -> Vec<String> {
            let found = newest(&files, &wish, |_| true).unwrap();
            found
                .iter()
                .map(|line| line["time"].as_str().unwrap()[11..13].to_owned())
                .collect()
        };
        assert_eq!(hours(Wish::default()), ["01", "02", "03"]);
        let tail = Wish {
            tail: 2,
            ..Wish::default()
        };
        assert_eq!(hours(tail), ["02", "03"]);
        let of_app = Wish {
            app: Some("a".to_owned()),
            ..Wish::default()
        };
        assert_eq!(hours(of_app), ["01", "03"]);
        let since = "2026-11-30T02:00:00Z".parse().ok();
        assert_eq!(
            hours(Wish {
                since,
                ..Wish::default()
            }),
            ["02", "03"]
        );
        let kinds = Kinds::parse("x").unwrap();
        assert_eq!(
            hours(Wish {
                kinds,
                ..Wish::default()
            }),
            ["01", "02"]
        );
    }
}
