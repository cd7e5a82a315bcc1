//! `procserver ssh-serve`: the forced command of each key. Reads what the client of ssh wants, and where that is a service of
//! git's carries bytes between the client and the server. It starts nothing, and reads no file.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::ssh_keys::KEY_FIELD;
use crate::ssh_keys::asked::Asked;

/// How long a server that is being restarted is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// How much is read of the client at a time; bytes.
const PIECE: usize = 32 * 1024;

/// The most that is read of what should be a line; bytes.
const LONGEST_LINE: u64 = 8192;

/// The most that is shown of a refusal; bytes.
const LONGEST_REFUSAL: u64 = 4096;

#[derive(Args, Debug)]
pub struct SshServeArgs {
    /// The server's socket for git over ssh.
    #[arg(long)]
    socket: PathBuf,
    /// The id of the key by which sshd has let the client in.
    key: String,
}

/// Why the client is not served; the text is for the person there.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("you are known here, and may git push, git fetch and git clone; there is no shell")]
    Interactive,
    #[error("{0}")]
    Refused(#[from] crate::ssh_keys::asked::Refused),
    #[error(
        "the server does not answer ({0}): try again, or ask who runs it (systemctl status procserver)"
    )]
    Absent(io::Error),
    #[error("{0}")]
    Denied(String),
    #[error("the connection to the server broke off: {0}")]
    Broken(#[from] io::Error),
}

/// Serves the client of sshd that is at stdin and stdout.
pub(super) fn run(args: &SshServeArgs) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The client may be gone.
            let _ = writeln!(io::stderr(), "procserver: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &SshServeArgs) -> Result<(), Failure> {
    let command = env::var("SSH_ORIGINAL_COMMAND").map_err(|_| Failure::Interactive)?;
    let asked = Asked::parse(&command)?;
    let mut server = connect(&args.socket).map_err(Failure::Absent)?;
    // A server that refuses does not read it, but has said why.
    let sent = server.write_all(head(&asked, &args.key).as_bytes());
    let to_server = server.try_clone()?;
    // It ends with this process, at the latest.
    thread::spawn(move || feed(&mut io::stdin().lock(), to_server));
    let mut answer = BufReader::new(server);
    let (status, length) = status(&mut answer).map_err(|error| sent.err().unwrap_or(error))?;
    if status != 200 {
        return Err(Failure::Denied(refusal(&mut answer, status, length)));
    }
    Ok(chunks(&mut answer, &mut io::stdout().lock())?)
}

/// Connects to the server, which may be on its way.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Err(error)
                if begun.elapsed() < PATIENCE
                    && matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                    ) =>
            {
                thread::sleep(BETWEEN_ATTEMPTS);
            }
            done => return done,
        }
    }
}

fn head(asked: &Asked, key: &str) -> String {
    let (app, service) = (&asked.app, asked.service.name());
    let mut head = format!(
        "POST /git/{app}.git/session/{service} HTTP/1.1\r\n\
         Host: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{KEY_FIELD}: {key}\r\n"
    );
    // What is not as it should be is left out: a client may send variables.
    let address = env::var("SSH_CONNECTION").ok();
    let address = address.and_then(|text| text.split(' ').next()?.parse::<IpAddr>().ok());
    if let Some(address) = address {
        head.push_str(&format!("X-Real-IP: {address}\r\n"));
    }
    let protocol = env::var("GIT_PROTOCOL").ok();
    if let Some(protocol) = protocol.filter(|text| text == "version=1" || text == "version=2") {
        head.push_str(&format!("Git-Protocol: {protocol}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// Hands on what the client says, in chunks (RFC 9112 §7.1). Where it breaks off, there is no last one.
fn feed(client: &mut impl Read, mut server: impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = client.read(&mut piece)?;
        let end = if length == 0 { "\r\n" } else { "" };
        server.write_all(format!("{length:x}\r\n{end}").as_bytes())?;
        if length == 0 {
            return Ok(());
        }
        server.write_all(&piece[..length])?;
        server.write_all(b"\r\n")?;
    }
}

/// The status of the answer, and how long its body is, at most [`LONGEST_REFUSAL`]. What else is in its head is of no use
/// here.
fn status(answer: &mut impl BufRead) -> io::Result<(u16, u64)> {
    let first = line(answer)?;
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = status.and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("that is no HTTP"))?;
    let mut length = LONGEST_REFUSAL;
    loop {
        let field = line(answer)?.to_ascii_lowercase();
        if field.is_empty() {
            return Ok((status, length.min(LONGEST_REFUSAL)));
        }
        // The server reads on what the client says, so it does not close.
        let value = field.strip_prefix("content-length:");
        length = value
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(length);
    }
}

fn line(answer: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    answer.take(LONGEST_LINE).read_line(&mut line)?;
    let line = line.strip_suffix("\r\n");
    line.map(str::to_owned)
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Why the server does not serve the client.
fn refusal(answer: &mut impl Read, status: u16, length: u64) -> String {
    let mut text = Vec::new();
    // What came is better than nothing.
    let _ = answer.take(length).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    // One refused before its head was read is answered as to a program.
    let text = match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(problem) => problem["detail"].as_str().unwrap_or_default().to_owned(),
        Err(_) => text.trim().to_owned(),
    };
    match text.is_empty() {
        true => format!("the server answers with status {status}"),
        false => text,
    }
}

/// Hands the answer on, to its last chunk.
fn chunks(answer: &mut impl BufRead, client: &mut impl Write) -> io::Result<()> {
    loop {
        let size = line(answer)?;
        let size = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
        if size == 0 {
            return Ok(());
        }
        let passed = io::copy(&mut answer.take(size), client)?;
        if passed < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        client.flush()?;
        line(answer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fed_in_chunks_comes_out_as_it_was() {
        let said = vec![7; 3 * PIECE + 5];
        let mut chunked = Vec::new();
        feed(&mut &said[..], &mut chunked).unwrap();
        let mut heard = Vec::new();
        chunks(&mut &chunked[..], &mut heard).unwrap();
        assert!(heard == said);
        // Whatever is cut off is no end.
        for length in [0, 1, 3, 100, chunked.len() - 3] {
            let cut = chunks(&mut &chunked[..length], &mut Vec::new());
            assert!(cut.is_err(), "{length}");
        }
    }

    #[test]
    fn an_answer_is_read_to_its_body() {
        let mut answer = &b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\nand more"[..];
        assert_eq!(status(&mut answer).unwrap(), (403, 3));
        assert_eq!(refusal(&mut answer, 403, 3), "no");
        assert!(refusal(&mut &b""[..], 503, 9).contains("503"));
        for bad in [
            "",
            "HTTP/1.1 ",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b",
        ] {
            assert!(status(&mut bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
