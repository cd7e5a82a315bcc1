//! The load of `wrk` (Debian's package), in a process of its own on the load's core.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::load::Done;
use crate::rows::Row;
use crate::subject::Subject;

/// Whether it is installed.
pub(crate) fn is_there() -> bool {
    let mut command = Command::new("wrk");
    command.arg("--version").stdout(Stdio::null());
    command.stderr(Stdio::null()).status().is_ok()
}

/// Runs `row` once to warm up and once to be measured, between which `begin` is called.
pub(crate) fn run(
    subject: &Subject,
    row: &Row,
    (warm_up, round): (Duration, Duration),
    begin: impl FnOnce(),
) -> Done {
    let script = script(&subject.directory, row);
    once(subject, row, &script, warm_up);
    begin();
    once(subject, row, &script, round)
}

/// wrk counts in whole seconds.
fn once(subject: &Subject, row: &Row, script: &Path, time: Duration) -> Done {
    let seconds = time.as_secs().max(1);
    let start = Instant::now();
    let output = Command::new("wrk")
        .args(["--threads", "1", "--timeout", "10s"])
        .args(["--connections", &row.connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg("--script")
        .arg(script)
        .arg(format!("http://{}/{}", subject.address, row.response))
        .output()
        .expect("wrk is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Done {
        requests: number_before(&text, " requests in ").unwrap_or(0),
        errors: errors(&text),
        time: start.elapsed(),
    }
}

/// `Socket errors: connect 0, read 3, write 0, timeout 0` and `Non-2xx or 3xx responses: 5`. With a connection for each
/// request, wrk counts the end of each one among its reads.
fn errors(text: &str) -> u64 {
    let sockets = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("Socket errors: "));
    let of = |word: &str| {
        let counts = sockets.into_iter().flat_map(|line| line.split(", "));
        counts
            .filter_map(|count| count.strip_prefix(word)?.trim().parse::<u64>().ok())
            .sum::<u64>()
    };
    let refused = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("Non-2xx or 3xx responses: "));
    let refused = refused.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    of("connect ") + of("write ") + of("timeout ") + refused
}

fn number_before(text: &str, words: &str) -> Option<u64> {
    let (before, _) = text.split_once(words)?;
    before.split_whitespace().next_back()?.parse().ok()
}

/// What is asked, in Lua, in a file beside the subject's.
fn script(directory: &Path, row: &Row) -> PathBuf {
    let mut lines = vec![format!("wrk.headers[\"Host\"] = \"{}\"", row.host(0))];
    if row.fresh {
        lines.push("wrk.headers[\"Connection\"] = \"close\"".to_owned());
    }
    if row.upload > 0 {
        lines.push("wrk.method = \"POST\"".to_owned());
        lines.push(format!("wrk.body = string.rep(\"u\", {})", row.upload));
    }
    if row.hosts > 1 {
        let hosts = row.hosts;
        let host = row.host.to_owned();
        lines.push(format!(
            "local n = 0
function request()
  n = (n + 1) % {hosts}
  wrk.headers[\"Host\"] = \"www\" .. n .. \".{host}\"
  return wrk.format()
end"
        ));
    }
    let path = directory.join(format!("{}.lua", row.name));
    std::fs::write(&path, lines.join("\n")).expect("the temporary directory is ours");
    path
}
