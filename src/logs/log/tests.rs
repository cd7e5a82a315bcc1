//! The Log with real FIFOs and real writers.

mod followers;

use std::process::{Child, Command};

use super::*;
use crate::logs::record::Record;

const DEADLINE: Duration = Duration::from_secs(20);

/// A Log and the directories around it.
struct Bench {
    root: tempfile::TempDir,
    log: Addr<Log>,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let log = start(root.path(), 10_000_000);
        Self { root, log }
    }

    /// The directory of a process' FIFOs.
    fn instance(&self, process: &str) -> PathBuf {
        let directory = self.root.path().join(process);
        if std::fs::create_dir(&directory).is_ok() {
            for name in ["stdout", "stderr"] {
                let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
                nix::unistd::mkfifo(&directory.join(name), mode).unwrap();
            }
        }
        directory
    }

    async fn attach(&self, process: &str) -> PathBuf {
        let directory = self.instance(process);
        let attach = Attach {
            process: process.to_owned(),
            release: 1,
            directory: directory.clone(),
        };
        self.log.send(attach).await.unwrap().unwrap();
        directory
    }

    async fn detach(&self, directory: &Path) {
        let directory = directory.to_owned();
        self.log.send(Detach { directory }).await.unwrap();
    }

    async fn read(&self, query: Query) -> mpsc::Receiver<Chunk> {
        self.log.send(Read(query)).await.unwrap().unwrap()
    }

    /// All stored lines that `query` wants.
    async fn stored(&self, query: Query) -> Vec<Record> {
        let mut chunks = self.read(query).await;
        let mut lines = Vec::new();
        while let Some(chunk) = next(&mut chunks).await {
            match chunk {
                Chunk::Lines(more) => lines.extend(more.iter().cloned()),
                Chunk::Lost(lost) => panic!("{lost} lines were lost"),
                Chunk::Begins(_) | Chunk::Current(_) => {}
            }
        }
        lines
    }
}

fn start(root: &Path, segment_size: u64) -> Addr<Log> {
    let settings = LogSettings {
        directory: root.join("logs"),
        segment_size,
        segments: 5,
        stored: Default::default(),
    };
    Log::new(settings, ExitReason::default()).start()
}

fn all(stream: Stream) -> Query {
    Query::all(&[stream])
}

fn following(stream: Stream) -> Query {
    Query {
        follow: true,
        ..all(stream)
    }
}

async fn next(chunks: &mut mpsc::Receiver<Chunk>) -> Option<Chunk> {
    tokio::time::timeout(DEADLINE, chunks.recv())
        .await
        .expect("nothing came in time")
}

/// Lines from a follower until there are `count`.
async fn lines(chunks: &mut mpsc::Receiver<Chunk>, count: usize) -> Vec<Record> {
    let mut lines = Vec::new();
    while lines.len() < count {
        match next(chunks).await.expect("the log ended") {
            Chunk::Lines(more) => lines.extend(more.iter().cloned()),
            Chunk::Lost(lost) => panic!("{lost} lines were lost"),
            Chunk::Begins(_) | Chunk::Current(_) => {}
        }
    }
    lines
}

fn texts(lines: &[Record]) -> Vec<String> {
    let text = |line: &Record| String::from_utf8_lossy(&line.text).into_owned();
    lines.iter().map(text).collect()
}

/// A process of this test; it does not outlive it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell whose outputs are the FIFOs, as the exec helper opens them, and whose input can be closed.
fn shell(directory: &Path, script: &str) -> Running {
    let open = |name: &str| {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true);
        options.open(directory.join(name)).unwrap()
    };
    let child = Command::new("/bin/sh")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(open("stdout"))
        .stderr(open("stderr"))
        .spawn();
    Running(child.unwrap())
}

async fn wait(mut running: Running) {
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            assert!(status.success());
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "it did not end in time"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[actix::test]
async fn each_output_goes_to_its_log_with_growing_ids() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    wait(shell(
        &directory,
        "echo one; echo two; echo three >&2; printf end",
    ))
    .await;
    bench.detach(&directory).await;
    let out = bench.stored(all(Stream::Stdout)).await;
    assert_eq!(texts(&out), ["one", "two", "end"]);
    assert_eq!(Vec::from_iter(out.iter().map(|line| line.id)), [1, 2, 3]);
    assert_eq!(
        Vec::from_iter(out.iter().map(|line| line.partial)),
        [false, false, true]
    );
    assert!(
        out.iter()
            .all(|line| line.process == "web.1" && line.release == 1)
    );
    assert_eq!(texts(&bench.stored(all(Stream::Stderr)).await), ["three"]);
}

#[actix::test]
async fn what_a_process_wrote_before_it_ended_is_found_at_once() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    for count in 1..=20 {
        wait(shell(&directory, "echo last")).await;
        assert_eq!(bench.stored(all(Stream::Stdout)).await.len(), count);
    }
}

#[actix::test]
async fn a_megabyte_without_a_newline_is_cut_marked_and_whole() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    wait(shell(
        &directory,
        "head -c 1000000 /dev/zero | tr '\\0' x; echo",
    ))
    .await;
    bench.detach(&directory).await;
    let lines = bench.stored(all(Stream::Stdout)).await;
    assert!(
        lines
            .iter()
            .all(|line| line.text.len() <= super::super::lines::LONGEST)
    );
    assert_eq!(
        lines.iter().map(|line| line.text.len()).sum::<usize>(),
        1_000_000
    );
    let (last, cut) = lines.split_last().unwrap();
    assert!(cut.iter().all(|line| line.partial) && !last.partial);
}

#[actix::test]
async fn one_write_larger_than_the_pipe_after_half_a_line_comes_through() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    let block = bench.root.path().join("block");
    std::fs::write(&block, "0123456789\n".repeat(200_000)).unwrap();
    let mut chunks = bench.read(following(Stream::Stderr)).await;
    let script = format!(
        "printf half; echo printed >&2; read -r _; exec dd if={} bs=2200000 count=1 2>/dev/null",
        block.display()
    );
    let mut child = shell(&directory, &script);
    lines(&mut chunks, 1).await;
    // Left in the FIFO by now, or by the turn that is due.
    drop(child.0.stdin.take());
    wait(child).await;
    bench.detach(&directory).await;
    let lines = bench.stored(all(Stream::Stdout)).await;
    assert_eq!(lines.len(), 200_000);
    assert_eq!(lines[0].text, b"half0123456789");
}

#[actix::test]
async fn a_small_pipe_without_a_newline_does_not_stall() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    let fifo = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(directory.join("stdout"))
        .unwrap();
    rustix::pipe::fcntl_setpipe_size(&fifo, 4096).unwrap();
    wait(shell(
        &directory,
        "for i in 1 2 3 4 5 6 7; do printf %02000d 0; done",
    ))
    .await;
    bench.detach(&directory).await;
    let lines = bench.stored(all(Stream::Stdout)).await;
    assert_eq!(
        lines.iter().map(|line| line.text.len()).sum::<usize>(),
        14_000
    );
    assert!(lines.iter().all(|line| line.partial));
}

#[actix::test]
async fn ids_and_unread_lines_survive_a_new_log() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    let mut chunks = bench.read(following(Stream::Stdout)).await;
    let mut errors = bench.read(following(Stream::Stderr)).await;
    // Like an adopted process: it keeps the FIFOs open while no Log does.
    let child = shell(
        &directory,
        "echo one; printf half; echo printed >&2; exec sleep 77",
    );
    assert_eq!(texts(&lines(&mut chunks, 1).await), ["one"]);
    assert_eq!(texts(&lines(&mut errors, 1).await), ["printed"]);
    bench.log.send(Shutdown).await.unwrap();
    while next(&mut chunks).await.is_some() {}

    let writer = std::fs::OpenOptions::new()
        .append(true)
        .open(directory.join("stdout"));
    std::io::Write::write_all(&mut writer.unwrap(), b"whole\n").unwrap();
    let log = start(bench.root.path(), 10_000_000);
    let bench = Bench { log, ..bench };
    bench.attach("web.1").await;
    let mut after = following(Stream::Stdout);
    after.go_on_after(Stream::Stdout, 1);
    let mut chunks = bench.read(after).await;
    let line = lines(&mut chunks, 1).await.remove(0);
    assert_eq!(
        (line.id, line.text.as_slice()),
        (2, b"halfwhole".as_slice())
    );
    drop(child);
}

#[actix::test]
async fn attaching_twice_reads_once_and_a_replaced_fifo_is_noticed() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    bench.attach("web.1").await;
    wait(shell(&directory, "echo one")).await;
    std::fs::remove_dir_all(&directory).unwrap();
    bench.attach("web.1").await;
    wait(shell(&directory, "echo two")).await;
    bench.detach(&directory).await;
    let lines = bench.stored(all(Stream::Stdout)).await;
    assert_eq!(texts(&lines), ["one", "two"]);
}

#[actix::test]
async fn what_is_not_a_fifo_is_refused() {
    let bench = Bench::new();
    let directory = bench.instance("web.1");
    std::fs::remove_file(directory.join("stderr")).unwrap();
    std::os::unix::fs::symlink("stdout", directory.join("stderr")).unwrap();
    let attach = Attach {
        process: "web.1".into(),
        release: 1,
        directory,
    };
    let error = bench.log.send(attach).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("/web.1/stderr: "), "{error}");
}

#[actix::test]
async fn a_noisy_process_does_not_hold_up_a_quiet_one() {
    let bench = Bench::new();
    let noisy = bench.attach("noisy.1").await;
    let quiet = bench.attach("quiet.1").await;
    let noise = shell(
        &noisy,
        "exec yes 'all work and no play makes jack a dull boy'",
    );
    let mut query = following(Stream::Stdout);
    query.process = Some("quiet".into());
    query.tail = Some(0);
    let mut chunks = bench.read(query).await;
    for turn in 0..20 {
        wait(shell(&quiet, "echo here")).await;
        let line = tokio::time::timeout(Duration::from_secs(5), lines(&mut chunks, 1)).await;
        assert_eq!(line.expect("held up")[0].text, b"here", "{turn}");
    }
    drop(noise);
    bench.detach(&noisy).await;
}

#[actix::test]
async fn appended_lines_are_cut_like_those_of_processes() {
    let bench = Bench::new();
    let append = Append {
        stream: Stream::Install,
        process: "fetch".into(),
        release: 7,
        text: [b"\ntwo\nlines\n", &[b'x'; 20_000][..], b"\n"].concat(),
    };
    bench.log.send(append).await.unwrap();
    let lines = bench.stored(all(Stream::Install)).await;
    let lengths: Vec<_> = lines.iter().map(|line| line.text.len()).collect();
    assert_eq!(lengths, [0, 3, 5, 16384, 3616]);
    assert_eq!((lines[0].release, lines[0].process.as_str()), (7, "fetch"));
}

/// Bytes in the only segment of the standard output.
fn stdout_size(root: &Path) -> u64 {
    let segment = root.join("logs/stdout-00000000000000000001.log");
    std::fs::metadata(segment).map_or(0, |metadata| metadata.len())
}

const KILLED_IN: &str = "PROCSERVER_TEST_KILLED_IN";

/// Not a test of its own: the process that the next one kills.
#[actix::test]
#[ignore = "run by the test below"]
async fn a_log_to_be_killed() {
    let Some(root) = std::env::var_os(KILLED_IN) else {
        return;
    };
    let log = start(Path::new(&root), 1_000_000_000);
    let directory = Path::new(&root).join("web.1");
    let process = "web.1".to_owned();
    let attach = Attach {
        process,
        release: 1,
        directory,
    };
    log.send(attach).await.unwrap().unwrap();
    std::future::pending::<()>().await;
}

#[actix::test]
async fn a_log_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    const LINES: u64 = 100_000;
    let bench = Bench::new();
    let directory = bench.instance("web.1");
    let mut writer = shell(&directory, &format!("exec seq 1 {LINES}"));
    let deadline = std::time::Instant::now() + DEADLINE;
    let (mut lives, mut size) = (0, 0);
    while writer.0.try_wait().unwrap().is_none() {
        let exe = std::env::current_exe().unwrap();
        let daemon = Command::new(exe)
            .args([
                "--ignored",
                "--exact",
                "logs::log::tests::a_log_to_be_killed",
            ])
            .env(KILLED_IN, bench.root.path())
            .stdout(std::process::Stdio::null())
            .spawn();
        let daemon = Running(daemon.unwrap());
        let before = size;
        while size <= before + 200_000 && writer.0.try_wait().unwrap().is_none() {
            assert!(
                std::time::Instant::now() < deadline,
                "{lives} lives, {size} bytes"
            );
            tokio::time::sleep(Duration::from_micros(500)).await;
            size = stdout_size(bench.root.path());
        }
        // SIGKILL, wherever it is.
        drop(daemon);
        lives += 1;
    }
    assert!(lives > 3, "{lives}");
    // What is left goes with the last writer, so this Log only reads what the others stored.
    let lines = bench.stored(all(Stream::Stdout)).await;
    let mut expected = 0;
    for line in &lines {
        expected += 1;
        assert_eq!(line.id, expected);
        assert_eq!(line.text, expected.to_string().as_bytes());
    }
    assert!(expected > LINES / 2, "{expected}");
}

#[actix::test]
async fn both_streams_come_as_they_are_written_and_each_line_once() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    wait(shell(&directory, "echo 0")).await;
    let both = Query {
        follow: true,
        ..Query::all(&[Stream::Stdout, Stream::Stderr])
    };
    let mut chunks = bench.read(both).await;
    assert_eq!(texts(&lines(&mut chunks, 1).await), ["0"]);
    for number in 1..40 {
        let stream = if number % 3 == 0 { ">&2" } else { "" };
        wait(shell(&directory, &format!("echo {number} {stream}"))).await;
        assert_eq!(texts(&lines(&mut chunks, 1).await), [number.to_string()]);
    }
    let tail = Query {
        tail: Some(20),
        ..Query::all(&[Stream::Stdout, Stream::Stderr])
    };
    let expected: Vec<_> = (20..40).map(|number: u32| number.to_string()).collect();
    assert_eq!(texts(&bench.stored(tail).await), expected);
}
