//! `logs`: lines of one process that reach its log, and what each costs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Effort;
use crate::ground::{Ground, end_all};
use crate::ours::{Server, repository};
use crate::procfs;
use crate::subject::LINE;
use crate::wait::until;

/// Longer than any of them takes.
const LONGEST: Duration = Duration::from_secs(60);

/// Lines in one write: of a program that writes each line by itself, and of one whose output is buffered as stdio does.
const LINES_PER_WRITE: [u64; 2] = [1, 40];

/// What comes from a writer to the log, and the process that is charged for it.
struct Logger {
    name: &'static str,
    pid: u32,
    directory: PathBuf,
    _running: Running,
}

/// Ends when dropped.
enum Running {
    Ours {
        _server: Server,
    },
    Pipe {
        directory: PathBuf,
        children: Vec<Child>,
    },
}

pub(crate) fn run(ground: &Ground, effort: &Effort) {
    println!(
        "\nlogs: {} lines of {LINE} bytes, with the time before each, as fast as they are taken",
        effort.lines
    );
    println!(
        "{:<12}{:>14}{:>14}{:>14}{:>10}",
        "", "lines/write", "lines/s", "CPU µs/line", "missing"
    );
    for lines_per_write in LINES_PER_WRITE {
        let words = [effort.lines, lines_per_write];
        let loggers = [ours, s6_log, multilog];
        for start in loggers {
            let directory = ground.fresh("logs");
            if let Some(logger) = start(ground, &directory, words) {
                print(&logger, &directory, words);
            }
        }
    }
}

fn print(logger: &Logger, directory: &Path, [lines, lines_per_write]: [u64; 2]) {
    let (cpu, start) = (procfs::cpu(logger.pid), Instant::now());
    File::create(go(directory)).expect("the temporary directory is ours");
    let what = format!("{}: the last line is logged", logger.name);
    until(LONGEST, &what, || {
        has_line(&logger.directory, lines - 1).then_some(())
    });
    let time = start.elapsed().as_secs_f64();
    let cpu = procfs::cpu(logger.pid).saturating_sub(cpu).as_secs_f64();
    println!(
        "{:<12}{lines_per_write:>14}{:>14.0}{:>14.2}{:>10}",
        logger.name,
        lines as f64 / time,
        cpu * 1e6 / lines as f64,
        missing(&logger.directory, lines)
    );
}

/// The file that lets the subject begin: beside a data directory, of which an application sees its own part only.
pub(crate) fn go(directory: &Path) -> PathBuf {
    directory.with_extension("go")
}

/// The files of a log, oldest first: by name, in all of them.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("stdout-") && name.ends_with(".log")
            || name.starts_with('@')
            || name == "current"
    };
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(is_log).collect();
    files.sort();
    files
}

/// Whether the newest file ends with this line.
pub(crate) fn has_line(directory: &Path, number: u64) -> bool {
    use std::os::unix::fs::FileExt;
    let tail = files(directory).pop().and_then(|newest| {
        let file = File::open(newest).ok()?;
        let length = file.metadata().ok()?.len();
        let size = length.min(2 * LINE as u64);
        let mut tail = vec![0; size as usize];
        file.read_exact_at(&mut tail, length - size).ok()?;
        tail.ends_with(b"\n").then_some(tail)
    });
    let wanted = format!("line {number:09} ");
    tail.is_some_and(|tail| {
        tail.windows(wanted.len())
            .any(|part| part == wanted.as_bytes())
    })
}

/// Lines that are not in their place.
fn missing(directory: &Path, lines: u64) -> u64 {
    let mut next = 0;
    for file in files(directory) {
        let text = fs::read_to_string(file).expect("it is text");
        for line in text.lines() {
            let number = line.split_once("line ").and_then(|(_, rest)| rest.get(..9));
            if number.and_then(|digits| digits.parse().ok()) == Some(next) {
                next += 1;
            }
        }
    }
    lines - next
}

fn ours(ground: &Ground, directory: &Path, [lines, lines_per_write]: [u64; 2]) -> Option<Logger> {
    let server = Server::start(directory, &directory.join("log"));
    let (subject, go) = (ground.subject(), go(directory));
    let procfile = format!(
        "w: exec {} lines {lines} {lines_per_write} {}\n",
        subject.display(),
        go.display()
    );
    let url = repository(directory, &[("Procfile", &procfile)]);
    server.deploy(&json!({ "name": "bench", "repo": { "url": url } }));
    Some(Logger {
        name: "procserver",
        pid: server.pid,
        directory: directory.join("apps/bench/logs"),
        _running: Running::Ours { _server: server },
    })
}

fn s6_log(ground: &Ground, directory: &Path, words: [u64; 2]) -> Option<Logger> {
    let mut logger = Command::new("s6-log");
    logger.args(["n20", "s200000000", "T"]);
    piped("s6-log", logger, ground, directory, words)
}

/// 16 MiB is the most that it lets a file grow to.
fn multilog(ground: &Ground, directory: &Path, words: [u64; 2]) -> Option<Logger> {
    let mut logger = Command::new("multilog");
    logger.args(["t", "n20", "s16777215"]);
    piped("multilog", logger, ground, directory, words)
}

fn piped(
    name: &'static str,
    mut logger: Command,
    ground: &Ground,
    directory: &Path,
    words: [u64; 2],
) -> Option<Logger> {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let logs = directory.join("logs");
    let logger = match logger.arg(&logs).stdin(reader).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("{name} is missing ({error})");
            return None;
        }
    };
    let pid = logger.id();
    let mut running = Running::Pipe {
        directory: directory.to_owned(),
        children: vec![logger],
    };
    let subject = Command::new(ground.subject())
        .arg("lines")
        .args(words.map(|word| word.to_string()))
        .arg(go(directory))
        .stdin(Stdio::null())
        .stdout(writer)
        .spawn();
    if let Running::Pipe { children, .. } = &mut running {
        children.push(subject.expect("it is there"));
    }
    Some(Logger {
        name,
        pid,
        directory: logs,
        _running: running,
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Pipe {
            directory,
            children,
        } = self
        {
            end_all(directory);
            for child in children {
                let _reaped = child.wait();
            }
        }
    }
}
