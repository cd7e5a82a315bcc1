//! [`Latest`]: the newest line of what a deployment prints, for the line on a terminal that shows its running step: git,
//! apt-get and others say there how much they have done of what.

use std::time::{Duration, Instant};

use awc::http::Method;

use super::client::{Call, Client};
use crate::terminal::Shown;

/// How often it is asked for.
const EVERY: Duration = Duration::from_millis(500);

/// The newest line.
#[derive(Debug, Default)]
pub struct Latest {
    asked: Option<Instant>,
    /// The step that printed it, and what it printed.
    line: Option<(String, String)>,
}

impl Latest {
    /// Asks for it where the last answer is old. `path` is that of the deployment.
    pub async fn look(&mut self, path: &str, client: &Client) {
        if self.asked.is_some_and(|asked| asked.elapsed() < EVERY) {
            return;
        }
        self.asked = Some(Instant::now());
        let Some((app, id)) = path.split_once("/deployments/") else {
            return;
        };
        let call = Call::new(
            Method::GET,
            format!("{app}/logs/install?tail=1&release={id}"),
        );
        let Ok(mut pieces) = client.open(&call, "text/plain").await else {
            return;
        };
        let mut text = Vec::new();
        while let Ok(Some(piece)) = pieces.next().await {
            text.extend_from_slice(&piece);
        }
        self.line = read(&text);
    }

    /// What `step` printed last.
    #[must_use]
    pub fn of(&self, step: &str) -> &str {
        match &self.line {
            Some((of, text)) if of == step => text,
            _ => "",
        }
    }
}

/// Takes `TIME STEP | text` apart. The text comes from a build of somebody: it may only be read.
fn read(line: &[u8]) -> Option<(String, String)> {
    let mut shown = Shown::new(false);
    let mut text = shown.piece(line);
    text.extend(shown.end());
    let text = String::from_utf8(text).ok()?;
    let (head, text) = text.trim_end().split_once(" | ")?;
    let step = head.rsplit(' ').next()?;
    Some((step.to_owned(), text.replace(['\t', '\n'], " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_of_its_step_and_draws_nothing() {
        let mut latest = Latest::default();
        assert_eq!(latest.of("fetch"), "");
        latest.line = read(b"2026-11-22T10:15:30.123456Z fetch | \x1b[31mReceiving\x1b[2J: 4%\n");
        assert_eq!(latest.of("fetch"), "Receiving\\x1b[2J: 4%");
        assert_eq!(latest.of("install"), "");
        assert_eq!(read(b""), None);
    }
}
