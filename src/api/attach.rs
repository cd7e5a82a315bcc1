//! `GET /applications/A/run/ID/attach`: a WebSocket with the input and output of a process (RFC 6455).
//!
//! Binary messages are its streams, after a byte that says which: 0 is what it reads, 1 its output, 2 its errors. An empty
//! message for 0 is the end of the input. Text is JSON: `{"resize": {"columns", "rows"}}` from the client, and the last
//! word of the server, `{"exit": {"code"}}`. What is not read is not taken from the process either, nor from the client.
//!
//! A client that goes away ends the process.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{CloseCode, Closed, Message, MessageStream};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use crate::app::supervisor::one_offs::Attach;
use crate::exit_status::{ExitRecord, ExitStatus};
use crate::process::ends::{Ends, Input, Master};
use crate::process::one_off::WindowSize;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// Bytes of output in a message.
const PIECE: usize = 32 * 1024;

/// The largest message of a client.
const LARGEST: usize = 1 << 20;

/// A connection that carries nothing is asked after this time whether anybody is there.
const PING: Duration = Duration::from_secs(15);

/// What is left in the streams of a process of which nothing lives is read in this time, if its reader reads.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// What a client says.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Resize(WindowSize),
}

pub(super) async fn attach(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
    path: Path<(String, String)>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (name, id) = path.into_inner();
    // Before the handshake: an application that is not there has nothing to upgrade to.
    state.inspect(&name).await?;
    let refused = |error| {
        let detail = format!("This is for a WebSocket: {error}.");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    };
    let (response, socket, stream) = actix_ws::handle(&request, payload).map_err(refused)?;
    let session = state.ask_app(&name, Attach(id)).await??;
    let streams = Streams::open(session.ends).map_err(|error| {
        log::error!("{name}: a session cannot be opened: {error}");
        Problem::unavailable("The streams of the process cannot be opened: try again.")
    })?;
    let (closes, ends) = (state.closes(), state.ends(&caller));
    let attached = Attached {
        streams,
        socket: socket.clone(),
        exit: session.exit,
        present: session.present,
    };
    actix_rt::spawn(async move {
        let end = tokio::select! {
            exit = attached.run(stream.max_frame_size(LARGEST)) => exit,
            () = closes => End::Closing("the server stops"),
            () = ends => End::Closing("the token is not good any more"),
        };
        end.tell(socket).await;
    });
    Ok(response)
}

/// How a session ended.
enum End {
    Exited(Option<ExitRecord>),
    ClientGone,
    Closing(&'static str),
    /// The client sends what cannot be passed on.
    Refused(&'static str),
}

impl End {
    /// Says the last word. A client that is gone does not hear it.
    async fn tell(self, mut socket: actix_ws::Session) {
        let (code, why) = match self {
            Self::ClientGone => return,
            Self::Exited(exit) => {
                let exit = exit.unwrap_or_else(unknown);
                let _gone = socket.text(json!({ "exit": exit }).to_string()).await;
                (CloseCode::Normal, None)
            }
            Self::Closing(why) => (CloseCode::Away, Some(why.to_owned())),
            Self::Refused(why) => (CloseCode::Unsupported, Some(why.to_owned())),
        };
        let reason = actix_ws::CloseReason {
            code,
            description: why,
        };
        let _gone = socket.close(Some(reason)).await;
    }
}

fn unknown() -> ExitRecord {
    ExitRecord {
        status: ExitStatus::Unknown,
        at: jiff::Timestamp::now(),
        oom: false,
        reason: Some("the server lost sight of the process".to_owned()),
    }
}

/// The server's ends on this runtime.
enum Streams {
    Terminal(Master),
    Pipes {
        stdin: Stdin,
        stdout: pipe::Receiver,
        stderr: pipe::Receiver,
    },
}

impl Streams {
    fn open(ends: Ends) -> io::Result<Self> {
        let reader = |end: OwnedFd| pipe::Receiver::from_owned_fd(end);
        Ok(match ends {
            Ends::Terminal(master) => Self::Terminal(Master::new(master)?),
            Ends::Pipes {
                stdin,
                stdout,
                stderr,
            } => Self::Pipes {
                stdin: match stdin {
                    Input::Pipe(end) => Stdin::Open(pipe::Sender::from_owned_fd(end)?),
                    Input::Refused(why) => Stdin::Refused(why),
                },
                stdout: reader(stdout)?,
                stderr: reader(stderr)?,
            },
        })
    }
}

/// Where what is typed goes.
enum Stdin {
    Open(pipe::Sender),
    /// It is closed, or the process reads no more.
    Closed,
    Refused(&'static str),
}

struct Attached {
    streams: Streams,
    socket: actix_ws::Session,
    exit: tokio::sync::oneshot::Receiver<ExitRecord>,
    present: tokio::sync::oneshot::Sender<()>,
}

impl Attached {
    /// Carries both ways until the process is over or the client has gone. When this is dropped the process is hung up.
    async fn run(self, stream: MessageStream) -> End {
        let Self {
            streams,
            socket,
            exit,
            mut present,
        } = self;
        let (terminal, input, outputs) = match streams {
            Streams::Terminal(master) => (Some(master), Stdin::Closed, None),
            Streams::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                // By themselves: a process that is told to end since its client went away may still print.
                let out = actix_rt::spawn(read_pipe(stdout, STDOUT, socket.clone()));
                let err = actix_rt::spawn(read_pipe(stderr, STDERR, socket.clone()));
                (None, stdin, Some((out, err)))
            }
        };
        let reading = async {
            match (&terminal, outputs) {
                (Some(master), _) => read_terminal(master, socket.clone()).await,
                (None, Some((out, err))) => {
                    let (out, err) = futures::join!(out, err);
                    out.and(err).map_err(|_| Closed)
                }
                (None, None) => Ok(()),
            }
        };
        // Something that got out of reach may keep an output open for ever.
        let vanished = async {
            present.closed().await;
            tokio::time::sleep(LAST_OUTPUT).await;
        };
        let output = async {
            tokio::select! {
                read = reading => if read.is_err() { return End::ClientGone },
                () = vanished => {}
            }
            End::Exited(exit.await.ok())
        };
        tokio::select! {
            end = output => end,
            end = take_input(stream, terminal.as_ref(), input, socket.clone()) => end,
            () = ping(socket.clone()) => End::ClientGone,
        }
    }
}

/// Asks now and then whether anybody is there; a connection that is broken is noticed so.
async fn ping(mut socket: actix_ws::Session) {
    loop {
        tokio::time::sleep(PING).await;
        if socket.ping(b"").await.is_err() {
            return;
        }
    }
}

fn message(channel: u8, bytes: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    message.into()
}

async fn read_terminal(master: &Master, mut socket: actix_ws::Session) -> Result<(), Closed> {
    let mut piece = vec![0; PIECE];
    loop {
        match master.read(&mut piece).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(read) => socket.binary(message(STDOUT, &piece[..read])).await?,
        }
    }
}

/// Reads to the end, also where nobody hears it any more.
async fn read_pipe(mut from: pipe::Receiver, channel: u8, mut socket: actix_ws::Session) {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                let _unheard = socket.binary(message(channel, &piece[..read])).await;
            }
        }
    }
}

/// Passes on what the client types, until it goes or sends what cannot be passed on.
async fn take_input(
    mut stream: MessageStream,
    terminal: Option<&Master>,
    mut stdin: Stdin,
    mut socket: actix_ws::Session,
) -> End {
    while let Some(Ok(message)) = stream.recv().await {
        match message {
            Message::Binary(bytes) => match (bytes.split_first(), terminal) {
                (Some((&STDIN, typed)), Some(master)) => {
                    // Nobody has the terminal open any more: the end of the process says so.
                    let _closed = master.write_all(typed).await;
                }
                (Some((&STDIN, [])), None) => stdin = stdin.closed(),
                (Some((&STDIN, typed)), None) => {
                    let written = match &mut stdin {
                        Stdin::Open(stdin) => stdin.write_all(typed).await,
                        Stdin::Closed => Ok(()),
                        Stdin::Refused(why) => return End::Refused(why),
                    };
                    if written.is_err() {
                        // It reads no more, and may go on all the same.
                        stdin = Stdin::Closed;
                    }
                }
                _ => return End::ClientGone,
            },
            Message::Text(text) => match (serde_json::from_str(&text), terminal) {
                (Ok(Word::Resize(size)), Some(master)) => {
                    let _closed = master.resize(size);
                }
                (Ok(Word::Resize(_)), None) => {}
                (Err(_), _) => return End::ClientGone,
            },
            Message::Ping(bytes) => {
                if socket.pong(&bytes).await.is_err() {
                    return End::ClientGone;
                }
            }
            Message::Close(_) | Message::Continuation(_) => return End::ClientGone,
            Message::Pong(_) | Message::Nop => {}
        }
    }
    End::ClientGone
}

impl Stdin {
    /// The end of the input is no input: it is refused nowhere.
    fn closed(self) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(why),
            Self::Open(_) | Self::Closed => Self::Closed,
        }
    }
}
