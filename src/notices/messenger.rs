//! [`Messenger`]: brings notices to one receiver, one after the other, and tries each for an hour.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::book::Receivers;
use super::deliver;
use super::notice::Notice;
use crate::document::notify::Receiver;
use crate::outgoing::post::NotTaken;
use crate::supervision::backoff::Backoff;

/// Notices that may wait for one receiver.
const QUEUE: usize = 100;

/// After which a notice is no news any more.
const HOUR: Duration = Duration::from_hours(1);

/// Where notices for one receiver go.
#[derive(Debug)]
pub(super) struct Messenger(mpsc::Sender<Notice>);

impl Messenger {
    pub(super) fn start(to: Receiver, book: Receivers) -> Self {
        let (sender, notices) = mpsc::channel(QUEUE);
        actix_rt::spawn(run(to, book, notices));
        Self(sender)
    }

    /// Whether it is still there.
    pub(super) fn is_alive(&self) -> bool {
        !self.0.is_closed()
    }

    /// Never waits; false when too many wait already.
    pub(super) fn bring(&self, notice: Notice) -> bool {
        self.0.try_send(notice).is_ok()
    }
}

async fn run(to: Receiver, book: Receivers, mut notices: mpsc::Receiver<Notice>) {
    while let Some(notice) = notices.recv().await {
        let (begin, mut backoff) = (Instant::now(), Backoff::default());
        loop {
            let (why, wait) = match deliver::once(&to, &notice, &book).await {
                Ok(()) => break,
                Err(NotTaken::Refused(why)) => {
                    log::warn!("a notice is refused by {}: {why}", to.shown());
                    break;
                }
                Err(NotTaken::Failed(why, wait)) => (why, wait),
            };
            if begin.elapsed() >= HOUR {
                log::warn!(
                    "a notice was not taken by {} for an hour: {why}",
                    to.shown()
                );
                break;
            }
            let random = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
            let delay = backoff.crashed(Instant::now(), random);
            log::info!(
                "a notice was not taken by {}, it is tried again: {why}",
                to.shown()
            );
            sleep(wait.unwrap_or(delay)).await;
        }
    }
}
