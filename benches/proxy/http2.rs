//! Rows by HTTP/2, with the load of `h2load` (Debian: `nghttp2-client`) in a process of its own on the load's core.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::load::Done;
use crate::rows::{Row, SMALL};
use crate::subject::Subject;

/// Requests of a connection at a time.
const STREAMS: usize = 100;

/// All of them.
pub(crate) const ROWS: [Row; 2] = [
    Row {
        name: "http2",
        title: "128 B x 4 connections of 100 streams, HTTP/2",
        connections: 4,
        tls: true,
        http2: true,
        ..SMALL
    },
    Row {
        name: "http2-large",
        title: "64 KiB x 4 connections of 100 streams, HTTP/2",
        connections: 4,
        response: 64 * 1024,
        tls: true,
        http2: true,
        ..SMALL
    },
];

/// Runs `row`. h2load counts in whole seconds, too. Its windows are those of a browser: 6 MiB a stream, 15 MiB a
/// connection.
pub(crate) fn run(subject: &Subject, row: &Row, time: Duration) -> Done {
    let seconds = time.as_secs().max(1);
    let start = Instant::now();
    let output = Command::new("h2load")
        .args(["-t", "1", "-w", "23", "-W", "24"])
        .args(["-c", &row.connections.to_string()])
        .args(["-m", &STREAMS.to_string()])
        .args(["-D", &seconds.to_string()])
        .arg(format!("--connect-to={}", subject.tls_address))
        .arg(format!("https://{}/{}", row.host(0), row.response))
        .output()
        .expect("h2load is installed");
    let time = start.elapsed();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts = counts(&text).unwrap_or_else(|| panic!("h2load: {text}"));
    let are_whole = counts.bytes >= counts.succeeded * row.response as u64;
    let is_http2 = text.contains("Application protocol: h2\n");
    Done {
        requests: counts.succeeded,
        errors: match are_whole && is_http2 {
            true => counts.failed,
            false => counts.succeeded,
        },
        time,
    }
}

/// What it says at its end.
struct Counts {
    succeeded: u64,
    failed: u64,
    /// Of bodies.
    bytes: u64,
}

/// Reads `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout` and
/// `traffic: 1.2MB (1234) total, 1B (1) headers (space savings 79%), 1MB (1200) data`.
fn counts(text: &str) -> Option<Counts> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let of = |word: &str| {
        let parts = line("requests: ")?.split(", ");
        let number = parts.filter_map(|part| part.strip_suffix(word)).next()?;
        number.trim().parse::<u64>().ok()
    };
    let (data, _) = line("traffic: ")?.rsplit_once(") data")?;
    let (_, bytes) = data.rsplit_once('(')?;
    Some(Counts {
        succeeded: of("succeeded")?,
        failed: of("failed")? + of("errored")? + of("timeout")?,
        bytes: bytes.parse().ok()?,
    })
}
