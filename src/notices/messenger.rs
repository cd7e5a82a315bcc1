//! [`Messenger`]: brings notices to one receiver, one after the other, and tries each for an hour.

use std::time::{Duration, Instant};

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::book::Receivers;
use super::deliver;
use super::notice::{Key, Notice};
use crate::document::notify::Receiver;
use crate::outgoing::post::NotTaken;
use crate::supervision::backoff::Backoff;
use crate::supervision::jitter::random;

/// Notices that may wait for one receiver.
const QUEUE: usize = 100;

/// After which a notice is no news any more.
const HOUR: Duration = Duration::from_hours(1);

/// A notice, and since when it waits.
#[derive(Debug)]
struct Waiting {
    notice: Notice,
    since: Instant,
}

/// A notice of this was taken, refused, or is no news any more.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(super) struct Brought(pub(super) Key);

/// Where notices for one receiver go. When it is dropped, those that wait are still tried, as long as its thread is there
/// and somebody names the receiver.
#[derive(Debug)]
pub(super) struct Messenger(mpsc::Sender<Waiting>);

impl Messenger {
    /// Works on `thread`; `None`: that has gone.
    pub(super) fn start(
        thread: &ArbiterHandle,
        to: Receiver,
        book: Receivers,
        told: Recipient<Brought>,
    ) -> Option<Self> {
        let (sender, notices) = mpsc::channel(QUEUE);
        let is_there = thread.spawn_fn(move || _ = actix_rt::spawn(run(to, book, notices, told)));
        is_there.then_some(Self(sender))
    }

    /// Whether it is still there.
    pub(super) fn is_alive(&self) -> bool {
        !self.0.is_closed()
    }

    /// Never waits; false when too many wait already.
    pub(super) fn bring(&self, notice: Notice) -> bool {
        let since = Instant::now();
        self.0.try_send(Waiting { notice, since }).is_ok()
    }
}

impl Waiting {
    /// It has waited so long, also for those before it, that it is no news any more.
    fn is_old(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= HOUR
    }
}

async fn run(
    to: Receiver,
    book: Receivers,
    mut notices: mpsc::Receiver<Waiting>,
    told: Recipient<Brought>,
) {
    while let Some(waiting) = notices.recv().await {
        if !book.keys().contains(&to.key()) {
            return;
        }
        bring_one(&to, &book, &waiting).await;
        told.do_send(Brought(waiting.notice.key()));
    }
}

/// Tries until it is taken or refused, or old.
async fn bring_one(to: &Receiver, book: &Receivers, waiting: &Waiting) {
    let mut backoff = Backoff::default();
    let mut last = "those before it were not taken either".to_owned();
    while !waiting.is_old(Instant::now()) {
        let (why, wait) = match deliver::once(to, &waiting.notice, book).await {
            Ok(()) => return,
            Err(NotTaken::Refused(why)) => {
                return log::warn!("a notice is refused by {}: {why}", to.shown());
            }
            Err(NotTaken::Failed(why, wait)) => (why, wait),
        };
        log::info!(
            "a notice was not taken by {}, it is tried again: {why}",
            to.shown()
        );
        last = why;
        let delay = backoff.crashed(Instant::now(), random());
        sleep(delay.max(wait.unwrap_or_default())).await;
    }
    log::warn!(
        "a notice was not taken by {} for an hour: {last}",
        to.shown()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_begins_when_a_notice_begins_to_wait() {
        let (sender, mut queue) = mpsc::channel(QUEUE);
        let messenger = Messenger(sender);
        let notice = Notice::test(None, jiff::Timestamp::UNIX_EPOCH);
        assert!(messenger.bring(notice));
        let brought = Instant::now();
        let waiting = queue.try_recv().unwrap();
        assert!(!waiting.is_old(waiting.since));
        assert!(waiting.is_old(brought + HOUR));
    }
}
