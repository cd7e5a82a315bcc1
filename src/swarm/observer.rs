//! [`Observer`]: lists the swarm again and again, once for all services of this server.
//!
//! An engine tells of no change of a task, so it is asked: often while something is on its way, else now and then. Who
//! needs to know sooner that a process is gone finds out by connecting to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::client::{Client, EngineError};
use super::labels;
use super::listing::Listing;

/// Between two listings, whoever asks.
const LEAST: Duration = Duration::from_millis(100);
/// Between two listings while something is on its way.
const MOVING: Duration = Duration::from_millis(300);
/// Between two listings while all is as it should be.
const RESTING: Duration = Duration::from_secs(5);
/// How long it stays attentive after somebody has asked.
const ATTENTIVE: Duration = Duration::from_secs(3);

/// What was found, or why nothing was. Its number says which of the calls of [`Observer::look`] it answers.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub number: u64,
    pub listing: Option<Result<Arc<Listing>, EngineError>>,
}

/// Lists the swarm again and again. Clones are one.
#[derive(Clone, Debug)]
pub struct Observer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Arc<Client>,
    /// The label by which this server's services are known.
    label: String,
    asked: AtomicU64,
    nudge: Notify,
    observed: watch::Sender<Observed>,
}

impl Observer {
    /// Nothing is listed before [`Self::run`] is polled, nor while nobody follows.
    #[must_use]
    pub fn new(client: Arc<Client>, server: &str) -> Self {
        let shared = Shared {
            client,
            label: format!("{}={server}", labels::SERVER),
            asked: AtomicU64::new(0),
            nudge: Notify::new(),
            observed: watch::Sender::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Asks for a listing that begins from now on; it and later ones have at least this number.
    #[must_use]
    pub fn look(&self) -> u64 {
        let number = self.shared.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.shared.nudge.notify_one();
        number
    }

    /// What is found from now on.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Observed> {
        self.shared.observed.subscribe()
    }

    /// One listing that begins now.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn fresh(&self) -> Result<Arc<Listing>, EngineError> {
        self.list().await.map(Arc::new)
    }

    /// Lists for ever.
    pub async fn run(self) {
        let shared = &self.shared;
        let (mut attentive, mut last) = (Instant::now(), None::<Instant>);
        loop {
            let is_moving = {
                let observed = shared.observed.borrow();
                let listing = observed.listing.as_ref();
                listing.is_some_and(|l| l.as_ref().is_ok_and(|l| l.is_in_motion()))
            };
            let pause = match is_moving || attentive.elapsed() < ATTENTIVE {
                true => MOVING,
                false => RESTING,
            };
            tokio::select! {
                () = shared.nudge.notified() => attentive = Instant::now(),
                () = sleep(pause), if shared.observed.receiver_count() > 0 => {}
            }
            // Each listing of a young process asks for the next one.
            if let Some(last) = last {
                sleep(LEAST.saturating_sub(last.elapsed())).await;
            }
            last = Some(Instant::now());
            let number = shared.asked.load(Ordering::SeqCst);
            let listing = self.list().await;
            if let Err(error) = &listing {
                log::debug!("swarm: {error}");
            }
            shared.observed.send_replace(Observed {
                number,
                listing: Some(listing.map(Arc::new)),
            });
        }
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        let Shared { client, label, .. } = &*self.shared;
        // Services first: the tasks of one that is removed meanwhile are still listed.
        let services = client.services(label).await?;
        let (tasks, nodes) = futures::try_join!(client.tasks(label), client.nodes())?;
        Ok(Listing::new(services, tasks, &nodes))
    }
}
