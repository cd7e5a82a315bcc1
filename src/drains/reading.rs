//! [`Reading`]: a drain reads the log of its application, as any follower does.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::accounts::Accounts;
use crate::logs::app_logs::AppLogs;
use crate::logs::log::Read;
use crate::logs::merged::Positions;
use crate::logs::query::{Chunk, Query};
use crate::logs::record::Stream;

/// How long a Log may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Reading {
    chunks: Receiver<Chunk>,
    /// What comes now is new.
    is_current: bool,
    /// Something of the log has come.
    has_given: bool,
}

/// Why a log cannot be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// Its actor is not there yet.
    Starting,
    Failed(String),
}

impl Unreadable {
    fn silent() -> Self {
        Self::Failed("it does not answer".to_owned())
    }
}

impl Reading {
    /// Reads on after the lines of `accounts`; where these are not known, what was written since.
    pub(super) async fn open(
        logs: &AppLogs,
        app: &str,
        streams: &[Stream],
        accounts: &Accounts,
        since: jiff::Timestamp,
    ) -> Result<Self, Unreadable> {
        let log = logs.get(app).ok_or(Unreadable::Starting)?;
        let mut query = of_server(streams);
        query.since = (!accounts.know(streams)).then_some(since);
        for stream in streams {
            if let Some(last) = accounts.last(*stream) {
                query.go_on_after(*stream, last);
            }
        }
        match timeout(PATIENCE, log.send(Read(query))).await {
            Ok(Ok(Ok(chunks))) => Ok(Self {
                chunks,
                is_current: false,
                has_given: false,
            }),
            Ok(Ok(Err(error))) => Err(Unreadable::Failed(error.to_string())),
            Ok(Err(_)) | Err(_) => Err(Unreadable::silent()),
        }
    }

    /// Up to which line each of `streams` is written now.
    pub(super) async fn ends(
        logs: &AppLogs,
        app: &str,
        streams: &[Stream],
    ) -> Result<Positions, Unreadable> {
        let log = logs.get(app).ok_or(Unreadable::Starting)?;
        let mut query = of_server(streams);
        query.tail = Some(0);
        let ends = async {
            let mut chunks = log.send(Read(query)).await.ok()?.ok()?;
            loop {
                if let Chunk::Current(ends) = chunks.recv().await? {
                    return Some(ends);
                }
            }
        };
        let ends = timeout(PATIENCE, ends).await.ok().flatten();
        ends.ok_or_else(Unreadable::silent)
    }

    /// Whether anything of the log has come: the log can be read, then.
    pub(super) fn has_given(&self) -> bool {
        self.has_given
    }

    /// What comes next; `None`: it is to be read anew from where this came to, since the log ended, or has gone on
    /// without waiting for us: then what we missed is stored. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.recv().await?;
        match chunk {
            Chunk::Lost(_) if self.is_current => return None,
            Chunk::Current(_) => (self.is_current, self.has_given) = (true, true),
            Chunk::Lines(_) => self.has_given = true,
            Chunk::Begins(_) | Chunk::Lost(_) => {}
        }
        Some(chunk)
    }
}

/// All lines of `streams`, for us: however many read the log, a drain has its place.
fn of_server(streams: &[Stream]) -> Query {
    Query {
        follow: true,
        is_of_server: true,
        ..Query::all(streams)
    }
}
