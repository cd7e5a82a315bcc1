//! `drains`: lines of one process that reach a syslog receiver by TCP, and what each costs, beside rsyslog that follows
//! the file that such a process writes itself.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::Effort;
use crate::ground::{Ground, end_all, send};
use crate::lines::{go, has_line};
use crate::ours::{Server, repository};
use crate::procfs;
use crate::subject::LINE;
use crate::wait::{until, within};

/// Longer than any of them takes.
const LONGEST: Duration = Duration::from_secs(60);

/// Of the lines of the row `logs`, so that a stored log holds all that a receiver has not taken yet.
const SHARE: u64 = 5;

/// Lines in one write, as of a program whose output is buffered as stdio does.
const LINES_PER_WRITE: u64 = 40;

pub(crate) fn run(ground: &Ground, effort: &Effort) {
    let lines = effort.lines / SHARE;
    println!("\ndrains: {lines} lines of {LINE} bytes to a receiver of syslog by TCP");
    println!(
        "{:<24}{:>14}{:>14}{:>10}",
        "", "lines/s", "CPU µs/line", "missing"
    );
    for drained in [false, true] {
        ours(ground, lines, drained);
    }
    rsyslog(ground, lines);
}

/// Without a drain it is what storing the lines costs alone.
fn ours(ground: &Ground, lines: u64, drained: bool) {
    let directory = ground.fresh("drains");
    let receiver = Receiver::start();
    let server = Server::start(&directory, &directory.join("log"));
    let procfile = format!("w: exec {}\n", subject(ground, lines, &directory));
    let url = repository(&directory, &[("Procfile", &procfile)]);
    let mut document = json!({ "name": "bench", "repo": { "url": url } });
    if drained {
        let url = format!("syslog+tcp://{}", receiver.address);
        document["drains"] = json!([{ "url": url }]);
    }
    server.deploy(&document);
    let log = directory.join("apps/bench/logs");
    let stored = || has_line(&log, lines - 1).then_some(());
    match drained {
        true => measure("procserver", server.pid, &directory, lines, || {
            receiver.has(lines)
        }),
        false => measure(
            "procserver, stored only",
            server.pid,
            &directory,
            lines,
            stored,
        ),
    }
}

fn rsyslog(ground: &Ground, lines: u64) {
    let directory = ground.fresh("drains");
    let receiver = Receiver::start();
    let written = directory.join("written.log");
    File::create(&written).expect("the temporary directory is ours");
    let configuration = directory.join("rsyslog.conf");
    let text = format!(
        "global(workDirectory=\"{0}\")\n\
         module(load=\"imfile\" mode=\"inotify\")\n\
         input(type=\"imfile\" File=\"{1}\" Tag=\"bench\")\n\
         action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{2}\" protocol=\"tcp\" TCP_Framing=\"octet-counted\"\n\
         template=\"RSYSLOG_SyslogProtocol23Format\")\n",
        directory.display(),
        written.display(),
        receiver.address.port(),
    );
    fs::write(&configuration, text).expect("the temporary directory is ours");
    let pid_file = directory.join("pid");
    let started = Command::new("rsyslogd")
        .args(["-n", "-f"])
        .arg(&configuration)
        .arg("-i")
        .arg(&pid_file)
        .stdin(Stdio::null())
        .spawn();
    let running = match started {
        Ok(child) => Running {
            directory: directory.clone(),
            children: vec![child],
        },
        Err(error) => return println!("rsyslogd is missing ({error})"),
    };
    until(LONGEST, "rsyslogd runs", || pid_file.exists().then_some(()));
    let pid = running.children[0].id();
    let writer = Command::new("sh")
        .args([
            "-c",
            &format!("exec {}", subject(ground, lines, &directory)),
        ])
        .stdin(Stdio::null())
        .stdout(
            File::options()
                .append(true)
                .open(&written)
                .expect("it is there"),
        )
        .spawn();
    let mut running = running;
    running.children.push(writer.expect("there is a shell"));
    measure("rsyslog's imfile", pid, &directory, lines, || {
        receiver.has(lines)
    });
}

fn subject(ground: &Ground, lines: u64, directory: &Path) -> String {
    let (subject, go) = (ground.subject(), go(directory));
    format!(
        "{} lines {lines} {LINES_PER_WRITE} {}",
        subject.display(),
        go.display()
    )
}

/// Lets the subject begin, and waits for the last line.
fn measure(name: &str, pid: u32, directory: &Path, lines: u64, all: impl Fn() -> Option<()>) {
    let (cpu, start) = (procfs::cpu(pid), Instant::now());
    File::create(go(directory)).expect("the temporary directory is ours");
    let missing = match within(LONGEST, &all) {
        Some(()) => "0".to_owned(),
        None => "some".to_owned(),
    };
    let time = start.elapsed().as_secs_f64();
    let cpu = procfs::cpu(pid).saturating_sub(cpu).as_secs_f64();
    println!(
        "{name:<24}{:>14.0}{:>14.2}{missing:>10}",
        lines as f64 / time,
        cpu * 1e6 / lines as f64
    );
}

/// Takes all that comes, and counts the lines in it.
struct Receiver {
    address: SocketAddr,
    lines: Arc<AtomicU64>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let lines = Arc::new(AtomicU64::new(0));
        let count = lines.clone();
        // Ends with this program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = count.clone();
                std::thread::spawn(move || take(stream, &count));
            }
        });
        Self { address, lines }
    }

    fn has(&self, lines: u64) -> Option<()> {
        (self.lines.load(Ordering::Relaxed) >= lines).then_some(())
    }
}

/// What a line begins with may come in two parts.
fn take(mut stream: impl Read, count: &AtomicU64) {
    const BEGINNING: &[u8] = b"line 0";
    let finder = memchr::memmem::Finder::new(BEGINNING);
    let mut buffer = vec![0; 256 * 1024];
    let mut kept = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer[kept..]) {
        let end = kept + read;
        let found = finder.find_iter(&buffer[..end]).count();
        count.fetch_add(found as u64, Ordering::Relaxed);
        kept = end.min(BEGINNING.len() - 1);
        buffer.copy_within(end - kept..end, 0);
    }
}

struct Running {
    directory: std::path::PathBuf,
    children: Vec<Child>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &self.children {
            send(child.id(), Signal::SIGTERM);
        }
        end_all(&self.directory);
        for child in &mut self.children {
            let _reaped = child.wait();
        }
    }
}
