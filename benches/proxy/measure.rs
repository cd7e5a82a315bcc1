//! CPU and memory of a proxy, from `/proc`.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Effort;
use crate::http2;
use crate::load;
use crate::origin::Style;
use crate::rows::{ROWS, Row};
use crate::subject::{Kind, Subject};
use crate::tls::Tls;
use crate::wrk;

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU microseconds per request, in the proxy's own code.
    pub(crate) user: f64,
    /// And in the kernel for it.
    pub(crate) system: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) errors: u64,
}

impl Sample {
    pub(crate) fn total(&self) -> f64 {
        self.user + self.system
    }
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
            user: median(of_row().map(|s| s.user).collect())?,
            system: median(of_row().map(|s| s.system).collect())?,
            rate: median(of_row().map(|s| s.rate).collect())?,
            errors: of_row().map(|s| s.errors).sum(),
        })
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// How long what was just deployed may take to answer.
const UP: Duration = Duration::from_secs(60);

/// Asks once on a connection for each host of a row, which must be answered with 200 and a body of the right size.
pub(crate) fn check(subject: &Subject, row: &Row) {
    let until = Instant::now() + UP;
    let mut space = vec![0; 16 * 1024];
    let asked = async {
        for (n, request) in row.requests().into_iter().enumerate() {
            while let Err(error) = ask_once(subject, row, (n, &request), &mut space).await {
                let (name, row) = (subject.kind.name(), row.name);
                assert!(Instant::now() < until, "{name}, {row}: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    crate::cores::runtime().block_on(asked);
}

async fn ask_once(
    subject: &Subject,
    row: &Row,
    (n, request): (usize, &[u8]),
    space: &mut [u8],
) -> io::Result<()> {
    let mut stream = TcpStream::connect(subject.address_of(row)).await?;
    if row.tls {
        let mut stream = Tls::of(row).connect(stream, n).await?;
        stream.write_all(request).await?;
        stream.flush().await?;
        return load::answer(&mut stream, space, row.response).await;
    }
    stream.write_all(request).await?;
    load::answer(&mut stream, space, row.response).await
}

/// Runs a row against a proxy once; wrk, whose times are whole seconds, warms up in the `first` round only.
pub(crate) fn sample(
    subject: &Subject,
    row: &Row,
    style: Style,
    effort: &Effort,
    first: bool,
) -> Sample {
    let mut before = (0, 0);
    let (warm_up, round) = (effort.warm_up, effort.round);
    let mut begin = || before = ticks(subject);
    let done = match style {
        Style::OneThread => load::run(subject, row, (warm_up, round), begin),
        Style::Threads => {
            let warm_up = if first { warm_up } else { Duration::ZERO };
            // Rounded up.
            let round = Duration::from_secs(round.as_millis().div_ceil(1000) as u64);
            let run = match row.http2 {
                true => http2::run,
                false => wrk::run,
            };
            if !warm_up.is_zero() {
                run(subject, row, warm_up);
            }
            begin();
            run(subject, row, round)
        }
    };
    let after = ticks(subject);
    let microseconds = |ticks: u64| {
        let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        seconds * 1e6 / done.requests as f64
    };
    Sample {
        user: microseconds(after.0 - before.0),
        system: microseconds(after.1 - before.1),
        rate: done.requests as f64 / done.time.as_secs_f64(),
        errors: done.errors,
    }
}

/// Clock ticks of the proxy so far: in its own code, and in the kernel.
fn ticks(subject: &Subject) -> (u64, u64) {
    let all = subject.pids().into_iter().filter_map(ticks_of);
    all.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1))
}

/// `utime` and `stime` of proc_pid_stat(5), the 14th and 15th field; the second may have blanks.
fn ticks_of(pid: u32) -> Option<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// KiB that each of `connections` takes that has had one answer and waits; with `tls`, by HTTPS.
pub(crate) fn idle_memory(subject: &Subject, connections: usize, tls: Option<&Tls>) -> f64 {
    let opened = async {
        let request = ROWS[0].requests().swap_remove(0);
        // What the first requests need once is no connection's.
        let mut open = Vec::new();
        let mut before = 0;
        for n in 0..connections + 50 {
            if n == 50 {
                before = resident(subject);
            }
            open.push(idle_connection(subject, &request, tls).await);
        }
        resident(subject).saturating_sub(before)
    };
    crate::cores::runtime().block_on(opened) as f64 / connections as f64
}

/// A connection that was answered once, whatever carries it.
trait Idle {}
impl<S: AsyncRead + AsyncWrite> Idle for S {}

async fn idle_connection(
    subject: &Subject,
    request: &[u8],
    tls: Option<&Tls>,
) -> io::Result<Box<dyn Idle>> {
    let Some(tls) = tls else {
        let stream = TcpStream::connect(subject.address).await?;
        return Ok(Box::new(answered(stream, request).await?));
    };
    let stream = TcpStream::connect(subject.tls_address).await?;
    let stream = tls.connect(stream, 0).await?;
    Ok(Box::new(answered(stream, request).await?))
}

async fn answered<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &[u8],
) -> io::Result<S> {
    let mut space = vec![0; 16 * 1024];
    stream.write_all(request).await?;
    stream.flush().await?;
    load::answer(&mut stream, &mut space, ROWS[0].response).await?;
    Ok(stream)
}

/// KiB in memory.
fn resident(subject: &Subject) -> u64 {
    subject.pids().into_iter().filter_map(resident_of).sum()
}

/// KiB that a process has in memory.
pub(crate) fn resident_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()
}
