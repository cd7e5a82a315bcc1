//! [`Progress`]: shows the steps of a deployment as they end: drawn over in place on a terminal, plain lines elsewhere.
//!
//! By hand, not by the crate `indicatif`: that draws to the terminal itself, past [`Output`].

use std::io;
use std::time::Instant;

use super::client::Client;
use super::latest::Latest;
use super::output::Output;
use crate::amounts::took;
use crate::install::record::{DeploymentRecord, DeploymentState, Step};

/// One per redraw.
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// Back to the first column and erase the line (ECMA-48 EL).
const CLEAR_LINE: &[u8] = b"\r\x1b[K";

/// What of a deployment was shown.
#[derive(Debug, Default)]
pub struct Progress {
    shown: usize,
    running: Option<(&'static str, Instant)>,
    frame: usize,
    latest: Latest,
}

impl Progress {
    /// Shows what `record` has that was not shown before.
    pub fn update(&mut self, record: &DeploymentRecord, out: &mut Output) -> io::Result<()> {
        if out.is_json() {
            return Ok(());
        }
        self.clear(out)?;
        for (step, time) in finished(record).skip(self.shown) {
            out.line(&format!("  {:<10} {:>10}", step.name(), took(time)))?;
            self.shown += 1;
        }
        self.draw_running(record, out)
    }

    /// As [`Progress::update`], on a terminal with what the running step of the deployment at `path` printed last.
    pub async fn show(
        &mut self,
        path: &str,
        record: &DeploymentRecord,
        client: &Client,
        out: &mut Output,
    ) -> io::Result<()> {
        if out.is_terminal() && !out.is_json() && running(record).is_some() {
            self.latest.look(path, client).await;
        }
        self.update(record, out)
    }

    /// Removes the line that is drawn over.
    pub fn clear(&mut self, out: &mut Output) -> io::Result<()> {
        if out.is_terminal() && self.running.is_some() {
            out.bytes(CLEAR_LINE)?;
        }
        Ok(())
    }

    fn draw_running(&mut self, record: &DeploymentRecord, out: &mut Output) -> io::Result<()> {
        let Some(name) = running(record) else {
            self.running = None;
            return Ok(());
        };
        // Timed here and not from `started`: the server's clock may be another.
        let since = match self.running {
            Some((shown, since)) if shown == name => since,
            _ => Instant::now(),
        };
        self.running = Some((name, since));
        if !out.is_terminal() {
            return Ok(());
        }
        self.frame = (self.frame + 1) % SPINNER.len();
        let time = took(since.elapsed().as_secs_f64());
        let step = format!("{} {name:<10} {time:>10}  ", SPINNER[self.frame]);
        let room = width().saturating_sub(step.chars().count() + 1);
        out.bytes(format!("{step}{}", cut(self.latest.of(name), room)).as_bytes())
    }
}

/// The columns of the terminal.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    // 0 is a terminal that does not know.
    if columns == 0 { 80 } else { columns.max(20) }
}

/// As much of `text` as fits: a line that wraps cannot be drawn over. A character that is not ASCII may take two columns.
fn cut(text: &str, room: usize) -> String {
    let narrow = |c: char| if c.is_ascii() { c } else { '?' };
    text.chars().map(narrow).take(room).collect()
}

fn finished(record: &DeploymentRecord) -> impl Iterator<Item = (Step, f64)> {
    record
        .steps
        .iter()
        .map_while(|step| step.seconds.map(|seconds| (step.step, seconds)))
}

fn running(record: &DeploymentRecord) -> Option<&'static str> {
    match record.state {
        DeploymentState::Waiting => Some("waiting"),
        DeploymentState::Running => {
            let step = record.steps.iter().find(|step| step.seconds.is_none());
            Some(step.map_or("working", |step| step.step.name()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(state: &str, steps: &[(&str, Option<f64>)]) -> DeploymentRecord {
        let now = "2026-11-22T10:00:00Z";
        let steps: Vec<_> = steps
            .iter()
            .map(|(step, seconds)| json!({"step": step, "started": now, "seconds": seconds}))
            .collect();
        serde_json::from_value(json!({"id": 1, "state": state, "started": now, "steps": steps}))
            .unwrap()
    }

    #[test]
    fn only_steps_that_are_over_are_lines() {
        let record = record("running", &[("fetch", Some(0.5)), ("install", None)]);
        assert_eq!(finished(&record).collect::<Vec<_>>(), [(Step::Fetch, 0.5)]);
        assert_eq!(running(&record), Some("install"));
    }

    #[test]
    fn what_is_printed_fits_on_the_line() {
        assert_eq!(cut("Receiving objects: 45%", 9), "Receiving");
        assert_eq!(cut("\u{6f22}x", 9), "?x");
    }

    #[test]
    fn nothing_runs_once_it_is_over() {
        assert_eq!(running(&record("failed", &[("fetch", None)])), None);
        assert_eq!(running(&record("waiting", &[])), Some("waiting"));
    }
}
