//! A session: what is typed goes to the command, what it prints comes back, until its exit is told.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use anyhow::bail;
use awc::ws::{CloseCode, Frame, Message};
use bytes::Bytes;
use futures::{Sink, SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::raw_mode::{self, RawMode};
use crate::cli::client::{Client, Socket};

const STDIN: u8 = 0;
const STDERR: u8 = 2;

/// Bytes of input in a message.
const PIECE: usize = 32 * 1024;

/// A reader of the output has gone away: what a shell shows of SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// Carries both ways and returns the command's exit code. The terminal is restored on every way out.
pub(super) async fn follow(place: &str, tty: bool, client: &Client) -> anyhow::Result<ExitCode> {
    let socket = client.websocket(place).await?;
    let raw = match tty {
        true => Some(RawMode::enter()?),
        false => None,
    };
    let ended = carry(socket, tty).await;
    drop(raw);
    match ended? {
        End::Exit(exit) => Ok(exit_code(&exit)),
        End::NobodyReads => Ok(ExitCode::from(BROKEN_PIPE)),
        End::Signal(number) => Ok(ExitCode::from(128_u8.saturating_add(number))),
        End::Refused(why) => {
            bail!("{why}; the command was ended. \"< /dev/null\" gives it none")
        }
        End::Broken(why) => bail!(
            "{why} before the command did: the server was stopped, killed or replaced, and the command ends with that"
        ),
    }
}

enum End {
    Exit(Value),
    /// The output of this program is closed.
    NobodyReads,
    /// This program was asked to end.
    Signal(u8),
    /// The server does not pass on what was typed.
    Refused(String),
    Broken(String),
}

async fn carry(socket: Socket, tty: bool) -> anyhow::Result<End> {
    let (to, mut from) = socket.split();
    let (queue, queued) = mpsc::channel(1);
    let mut sending = std::pin::pin!(send_all(to, queued));
    // What waits for its turn: nothing more is read of the input before.
    let mut unsent = VecDeque::new();
    let mut input = read_stdin();
    let mut resized = signal(SignalKind::window_change())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    // Without a terminal of its own the command has no Ctrl-C: it ends with this program.
    let mut interrupted = signal(SignalKind::interrupt())?;
    loop {
        let message = tokio::select! {
            // The server may take no more before its own words are taken, so these are read meanwhile.
            () = &mut sending => return Ok(last_word(&mut from).await),
            Ok(place) = queue.reserve(), if !unsent.is_empty() => {
                if let Some(message) = unsent.pop_front() {
                    place.send(message);
                }
                continue;
            }
            frame = from.next() => match frame {
                Some(Ok(frame)) => match take(frame)? {
                    Taken::Nothing => continue,
                    Taken::Pong(bytes) => Message::Pong(bytes),
                    Taken::End(end) => return Ok(end),
                },
                Some(Err(error)) => return Ok(End::Broken(format!("the connection broke ({error})"))),
                None => return Ok(End::Broken("the connection ended".to_owned())),
            },
            Some(typed) = input.recv(), if unsent.is_empty() => Message::Binary(typed),
            Some(()) = resized.recv(), if tty => match raw_mode::size() {
                Some((columns, rows)) => {
                    let size = json!({ "resize": { "columns": columns, "rows": rows } });
                    Message::Text(size.to_string().into())
                }
                None => continue,
            },
            Some(()) = terminated.recv() => return Ok(End::Signal(15)),
            Some(()) = hung_up.recv() => return Ok(End::Signal(1)),
            Some(()) = interrupted.recv() => return Ok(End::Signal(2)),
        };
        unsent.push_back(message);
    }
}

/// Sends what is queued, until that fails: what the server said last may still be there.
async fn send_all(mut to: impl Sink<Message> + Unpin, mut queued: mpsc::Receiver<Message>) {
    while let Some(message) = queued.recv().await {
        if to.send(message).await.is_err() {
            return;
        }
    }
}

async fn last_word(
    from: &mut (impl futures::Stream<Item = Result<Frame, awc::error::WsProtocolError>> + Unpin),
) -> End {
    while let Some(Ok(frame)) = from.next().await {
        match take(frame) {
            Ok(Taken::End(end)) => return end,
            Ok(_) => {}
            Err(error) => return End::Broken(format!("the output cannot be written ({error})")),
        }
    }
    End::Broken("the connection ended".to_owned())
}

enum Taken {
    Nothing,
    Pong(Bytes),
    End(End),
}

/// Writes what the command printed.
fn take(frame: Frame) -> io::Result<Taken> {
    let written = match frame {
        Frame::Binary(bytes) => match bytes.split_first() {
            Some((&STDERR, printed)) => print(io::stderr().lock(), printed),
            Some((_, printed)) => print(io::stdout().lock(), printed),
            None => Ok(()),
        },
        Frame::Text(text) => {
            let word: Value = serde_json::from_slice(&text).unwrap_or_default();
            match word.get("exit") {
                Some(exit) => return Ok(Taken::End(End::Exit(exit.clone()))),
                None => Ok(()),
            }
        }
        Frame::Ping(bytes) => return Ok(Taken::Pong(bytes)),
        Frame::Close(reason) => {
            let is_refusal = reason
                .as_ref()
                .is_some_and(|r| r.code == CloseCode::Unsupported);
            let why = reason.and_then(|reason| reason.description);
            if let (true, Some(why)) = (is_refusal, &why) {
                return Ok(Taken::End(End::Refused(why.clone())));
            }
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            return Ok(Taken::End(End::Broken(format!(
                "the server closed the connection{why}"
            ))));
        }
        Frame::Continuation(_) | Frame::Pong(_) => Ok(()),
    };
    match written {
        Ok(()) => Ok(Taken::Nothing),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Taken::End(End::NobodyReads)),
        Err(e) => Err(e),
    }
}

fn print(mut to: impl Write, printed: &[u8]) -> io::Result<()> {
    to.write_all(printed)?;
    to.flush()
}

/// Reads the input on a thread of its own, which ends with the program: a read of a terminal cannot be cut short. An empty
/// message is the end.
fn read_stdin() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        loop {
            let read = match io::stdin().lock().read(&mut piece) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
                Ok(read) => read,
            };
            let mut message = Vec::with_capacity(read + 1);
            message.push(STDIN);
            message.extend_from_slice(&piece[..read]);
            if sender.blocking_send(message.into()).is_err() || read == 0 {
                return;
            }
        }
    });
    receiver
}

/// That of the command, as a shell has it.
fn exit_code(exit: &Value) -> ExitCode {
    if let Some(reason) = exit["reason"].as_str() {
        crate::cli::input::warn(reason);
    }
    let byte = |number: &Value| number.as_i64().and_then(|n| u8::try_from(n & 0xff).ok());
    match (byte(&exit["code"]), byte(&exit["signal"])) {
        (Some(code), _) => ExitCode::from(code),
        (None, Some(signal)) => ExitCode::from(128_u8.saturating_add(signal)),
        (None, None) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use awc::ws::CloseReason;

    use super::*;

    #[test]
    fn a_server_that_takes_no_input_is_told_from_one_that_goes_away() {
        let closed = |code, why: &str| {
            let description = Some(why.to_owned());
            let reason = CloseReason { code, description };
            match take(Frame::Close(Some(reason))).unwrap() {
                Taken::End(End::Refused(why)) => format!("refused: {why}"),
                Taken::End(End::Broken(why)) => why,
                _ => panic!("a close is an end"),
            }
        };
        let refused = closed(CloseCode::Unsupported, "no input");
        assert_eq!(refused, "refused: no input");
        let stops = closed(CloseCode::Away, "the server stops");
        assert_eq!(stops, "the server closed the connection (the server stops)");
    }
}
