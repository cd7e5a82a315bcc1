//! CPU and memory of a proxy, from `/proc`.

use std::fs;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::Effort;
use crate::load;
use crate::rows::{ROWS, Row};
use crate::subject::{Kind, Subject};

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU microseconds per request.
    pub(crate) cpu: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) errors: u64,
}

/// All runs.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<(&'static str, Kind, Sample)>);

impl Samples {
    pub(crate) fn add(&mut self, row: &'static str, kind: Kind, sample: Sample) {
        self.0.push((row, kind, sample));
    }

    /// The medians of a row; the errors are summed up.
    pub(crate) fn median(&self, row: &str, kind: Kind) -> Option<Sample> {
        let of_row = || {
            let those = self.0.iter().filter(|(r, k, _)| *r == row && *k == kind);
            those.map(|(_, _, sample)| *sample)
        };
        Some(Sample {
            cpu: median(of_row().map(|s| s.cpu).collect())?,
            rate: median(of_row().map(|s| s.rate).collect())?,
            errors: of_row().map(|s| s.errors).sum(),
        })
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Runs a row against a proxy once.
pub(crate) fn sample(subject: &Subject, row: &Row, effort: &Effort) -> Sample {
    let mut before = 0.0;
    let times = (effort.warm_up, effort.round);
    let done = load::run(subject.address, row, times, || before = cpu(subject));
    let cpu = cpu(subject) - before;
    Sample {
        cpu: cpu * 1e6 / done.requests as f64,
        rate: done.requests as f64 / done.time.as_secs_f64(),
        errors: done.errors,
    }
}

/// CPU seconds of a process, its threads and its children so far.
fn cpu(subject: &Subject) -> f64 {
    let ticks: u64 = subject.pids().into_iter().filter_map(ticks).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// `utime` and `stime` of proc_pid_stat(5), the 14th and 15th field; the second may have blanks.
fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// KiB that each of `connections` takes that has had one answer and waits.
pub(crate) fn idle_memory(subject: &Subject, connections: usize) -> f64 {
    let opened = async {
        let request = ROWS[0].requests().swap_remove(0);
        // What the first requests need once is no connection's.
        let mut open = Vec::new();
        let mut before = 0;
        for n in 0..connections + 50 {
            if n == 50 {
                before = resident(subject);
            }
            open.push(idle_connection(subject, &request).await);
        }
        resident(subject).saturating_sub(before)
    };
    crate::cores::runtime().block_on(opened) as f64 / connections as f64
}

async fn idle_connection(subject: &Subject, request: &[u8]) -> Option<TcpStream> {
    let mut space = vec![0; 16 * 1024];
    let mut stream = TcpStream::connect(subject.address).await.ok()?;
    stream.write_all(request).await.ok()?;
    load::answer(&mut stream, &mut space, ROWS[0].response)
        .await
        .ok()?;
    Some(stream)
}

/// KiB in memory.
fn resident(subject: &Subject) -> u64 {
    let of = |pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    subject.pids().into_iter().filter_map(of).sum()
}
