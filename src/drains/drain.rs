//! [`Drain`]: brings the logs of one application to one receiver.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use super::accounts::Accounts;
use super::batch::{Batch, Batcher};
use super::book::Wanted;
use super::cursor::Cursor;
use super::reading::Reading;
use super::sender::Sender;
use crate::document::drain::Protocol;
use crate::events::{Feed, Report};
use crate::failpoint;
use crate::logs::app_logs::AppLogs;
use crate::logs::query::Chunk;
use crate::logs::record::Stream;
use crate::outgoing::post::NotTaken;
use crate::supervision::backoff::Backoff;

/// How long a request waits for more lines.
const LINGER: Duration = Duration::from_secs(1);

/// Pause before a log is read again that could not be read.
const UNREADABLE: Duration = Duration::from_secs(1);

/// What is on its way when the drain is to end may take so long.
const LAST_BATCH: Duration = Duration::from_secs(2);

/// Lines that are dropped are reported so often at most, all since the last time.
const REPORTS: Duration = Duration::from_mins(1);

/// What a drain is given.
pub(super) struct DrainSpec {
    pub(super) wanted: Wanted,
    pub(super) host: String,
    pub(super) logs: AppLogs,
    pub(super) events: Feed,
    /// Becomes true when it is to end.
    pub(super) ends: watch::Receiver<bool>,
}

pub(super) struct Drain {
    spec: DrainSpec,
    streams: Vec<Stream>,
    cursor: Cursor,
    /// Up to where the receiver has the logs.
    taken: Accounts,
    batcher: Batcher,
    reading: Option<Reading>,
    sender: Sender,
    /// Dropped lines that were not reported, and when some were.
    unreported: u64,
    reported: Option<Instant>,
}

impl Drain {
    pub(super) fn new(spec: DrainSpec) -> std::io::Result<Self> {
        let Wanted {
            app,
            config,
            cursor,
            tally,
            ..
        } = &spec.wanted;
        let (cursor, taken) = Cursor::open(cursor)?;
        tally.is_at(&taken);
        let streams = config.streams.iter().filter_map(|name| Stream::parse(name));
        let mut batcher = Batcher::new(config.protocol, &config.types, &spec.host, app);
        batcher.begin_after(&taken);
        Ok(Self {
            streams: streams.collect(),
            cursor,
            taken,
            batcher,
            reading: None,
            sender: Sender::new(config),
            unreported: 0,
            reported: None,
            spec,
        })
    }

    /// Returns when it is to end.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            if !self.deliver(batch).await {
                break;
            }
        }
    }

    /// Gathers lines until they are worth sending; `None`: the drain is to end.
    async fn gather(&mut self) -> Option<Batch> {
        let mut deadline = None;
        loop {
            self.report_dropped();
            if self.batcher.is_full() {
                return Some(self.batcher.finish());
            }
            if self.reading.is_none() {
                self.open().await?;
            }
            let Some(reading) = &mut self.reading else {
                continue;
            };
            let (is_empty, is_due) = (self.batcher.is_empty(), due(deadline));
            let chunk = tokio::select! {
                biased;
                _ = self.spec.ends.wait_for(|ends| *ends) => return None,
                chunk = reading.next() => chunk,
                () = is_due => return Some(self.batcher.finish()),
                () = self.sender.closed(), if is_empty => continue,
            };
            self.take(chunk);
            if self.batcher.is_empty() {
                self.pass_over();
            } else if deadline.is_none() {
                deadline = Some(tokio::time::Instant::now() + self.linger());
            }
        }
    }

    fn linger(&self) -> Duration {
        match self.spec.wanted.config.protocol {
            Protocol::Ndjson | Protocol::Loki => LINGER,
            _ => Duration::ZERO,
        }
    }

    fn take(&mut self, chunk: Option<Chunk>) {
        let dropped = match chunk {
            Some(Chunk::Lines(records)) => self.batcher.take(&records),
            Some(Chunk::Current(ends)) => self.batcher.come_to(&ends, jiff::Timestamp::now()),
            // The ids tell it exactly.
            Some(Chunk::Begins(_) | Chunk::Lost(_)) => 0,
            None => {
                self.reading = None;
                0
            }
        };
        self.dropped(dropped);
    }

    /// Opens the log; `None`: the drain is to end.
    async fn open(&mut self) -> Option<()> {
        self.begin_new_streams().await;
        let DrainSpec { wanted, logs, .. } = &self.spec;
        let accounts = self.batcher.accounts();
        let opened = Reading::open(logs, &wanted.app, &self.streams, accounts, wanted.since);
        match opened.await {
            Ok(reading) => self.reading = Some(reading),
            Err(why) => {
                log::debug!("{}: a drain waits: {why}", wanted.app);
                return self.pause(UNREADABLE).await;
            }
        }
        Some(())
    }

    /// A log that an old drain is to send from now on begins here: with `since`, lines of the others would be passed over
    /// that wait.
    async fn begin_new_streams(&mut self) {
        let accounts = self.batcher.accounts();
        let is_new = |stream: &Stream| accounts.last(*stream).is_none();
        let new: Vec<Stream> = self.streams.iter().copied().filter(is_new).collect();
        if new.is_empty() || new.len() == self.streams.len() {
            return;
        }
        let DrainSpec { wanted, logs, .. } = &self.spec;
        match Reading::ends(logs, &wanted.app, &new).await {
            Ok(ends) => _ = self.batcher.come_to(&ends, jiff::Timestamp::now()),
            Err(why) => log::debug!("{}: a drain waits: {why}", wanted.app),
        }
    }

    /// Waits; `None`: the drain is to end.
    async fn pause(&mut self, delay: Duration) -> Option<()> {
        tokio::select! {
            biased;
            _ = self.spec.ends.wait_for(|ends| *ends) => None,
            () = sleep(delay) => Some(()),
        }
    }

    /// Sends a batch until it is taken, or refused for good; false: the drain is to end.
    async fn deliver(&mut self, mut batch: Batch) -> bool {
        failpoint::reach("a drain delivers");
        let mut backoff = Backoff::default();
        loop {
            let mut ends = self.spec.ends.clone();
            let is_late = async {
                let _ended = ends.wait_for(|ends| *ends).await;
                sleep(LAST_BATCH).await;
            };
            let done = batch.done;
            let result = tokio::select! {
                biased;
                result = self.sender.send(&mut batch) => Some(result),
                () = is_late => None,
            };
            let out = (batch.done - done) as u64;
            match result {
                Some(Ok(())) => {
                    let lines = if batch.ends.len() > 1 {
                        out
                    } else {
                        batch.lines()
                    };
                    self.sent(lines);
                    self.taken_up_to(batch.accounts);
                    return true;
                }
                Some(Err(NotTaken::Refused(why))) => {
                    self.refused(&why, batch.lines());
                    self.taken_up_to(batch.accounts);
                    return true;
                }
                Some(Err(NotTaken::Failed(why, wait))) => {
                    self.failed(why);
                    self.settle(&batch, out);
                    // What is not needed for this batch waits in the log, not in memory.
                    self.reading = None;
                    let delay = backoff.crashed(Instant::now(), random());
                    if self.pause(wait.unwrap_or(delay)).await.is_none() {
                        return false;
                    }
                }
                None => {
                    self.settle(&batch, out);
                    return false;
                }
            }
        }
    }

    /// Notes what is out of a batch that is not out whole.
    fn settle(&mut self, batch: &Batch, out: u64) {
        if out > 0 {
            let mut taken = self.taken.clone();
            batch.settle(&mut taken);
            self.spec.wanted.tally.out(out);
            self.taken_up_to(taken);
        }
    }

    /// Lines that are not for this receiver, and places that are known now.
    fn pass_over(&mut self) {
        if *self.batcher.accounts() != self.taken {
            let accounts = self.batcher.accounts().clone();
            self.batcher.begin_after(&accounts);
            self.taken_up_to(accounts);
        }
    }

    fn taken_up_to(&mut self, taken: Accounts) {
        self.taken = taken;
        self.spec.wanted.tally.is_at(&self.taken);
        if let Err(error) = self.cursor.write(&self.taken) {
            let path = self.spec.wanted.cursor.display();
            log::error!("{path}: {error}: lines may be sent twice after a restart");
        }
    }

    fn sent(&self, lines: u64) {
        let has_failed = self.spec.wanted.tally.sent(lines, jiff::Timestamp::now());
        if has_failed {
            let (app, drain) = self.who();
            self.spec
                .events
                .report(Report::DrainRecovered { app, drain });
        }
    }

    fn failed(&self, why: String) {
        let is_new = self
            .spec
            .wanted
            .tally
            .failed(why.clone(), jiff::Timestamp::now());
        if is_new {
            let (app, drain) = self.who();
            let reason = why;
            self.spec
                .events
                .report(Report::DrainFailing { app, drain, reason });
        }
    }

    fn refused(&mut self, why: &str, lines: u64) {
        let url = self.spec.wanted.config.url.shown();
        log::warn!(
            "{}: {url} refuses {lines} lines: {why}",
            self.spec.wanted.app
        );
        self.dropped(lines);
    }

    fn dropped(&mut self, lines: u64) {
        if lines > 0 {
            self.spec
                .wanted
                .tally
                .dropped(lines, jiff::Timestamp::now());
            self.unreported += lines;
        }
    }

    fn report_dropped(&mut self) {
        let is_soon = self.reported.is_some_and(|at| at.elapsed() < REPORTS);
        if self.unreported == 0 || is_soon {
            return;
        }
        self.reported = Some(Instant::now());
        let lines = std::mem::take(&mut self.unreported);
        let (app, drain) = self.who();
        self.spec
            .events
            .report(Report::DrainDropped { app, drain, lines });
    }

    fn who(&self) -> (std::sync::Arc<str>, String) {
        let Wanted { app, config, .. } = &self.spec.wanted;
        (app.clone(), config.url.shown())
    }
}

async fn due(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn random() -> f64 {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(random) / f64::from(u32::MAX)
}
