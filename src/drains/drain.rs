//! [`Drain`]: brings the logs of one application to one receiver.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::accounts::Accounts;
use super::batch::{Batch, Batcher};
use super::book::Wanted;
use super::cursor::Cursor;
use super::health::Health;
use super::outcomes::Outcomes;
use super::reading::{Reading, Unreadable};
use super::sender::Sender;
use crate::document::drain::Protocol;
use crate::events::Feed;
use crate::failpoint;
use crate::logs::app_logs::AppLogs;
use crate::logs::query::Chunk;
use crate::logs::record::Stream;
use crate::outgoing::post::NotTaken;
use crate::supervision::backoff::Backoff;
use crate::supervision::jitter::random;

/// How long a request waits for more lines.
const LINGER: Duration = Duration::from_secs(1);

/// Pause while a log is being started.
const STARTING: Duration = Duration::from_secs(1);

/// What is on its way when the drain is to end may take so long.
const LAST_BATCH: Duration = Duration::from_secs(2);

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
    wanted: Wanted,
    logs: AppLogs,
    ends: watch::Receiver<bool>,
    streams: Vec<Stream>,
    cursor: Cursor,
    /// Up to where the receiver has the logs.
    taken: Accounts,
    batcher: Batcher,
    reading: Option<Reading>,
    /// How often the log could not be read, whether that was told, and the pause before it is tried again.
    unreadable: Backoff,
    is_unreadable: bool,
    reads_after: Option<Duration>,
    sender: Sender,
    health: Health,
    outcomes: Outcomes,
}

impl Drain {
    pub(super) fn new(spec: DrainSpec) -> std::io::Result<Self> {
        let DrainSpec {
            wanted,
            host,
            logs,
            events,
            ends,
        } = spec;
        let (cursor, taken) = Cursor::open(&wanted.cursor)?;
        wanted.tally.begins_at(&taken);
        let config = &wanted.config;
        let mut batcher = Batcher::new(config.protocol, &config.types, &host, &wanted.app);
        batcher.begin_after(&taken);
        Ok(Self {
            streams: wanted.streams().collect(),
            cursor,
            taken,
            batcher,
            reading: None,
            unreadable: Backoff::default(),
            is_unreadable: false,
            reads_after: None,
            sender: Sender::new(config, &wanted.mask),
            health: Health::default(),
            outcomes: Outcomes::new(wanted.clone(), events),
            wanted,
            logs,
            ends,
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
            self.outcomes.report_dropped();
            if self.health.is_well(Instant::now()) {
                self.outcomes.is_well();
            }
            let is_waited_for = self.reads_after.is_some() && !self.batcher.is_empty();
            if self.batcher.is_full() || is_waited_for {
                return Some(self.batcher.finish());
            }
            if let Some(pause) = self.reads_after.take() {
                self.pause(pause).await?;
            }
            if self.reading.is_none() {
                self.open().await;
            }
            let Some(reading) = &mut self.reading else {
                continue;
            };
            let is_empty = self.batcher.is_empty();
            let (is_due, is_well) = (due(deadline), due(self.health.well_at()));
            let chunk = tokio::select! {
                biased;
                () = told_to_end(&mut self.ends) => return None,
                chunk = reading.next() => chunk,
                () = is_due => return Some(self.batcher.finish()),
                lost = self.sender.closed(), if is_empty => {
                    self.closed(lost).await?;
                    continue;
                }
                () = is_well => continue,
            };
            match chunk {
                Some(chunk) => self.take(&chunk),
                None => self.ended(),
            }
            if self.batcher.is_empty() {
                self.pass_over();
            } else if deadline.is_none() {
                deadline = Some(Instant::now() + self.linger());
            }
        }
    }

    fn linger(&self) -> Duration {
        match self.is_confirmed() {
            true => LINGER,
            false => Duration::ZERO,
        }
    }

    /// Whether its receiver says what it has taken.
    fn is_confirmed(&self) -> bool {
        matches!(
            self.wanted.config.protocol,
            Protocol::Ndjson | Protocol::Loki
        )
    }

    fn take(&mut self, chunk: &Chunk) {
        let dropped = match chunk {
            Chunk::Lines(records) => self.batcher.take(records),
            Chunk::Current(ends) => self.batcher.come_to(ends, jiff::Timestamp::now()),
            // The ids tell it exactly.
            Chunk::Begins(_) | Chunk::Lost(_) => return,
        };
        self.outcomes.gathered(self.batcher.accounts(), dropped);
        if matches!(chunk, Chunk::Current(_)) {
            self.outcomes.is_current();
        }
        if std::mem::take(&mut self.is_unreadable) {
            self.outcomes.is_readable();
            self.health.sent(Instant::now(), false);
        }
        self.unreadable.reset();
    }

    /// The log gives nothing more. It is read on at once, unless it gave nothing at all: then it cannot be read.
    fn ended(&mut self) {
        let reading = self.reading.take();
        if !reading.is_some_and(|reading| reading.has_given()) {
            self.cannot_read("the server's log says why");
        }
    }

    fn cannot_read(&mut self, why: &str) {
        let delay = self.unreadable.crashed(Instant::now(), random());
        // One that is restarted has ended in the middle, too.
        if !delay.is_zero() {
            self.is_unreadable = true;
            self.outcomes
                .failed(format!("its own log cannot be read: {why}"));
        }
        self.reads_after = Some(delay);
    }

    /// Opens the log, or says when to try again.
    async fn open(&mut self) {
        match self.try_to_open().await {
            Ok(reading) => self.reading = Some(reading),
            Err(Unreadable::Starting) => self.reads_after = Some(STARTING),
            Err(Unreadable::Failed(why)) => self.cannot_read(&why),
        }
    }

    async fn try_to_open(&mut self) -> Result<Reading, Unreadable> {
        let Wanted { app, since, .. } = &self.wanted;
        let accounts = self.batcher.accounts();
        let is_new = |stream: &Stream| accounts.last(*stream).is_none();
        let new: Vec<Stream> = self.streams.iter().copied().filter(is_new).collect();
        // A log that an old drain is to send from now on begins here: with `since`, lines of the others would be passed
        // over that wait.
        if !new.is_empty() && new.len() < self.streams.len() {
            let ends = Reading::ends(&self.logs, app, &new).await?;
            self.batcher.come_to(&ends, jiff::Timestamp::now());
        }
        let accounts = self.batcher.accounts();
        Reading::open(&self.logs, app, &self.streams, accounts, *since).await
    }

    /// Waits; `None`: the drain is to end.
    async fn pause(&mut self, delay: Duration) -> Option<()> {
        tokio::select! {
            biased;
            () = told_to_end(&mut self.ends) => None,
            () = sleep(delay) => Some(()),
        }
    }

    /// The connection is gone; `lost`: and with it what went out last. `None`: the drain is to end.
    async fn closed(&mut self, lost: Option<String>) -> Option<()> {
        match lost {
            Some(why) => self.failed(why, None).await,
            None => Some(()),
        }
    }

    /// Waits after something has failed; `None`: the drain is to end.
    async fn failed(&mut self, why: String, asked: Option<Duration>) -> Option<()> {
        let delay = self.health.failed(Instant::now(), asked, random());
        self.outcomes.failed(why);
        // What is not needed now waits in the log, not in memory.
        self.reading = None;
        self.outcomes.foresee(&self.logs);
        self.pause(delay).await
    }

    /// Sends a batch until it is taken, or refused for good; false: the drain is to end.
    async fn deliver(&mut self, mut batch: Batch) -> bool {
        failpoint::reach("a drain delivers");
        loop {
            let done = batch.done;
            let result = self.try_once(&mut batch).await;
            let out = (batch.done - done) as u64;
            match result {
                Some(Ok(())) => {
                    let lines = match batch.ends.len() {
                        0 | 1 => batch.lines(),
                        _ => out,
                    };
                    self.health.sent(Instant::now(), self.is_confirmed());
                    self.taken_up_to(batch.accounts);
                    self.outcomes.sent(lines, &self.taken);
                    return true;
                }
                Some(Err(NotTaken::Refused(why))) => {
                    let lines = batch.lines();
                    self.taken_up_to(batch.accounts);
                    self.outcomes.refused(&why, lines, &self.taken);
                    return true;
                }
                Some(Err(NotTaken::Failed(why, asked))) => {
                    self.settle(&batch, out);
                    if self.failed(why, asked).await.is_none() {
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

    /// Sends what is not out of a batch; `None`: the drain is to end, and that takes too long.
    async fn try_once(&mut self, batch: &mut Batch) -> Option<Result<(), NotTaken>> {
        let mut ends = self.ends.clone();
        let is_late = async {
            told_to_end(&mut ends).await;
            sleep(LAST_BATCH).await;
        };
        tokio::select! {
            biased;
            result = self.sender.send(batch) => Some(result),
            () = is_late => None,
        }
    }

    /// Notes what is out of a batch that is not out whole.
    fn settle(&mut self, batch: &Batch, out: u64) {
        if out > 0 {
            let mut taken = self.taken.clone();
            batch.settle(&mut taken);
            self.taken_up_to(taken);
            self.outcomes.out(out, &self.taken);
        }
    }

    /// Lines that are not for this receiver, and places that are known now.
    fn pass_over(&mut self) {
        if *self.batcher.accounts() != self.taken {
            let accounts = self.batcher.accounts().clone();
            self.batcher.begin_after(&accounts);
            self.taken_up_to(accounts);
            self.outcomes.is_at(&self.taken);
        }
    }

    /// Writes it to the cursor. Only then others may see it: what is seen as taken is not sent again, whatever happens.
    fn taken_up_to(&mut self, taken: Accounts) {
        self.taken = taken;
        if let Err(error) = self.cursor.write(&self.taken) {
            let path = self.wanted.cursor.display();
            log::error!("{path}: {error}: lines may be sent twice after a restart");
        }
    }
}

/// Resolves, too, when nobody is there any more to say so.
async fn told_to_end(ends: &mut watch::Receiver<bool>) {
    let _ended = ends.wait_for(|ends| *ends).await;
}

async fn due(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
