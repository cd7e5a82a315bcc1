//! `procserver backup`: the server's data in one file.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use actix_web::http::Method;
use anyhow::{Context, anyhow};
use clap::Args;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use serde_json::json;

use super::client::{Call, Client, ClientArgs};
use super::output::Output;
use super::usage::Usage;
use crate::backup::error::BackupError;
use crate::backup::reader::{self, Contents};
use crate::document::name::AppName;
use crate::durable;

/// Pieces that wait to be written.
const WAITING: usize = 8;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver backup /var/backups/procserver-$(date +%F).tar.gz
  procserver backup blog.tar.gz --only blog
  procserver backup - | ssh nas 'cat > procserver.tar.gz'

It holds the documents, the storage, the deploy keys, the token, the certificates and the settings: whoever reads it can use the \
API and sees every secret. Code is in it only where it was pushed or uploaded here, in place of being fetched; packages, logs and caches \
are not in it. A restore deploys each application again. Files in the storage keep mode and time, not ACLs (setfacl) and extended \
attributes (setfattr).

The processes of an application are paused (SIGSTOP) while the last changes of its storage are copied, mostly for parts of a \
second, so that databases in files are whole. The copy needs as much disk as the storage of the largest application.")]
pub struct BackupArgs {
    /// The file to write, or "-" for standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only this application, and nothing of the server itself; may be repeated
    #[arg(long, value_name = "APP", value_parser = AppName::parse)]
    pub only: Vec<AppName>,
    /// Pause no process; a database that is written to meanwhile may be torn
    #[arg(long)]
    pub no_pause: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Makes one and checks it to its end while it comes.
///
/// # Errors
/// What the API refuses; a file that cannot be written; a backup that is not whole.
pub async fn run(args: &BackupArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let call = Call::new(Method::POST, path(args));
    if args.file.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            let why = "a backup is no text for a terminal: name a file, or pipe it to something";
            return Err(Usage(why.into()).into());
        }
        let contents = fetch(client, &call, io::stdout()).await?;
        contents
            .lines("standard output")
            .iter()
            .for_each(|line| out.note(line));
        return Ok(ExitCode::SUCCESS);
    }
    let part = Part::create(&args.file)?;
    let file = part.file.try_clone()?;
    let contents = fetch(client, &call, file).await?;
    let size = part.file.metadata()?.len();
    part.keep(&args.file)?;
    let to = format!("{} ({} MiB)", args.file.display(), size.div_ceil(1 << 20));
    match out.is_json() {
        true => {
            let path = args.file.display().to_string();
            out.json(&json!({
                "file": path,
                "bytes": size,
                "manifest": contents.manifest,
                "applications": contents.end.applications,
            }))?;
        }
        false => {
            for line in contents.lines(&to) {
                out.line(&line)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(args: &BackupArgs) -> String {
    let only: Vec<&str> = args.only.iter().map(AppName::as_str).collect();
    let pause = !args.no_pause;
    match only.is_empty() {
        true => format!("/-/backup?pause={pause}"),
        false => format!("/-/backup?pause={pause}&only={}", only.join(",")),
    }
}

/// A file that is not whole yet. It has no name until it is, where the file system can do so (open(2), O_TMPFILE): then
/// nothing is left of it however this process ends.
struct Part {
    file: File,
    /// The name that it has meanwhile.
    path: PathBuf,
    is_named: bool,
}

impl Part {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let name = path
            .file_name()
            .ok_or_else(|| Usage(format!("{} names no file", path.display())))?;
        let name = format!(".{}.part-{}", name.to_string_lossy(), std::process::id());
        let part = path.with_file_name(name);
        let (flags, mode) = (OFlags::RDWR | OFlags::CLOEXEC, Mode::from_raw_mode(0o600));
        if let Ok(file) = rustix::fs::open(directory_of(path), flags | OFlags::TMPFILE, mode) {
            return Ok(Self {
                file: file.into(),
                path: part,
                is_named: false,
            });
        }
        let named = rustix::fs::open(&part, flags | OFlags::CREATE | OFlags::EXCL, mode);
        let file = named.with_context(|| path.display().to_string())?;
        Ok(Self {
            file: file.into(),
            path: part,
            is_named: true,
        })
    }

    /// Gives it its name.
    fn keep(mut self, path: &Path) -> anyhow::Result<()> {
        self.file.sync_all()?;
        if !self.is_named {
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let linked = linkat(CWD, own, CWD, &self.path, AtFlags::SYMLINK_FOLLOW);
            linked.with_context(|| self.path.display().to_string())?;
            self.is_named = true;
        }
        std::fs::rename(&self.path, path).with_context(|| path.display().to_string())?;
        self.is_named = false;
        Ok(durable::sync_directory(directory_of(path))?)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.is_named {
            // As unremovable as it was unwritable: the first error says what is wrong.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Writes what the server sends to `to`, and reads it on the way.
async fn fetch(
    client: &Client,
    call: &Call,
    to: impl Write + Send + 'static,
) -> anyhow::Result<Contents> {
    let (sender, reading) = reading(to);
    let sent = client
        .pieces(call, "application/gzip", |piece| {
            // Who reads has ended: what it says is the reason.
            sender
                .send(piece.to_vec())
                .map_err(|_| anyhow!("it was refused"))
        })
        .await;
    drop(sender);
    let read = reading
        .join()
        .map_err(|_| anyhow!("reading the backup failed"))?;
    match (sent, read) {
        (Ok(()), read) => Ok(read?),
        // Cut off on the way, which its reader sees as damage.
        (Err(sent), Err(BackupError::Damaged(_))) if !sent.to_string().contains("refused") => {
            Err(sent)
        }
        (Err(_), Err(read)) => Err(read.into()),
        (Err(sent), Ok(_)) => Err(sent),
    }
}

type Reading = JoinHandle<Result<Contents, BackupError>>;

fn reading(to: impl Write + Send + 'static) -> (SyncSender<Vec<u8>>, Reading) {
    let (sender, pieces) = sync_channel(WAITING);
    let mut tee = Tee {
        pieces,
        piece: Vec::new(),
        at: 0,
        to,
    };
    let thread = std::thread::spawn(move || {
        let contents = reader::walk(&mut tee, |_, _| Ok(()))?;
        tee.to.flush().map_err(BackupError::Output)?;
        Ok(contents)
    });
    (sender, thread)
}

/// Reads pieces as they come, and writes each to `to` first.
struct Tee<W> {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    to: W,
}

impl<W: Write> Read for Tee<W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.pieces.recv() {
                Ok(piece) => {
                    self.to.write_all(&piece)?;
                    (self.piece, self.at) = (piece, 0);
                }
                // All of it has come.
                Err(_) => return Ok(0),
            }
        }
        let taken = buffer.len().min(self.piece.len() - self.at);
        buffer[..taken].copy_from_slice(&self.piece[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

impl Contents {
    /// What is in it, for people.
    #[must_use]
    pub fn lines(&self, to: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for app in &self.end.applications {
            let pause = match app.paused_ms {
                0 => String::new(),
                time => format!(", paused for {} ms", time),
            };
            lines.push(format!(
                "{}: {} files, {} KiB{pause}",
                app.name,
                app.files,
                app.bytes.div_ceil(1024)
            ));
            lines.extend(
                app.notes
                    .iter()
                    .map(|note| format!("warning: {}: {note}", app.name)),
            );
        }
        let server = match self.manifest.whole {
            true => {
                ", with token, certificates and settings of the server: keep it as safe as these"
            }
            false => "",
        };
        lines.push(format!(
            "{to}: {} applications{server}",
            self.end.applications.len()
        ));
        lines
    }
}
