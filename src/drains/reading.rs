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
}

impl Reading {
    /// Reads on after the lines of `accounts`; where these are not known, what was written since.
    pub(super) async fn open(
        logs: &AppLogs,
        app: &str,
        streams: &[Stream],
        accounts: &Accounts,
        since: jiff::Timestamp,
    ) -> Result<Self, String> {
        let Some(log) = logs.get(app) else {
            return Err("its log is being started".to_owned());
        };
        let mut query = Query::all(streams);
        query.follow = true;
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
            }),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(_)) | Err(_) => Err("its log does not answer".to_owned()),
        }
    }

    /// Up to which line each of `streams` is written now.
    pub(super) async fn ends(
        logs: &AppLogs,
        app: &str,
        streams: &[Stream],
    ) -> Result<Positions, String> {
        let Some(log) = logs.get(app) else {
            return Err("its log is being started".to_owned());
        };
        let mut query = Query::all(streams);
        (query.follow, query.tail) = (true, Some(0));
        let ends = async {
            let mut chunks = log.send(Read(query)).await.ok()?.ok()?;
            loop {
                if let Chunk::Current(ends) = chunks.recv().await? {
                    return Some(ends);
                }
            }
        };
        let ends = timeout(PATIENCE, ends).await.ok().flatten();
        ends.ok_or_else(|| "its log does not answer".to_owned())
    }

    /// What comes next; `None`: it is to be read anew from where this came to, since the log ended, or has gone on
    /// without waiting for us: then what we missed is stored. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.recv().await?;
        match chunk {
            Chunk::Lost(_) if self.is_current => return None,
            Chunk::Current(_) => self.is_current = true,
            Chunk::Lines(_) | Chunk::Begins(_) | Chunk::Lost(_) => {}
        }
        Some(chunk)
    }
}
