//! [`Exporter`]: sends spans to who collects them, in batches, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_rt::Arbiter;
use awc::http::header;
use tokio::sync::{mpsc, oneshot};

use super::settings::Settings;
use super::span::{self, Span};
use crate::threads;

/// Spans that wait to be sent.
const WAITING: usize = 4096;

/// The most spans of one batch, and how long the first of it waits for others.
const BATCH: usize = 512;
const GATHERING: Duration = Duration::from_secs(1);

/// How long a collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is waited after a batch that was not taken, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What became of spans, since the server's start.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Those that a collector has taken.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Those that found no room, or that no collector has taken.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Where spans go. Cheap to clone; when the last clone is gone the exporter ends.
#[derive(Clone, Debug)]
pub struct Sink {
    sender: mpsc::Sender<Span>,
    counts: Arc<Counts>,
}

impl Sink {
    /// Hands a span over, or counts it as dropped; waits for nobody.
    pub fn send(&self, span: Span) {
        if self.sender.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A queue of spans, and where they come out.
#[must_use]
pub fn queue() -> (Sink, mpsc::Receiver<Span>) {
    let (sender, source) = mpsc::channel(WAITING);
    let counts = Arc::default();
    (Sink { sender, counts }, source)
}

/// What sends spans.
#[derive(Debug)]
pub struct Exporter {
    counts: Arc<Counts>,
    ended: oneshot::Receiver<()>,
    thread: Arbiter,
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The machine has none for it.
    pub fn start(settings: Settings, host_name: Arc<str>) -> std::io::Result<(Sink, Self)> {
        let thread = threads::behind_applications()?;
        let (sink, source) = queue();
        let counts = Arc::clone(&sink.counts);
        let (done, ended) = oneshot::channel();
        let counted = Arc::clone(&counts);
        thread.spawn_fn(move || {
            actix_rt::spawn(async move {
                keep_sending(settings, &host_name, source, &counted).await;
                // Nobody waits when the start failed.
                let _nobody = done.send(());
            });
        });
        let exporter = Self {
            counts,
            ended,
            thread,
        };
        Ok((sink, exporter))
    }

    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Resolves when the last sink is gone, and the last span was sent or dropped. If it is dropped before, they are not.
    pub async fn ended(mut self) {
        // An error: the thread has gone.
        let _ended = (&mut self.ended).await;
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.thread.stop();
    }
}

async fn keep_sending(
    settings: Settings,
    host_name: &str,
    mut source: mpsc::Receiver<Span>,
    counts: &Counts,
) {
    let client = awc::Client::builder()
        .timeout(PATIENCE)
        .disable_redirects()
        .finish();
    let (mut pause, mut is_failing) = (PAUSES.0, false);
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = source.recv().await {
        batch.push(first);
        gather(&mut batch, &mut source).await;
        let number = batch.len() as u64;
        match send(&client, &settings, &span::batch(&batch, host_name)).await {
            Ok(()) => {
                counts.exported.fetch_add(number, Ordering::Relaxed);
                if std::mem::take(&mut is_failing) {
                    log::info!("{}: spans are taken again", settings.url);
                }
                pause = PAUSES.0;
            }
            Err(why) => {
                counts.dropped.fetch_add(number, Ordering::Relaxed);
                if !std::mem::replace(&mut is_failing, true) {
                    log::warn!("{}: spans are not taken: {why}", settings.url);
                }
                if !source.is_closed() {
                    tokio::time::sleep(pause).await;
                }
                pause = (pause * 2).min(PAUSES.1);
            }
        }
        batch.clear();
    }
}

/// Takes those that come soon.
async fn gather(batch: &mut Vec<Span>, source: &mut mpsc::Receiver<Span>) {
    let more = async {
        while batch.len() < BATCH {
            let Some(span) = source.recv().await else {
                return;
            };
            batch.push(span);
        }
    };
    // Either way they are sent.
    let _full_or_late = tokio::time::timeout(GATHERING, more).await;
}

async fn send(
    client: &awc::Client,
    settings: &Settings,
    batch: &serde_json::Value,
) -> Result<(), String> {
    let request = client
        .post(settings.url.clone())
        .insert_header((header::CONTENT_TYPE, "application/json"));
    let response = request.send_body(batch.to_string()).await;
    let response = response.map_err(|error| error.to_string())?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("the collector answers {status}")),
    }
}
