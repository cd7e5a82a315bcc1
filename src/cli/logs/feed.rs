//! [`Feed`]: the log of one application, as events with ids. One that is followed goes on where it was when the server
//! comes back, by `Last-Event-ID`.

use std::time::Duration;

use actix_rt::time::{sleep, timeout};
use awc::http::Method;
use serde::Deserialize;

use super::LogsArgs;
use crate::cli::client::{Call, Client, ClientError, Pieces};
use crate::cli::event_stream::{Event, EventStream};
use crate::document::name::AppName;

/// A log that is followed is never silent for as long: the server sends a comment every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// The longest pause between two attempts to reach the server.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What comes from a log.
#[derive(Debug)]
pub(super) enum Item {
    Line(Line),
    /// So many lines are missing here.
    Lost(u64),
    /// What follows is new.
    Current,
    /// The server does not answer: it is waited for.
    Waits,
    /// It answers again.
    Back,
    /// All there was, of a log that is not followed.
    End,
}

/// One line of a log.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Line {
    /// RFC 3339 in UTC with six digits behind the seconds: in their order as text, too.
    pub(super) time: String,
    pub(super) process: String,
    pub(super) text: String,
    /// The whole object, as it came.
    #[serde(skip)]
    pub(super) json: String,
}

/// The log of one application.
pub(super) struct Feed<'a> {
    pub(super) name: AppName,
    args: &'a LogsArgs,
    client: &'a Client,
    /// The id of the last event.
    position: Option<String>,
    /// All that was stored when it was opened has come.
    is_current: bool,
    open: Option<Open>,
    has_begun: bool,
    waits: bool,
    /// Attempts to open it since something came.
    attempts: u32,
}

/// An answer that is being read.
struct Open {
    pieces: Pieces,
    events: EventStream,
    has_lines: bool,
}

impl<'a> Feed<'a> {
    pub(super) fn new(name: AppName, args: &'a LogsArgs, client: &'a Client) -> Self {
        Self {
            name,
            args,
            client,
            position: None,
            is_current: false,
            open: None,
            has_begun: false,
            waits: false,
            attempts: 0,
        }
    }

    /// Whether the next item is there already.
    pub(super) fn has_next(&mut self) -> bool {
        self.open
            .as_mut()
            .is_some_and(|open| open.events.has_event())
    }

    /// Opens it for the first time.
    ///
    /// # Errors
    /// What the API refuses, and that no server answers.
    pub(super) async fn begin(&mut self) -> Result<(), ClientError> {
        self.connect().await.map(|_| ())
    }

    /// What comes next.
    ///
    /// # Errors
    /// What the API refuses: a log that is followed goes on over all else.
    pub(super) async fn next(&mut self) -> Result<Item, ClientError> {
        loop {
            let Some(open) = &mut self.open else {
                if let Some(item) = self.connect().await? {
                    return Ok(item);
                }
                continue;
            };
            let event = match open.events.event() {
                Ok(Some(event)) => Ok(Some(event)),
                Ok(None) => match open.read(self.args.follows()).await {
                    Ok(true) => continue,
                    Ok(false) => Ok(None),
                    Err(error) => Err(error),
                },
                Err(why) => return Err(nonsense(&self.name, why)),
            };
            match event {
                Ok(Some(event)) => {
                    self.attempts = 0;
                    if let Some(item) = self.take(event)? {
                        return Ok(item);
                    }
                }
                _ if self.args.follows() => self.open = None,
                Ok(None) => return Ok(Item::End),
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks for the log, from where it is. While nothing answers it is asked again and again, after the first time.
    async fn connect(&mut self) -> Result<Option<Item>, ClientError> {
        if let Some(before) = self.attempts.checked_sub(1) {
            let pause = Duration::from_millis(50).saturating_mul(1 << before.min(10));
            sleep(pause.min(LONGEST_PAUSE)).await;
        }
        self.attempts = self.attempts.saturating_add(1);
        let resumed = self.position.as_ref().map(|_| self.is_current);
        let mut call = Call::new(Method::GET, self.args.path(&self.name, resumed));
        call.last_event_id = self.position.clone();
        match self.client.open(&call, "text/event-stream").await {
            Ok(pieces) => {
                self.open = Some(Open {
                    pieces,
                    events: EventStream::default(),
                    has_lines: false,
                });
                self.has_begun = true;
                Ok(std::mem::take(&mut self.waits).then_some(Item::Back))
            }
            Err(error) if self.has_begun && self.args.follows() && may_pass(&error) => {
                let is_told = std::mem::replace(&mut self.waits, true);
                Ok((!is_told).then_some(Item::Waits))
            }
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, event: Event) -> Result<Option<Item>, ClientError> {
        let lines = self.open.as_mut().map(|open| &mut open.has_lines);
        let item = match event.name.as_deref() {
            None => {
                let mut line: Line = serde_json::from_str(&event.data)
                    .map_err(|error| nonsense(&self.name, &error.to_string()))?;
                line.json = event.data;
                if let Some(has_lines) = lines {
                    *has_lines = true;
                }
                Some(Item::Line(line))
            }
            Some("current") => {
                self.is_current = true;
                Some(Item::Current)
            }
            // They came faster than they were read: what is stored of them is read at leisure.
            Some("lost") if self.args.follows() && lines.is_some_and(|has_lines| *has_lines) => {
                self.open = None;
                return Ok(None);
            }
            Some("lost") => {
                let lost: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
                Some(Item::Lost(lost["lost"].as_u64().unwrap_or(0)))
            }
            Some(_) => None,
        };
        if event.id.is_some() {
            self.position = event.id;
        }
        Ok(item)
    }
}

impl Open {
    /// Reads a piece; false at the end.
    async fn read(&mut self, follows: bool) -> Result<bool, ClientError> {
        let next = self.pieces.next();
        let piece = match follows {
            // Nothing tells of the end of a machine, or of the network to it.
            true => match timeout(SILENCE, next).await {
                Ok(piece) => piece?,
                Err(_elapsed) => None,
            },
            false => next.await?,
        };
        match piece {
            Some(piece) => {
                self.events.push(&piece);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// Whether a server that is restarted, or a network that is repaired, may answer otherwise.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(problem) => matches!(problem.status, 408 | 429 | 500..),
        ClientError::NoServer(..)
        | ClientError::Forbidden(_)
        | ClientError::Broken(..)
        | ClientError::Handshake(..) => true,
        ClientError::Target(..) | ClientError::Trust(_) | ClientError::Nonsense(..) => false,
    }
}

fn nonsense(name: &AppName, why: &str) -> ClientError {
    ClientError::Nonsense(format!("the log of {name}"), why.to_owned())
}
