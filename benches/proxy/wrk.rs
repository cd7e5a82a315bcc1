//! The load of `wrk` (Debian's package), in a process of its own on the load's core.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::load::Done;
use crate::rows::Row;
use crate::subject::Subject;

/// Runs `row`. wrk counts in whole seconds.
pub(crate) fn run(subject: &Subject, row: &Row, time: Duration) -> Done {
    let script = script(&subject.directory, row);
    let seconds = time.as_secs().max(1);
    let start = Instant::now();
    let output = Command::new("wrk")
        .args(["--threads", "1", "--timeout", "10s"])
        .args(["--connections", &row.connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg("--script")
        .arg(script)
        .arg(match row.tls {
            true => format!("https://{}/{}", subject.tls_address, row.response),
            false => format!("http://{}/{}", subject.address, row.response),
        })
        .output()
        .expect("wrk is installed");
    let time = start.elapsed();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let [requests, bytes, errors] = counts(&text).unwrap_or_else(|| panic!("wrk: {text}"));
    // It looks at no response but for its status: whole ones are told by their bytes, of which heads are some.
    let are_whole = bytes >= requests * row.response as u64;
    Done {
        requests,
        errors: if are_whole { errors } else { requests },
        time,
    }
}

/// What [`script`] has it say at its end.
fn counts(text: &str) -> Option<[u64; 3]> {
    let (_, counts) = text.split_once("counted: ")?;
    let counts: Option<Vec<u64>> = counts
        .lines()
        .next()?
        .split(' ')
        .map(|count| count.parse().ok())
        .collect();
    counts?.try_into().ok()
}

/// What is asked, in Lua, in a file beside the subject's. Errors of reading are left out: with a connection for each
/// request, wrk counts the end of each one among them.
fn script(directory: &Path, row: &Row) -> PathBuf {
    let mut lines = vec![
        format!("wrk.headers[\"Host\"] = \"{}\"", row.host(0)),
        "function done(summary)
  local e = summary.errors
  local errors = e.connect + e.write + e.timeout + e.status
  print(string.format(\"counted: %d %d %d\", summary.requests, summary.bytes, errors))
end"
        .to_owned(),
    ];
    if row.fresh {
        lines.push("wrk.headers[\"Connection\"] = \"close\"".to_owned());
    }
    if row.upload > 0 {
        lines.push("wrk.method = \"POST\"".to_owned());
        lines.push(format!("wrk.body = string.rep(\"u\", {})", row.upload));
    }
    if row.hosts > 1 {
        // Made once, as in the other load.
        let (hosts, host) = (row.hosts, row.host);
        lines.push(format!(
            "local made, n = {{}}, 0
function init()
  for n = 1, {hosts} do
    wrk.headers[\"Host\"] = \"www\" .. n .. \".{host}\"
    made[n] = wrk.format()
  end
end
function request()
  n = n % {hosts} + 1
  return made[n]
end"
        ));
    }
    let path = directory.join(format!("{}.lua", row.name));
    std::fs::write(&path, lines.join("\n")).expect("the temporary directory is ours");
    path
}
