//! `GET /metrics`: what was done is what is counted, and who sees it.

mod listener;
mod numbers;
mod shipped;

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::http::{Request, Response};
use crate::support::machine::has;
use crate::support::server::Server;
use crate::support::wait::{SOON, within};

/// A series, and its value.
struct Metrics(String);

impl Metrics {
    /// What the server shows once `has` it all: what was counted may be a second old.
    #[track_caller]
    fn once(server: &Server, has: impl Fn(&Self) -> bool) -> Self {
        let mut last = String::new();
        let found = within(SOON, || {
            let metrics = Self::of(&server.get("/metrics"));
            last.clone_from(&metrics.0);
            has(&metrics).then_some(metrics)
        });
        found.unwrap_or_else(|| panic!("the metrics are not as wanted:\n{last}"))
    }

    #[track_caller]
    fn of(response: &Response) -> Self {
        assert_eq!(response.status, 200);
        Self(response.text())
    }

    /// The value of a series; `series` is written as it is shown.
    fn get(&self, series: &str) -> Option<f64> {
        let mut lines = self.0.lines();
        let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    fn is(&self, series: &str, value: f64) -> bool {
        self.get(series) == Some(value)
    }

    fn has_app(&self, app: &str) -> bool {
        self.0.contains(&format!("app=\"{app}\""))
    }
}

fn has_promtool() -> bool {
    has("promtool", "prometheus", "what promtool says of metrics")
}

/// Has promtool check the format and the names.
#[track_caller]
fn promtool(metrics: &str) {
    if !has_promtool() {
        return;
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let ended = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    assert!(ended.status.success() && said.is_empty(), "{said}");
}
