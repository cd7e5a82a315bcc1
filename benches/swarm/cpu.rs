//! CPU per request through a backend on another machine.

use std::process::Command;
use std::time::Duration;

use crate::Effort;
use crate::app::SIZE;
use crate::visits::Door;

const CONNECTIONS: &str = "64";

/// CPU microseconds per request: in the proxy's own code, and in the kernel for it; requests per second.
pub(crate) type Sample = [f64; 3];

/// Runs wrk against both in turn, round after round; the medians.
pub(crate) fn compare(subjects: [(Door, u32); 2], effort: &Effort) -> [Sample; 2] {
    let mut samples = [Vec::new(), Vec::new()];
    for (door, _) in subjects {
        load(door, Duration::from_secs(1));
    }
    for _ in 0..effort.rounds {
        for ((door, pid), samples) in subjects.into_iter().zip(&mut samples) {
            samples.push(sample(door, pid, effort.load));
        }
    }
    samples.map(|samples| [0, 1, 2].map(|part| median(samples.iter().map(|s| s[part]))))
}

fn sample(door: Door, pid: u32, time: Duration) -> Sample {
    let before = ticks(pid);
    let requests = load(door, time);
    let after = ticks(pid);
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let microseconds = |ticks: u64| ticks as f64 / per_second * 1e6 / requests;
    [
        microseconds(after.0 - before.0),
        microseconds(after.1 - before.1),
        requests / time.as_secs_f64(),
    ]
}

/// How many requests wrk has had answered with 200. Any other answer is an error of this bench.
fn load(door: Door, time: Duration) -> f64 {
    let output = Command::new("wrk")
        .args(["--threads", "1", "--timeout", "10s"])
        .args(["--connections", CONNECTIONS])
        .args(["--duration", &format!("{}s", time.as_secs())])
        .arg(format!("http://{}{}", door.address, door.path))
        .output()
        .expect("wrk is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_good = !text.contains("Non-2xx") && !text.contains("Socket errors");
    assert!(is_good, "{text}");
    let counted = text.lines().find(|line| line.contains(" requests in "));
    let counted = counted.and_then(|line| line.split_whitespace().next()?.parse().ok());
    counted.unwrap_or_else(|| panic!("wrk: {text}"))
}

/// Clock ticks of a process and its children so far: `utime` and `stime` of proc_pid_stat(5).
fn ticks(pid: u32) -> (u64, u64) {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    // The apps of ours are processes of machines, not of the daemon.
    let children = children.split_whitespace().filter_map(|c| c.parse().ok());
    let all = std::iter::once(pid).chain(children).filter_map(ticks_of);
    all.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1))
}

fn ticks_of(pid: u32) -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a table in Markdown.
pub(crate) fn print([ours, nginx]: [Sample; 2]) {
    println!(
        "\nCPU microseconds per request, {SIZE} B x {CONNECTIONS} connections, two backends on other machines:\n"
    );
    println!("| | user + system | requests/s |\n|---|---|---|");
    for (name, [user, system, rate]) in [("procserver", ours), ("nginx", nginx)] {
        println!("| {name} | {user:.1} + {system:.1} | {rate:.0} |");
    }
    let all = |[user, system, _]: Sample| user + system;
    println!(
        "| of nginx's: user, all | {:.2}, {:.2} | |",
        ours[0] / nginx[0],
        all(ours) / all(nginx)
    );
}
