//! [`Notifier`]: the actor that listens to what is reported, and has told who wants to know. While nobody does, it
//! listens to nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::book::Receivers;
use super::messenger::Messenger;
use super::notice::{Notice, State};
use super::policy::Told;
use super::watched::{self, Watched};
use crate::acme::status::Results;
use crate::events::Feed;
use crate::events::feed::Item;
use crate::supervision::Shutdown;
use crate::tls::store::Published;

/// How often certificates and the disk are looked at.
const LOOK: Duration = Duration::from_mins(1);

/// What the Notifier is given.
#[derive(Clone, Debug)]
pub struct NotifierSpec {
    pub receivers: Receivers,
    pub events: Feed,
    pub published: Arc<Published>,
    pub acme: Arc<Results>,
    pub data_dir: PathBuf,
}

/// Has told who wants to know.
#[derive(Debug)]
pub struct Notifier {
    spec: NotifierSpec,
    told: Told,
    /// By what is shown of the receiver and its own URL.
    messengers: BTreeMap<String, Messenger>,
    timer: Option<SpawnHandle>,
}

impl Notifier {
    #[must_use]
    pub fn new(spec: NotifierSpec) -> Self {
        Self {
            spec,
            told: Told::default(),
            messengers: BTreeMap::new(),
            timer: None,
        }
    }

    /// Waits until somebody wants to be told, then listens.
    fn wait(&mut self, ctx: &mut Context<Self>) {
        if !self.spec.receivers.is_empty() {
            return self.listen(ctx);
        }
        let receivers = self.spec.receivers.clone();
        let changed = async move { receivers.changed().await }.into_actor(self);
        ctx.spawn(changed.map(|(), notifier, ctx| notifier.wait(ctx)));
    }

    fn listen(&mut self, ctx: &mut Context<Self>) {
        let mut follower = self.spec.events.follow(None);
        let (sender, heard) = mpsc::channel(64);
        actix_rt::spawn(async move {
            while let Some(item) = follower.next().await {
                if let Item::Event(event) = item
                    && let Some(notice) = Notice::of_report(&event.report, event.time)
                    && sender.send(notice).await.is_err()
                {
                    return;
                }
            }
        });
        ctx.add_stream(tokio_stream(heard));
        if !self.spec.receivers.of_server().is_empty() {
            self.look(ctx);
            ctx.run_interval(LOOK, Self::look);
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let watched = Watched {
            published: Arc::clone(&self.spec.published),
            acme: Arc::clone(&self.spec.acme),
        };
        for notice in watched.certificates(Timestamp::now()) {
            self.hear(notice, ctx);
        }
        let directory = self.spec.data_dir.clone();
        let look = move || watched::disk(&directory, Timestamp::now());
        let looked = actix_rt::task::spawn_blocking(look).into_actor(self);
        ctx.spawn(looked.map(|looked, notifier, ctx| {
            if let Ok(Some(notice)) = looked {
                notifier.hear(notice, ctx);
            }
        }));
    }

    fn hear(&mut self, notice: Notice, ctx: &mut Context<Self>) {
        if let Some(notice) = self.told.hear(notice, Instant::now()) {
            self.tell(notice);
        }
        self.settle_later(ctx);
    }

    /// Tells what has stayed so, when it has.
    fn settle_later(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = self.told.next().map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            ctx.run_later(left, |notifier, ctx| {
                for notice in notifier.told.settled(Instant::now()) {
                    notifier.tell(notice);
                }
                notifier.settle_later(ctx);
            })
        });
    }

    fn tell(&mut self, notice: Notice) {
        self.messengers.retain(|_, messenger| messenger.is_alive());
        let (receivers, mask) = self.spec.receivers.of(notice.app.as_deref());
        let notice = notice.masked(&mask);
        for receiver in receivers.into_iter().filter(|one| one.wants(notice.event)) {
            let (to, book) = (receiver.to, self.spec.receivers.clone());
            let key = to.key();
            let messenger = self.messengers.entry(key);
            let messenger = messenger.or_insert_with(|| Messenger::start(to.clone(), book));
            if !messenger.bring(notice.clone()) {
                log::warn!("too many notices wait for {}: one is dropped", to.shown());
            }
        }
        debug_assert!(notice.state != State::Gone, "it is told to nobody");
    }
}

/// What comes through a channel.
fn tokio_stream(receiver: mpsc::Receiver<Notice>) -> impl futures::Stream<Item = Notice> {
    futures::stream::unfold(receiver, |mut receiver| async move {
        let notice = receiver.recv().await?;
        Some((notice, receiver))
    })
}

impl Actor for Notifier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.wait(ctx);
    }
}

impl StreamHandler<Notice> for Notifier {
    fn handle(&mut self, notice: Notice, ctx: &mut Self::Context) {
        self.hear(notice, ctx);
    }
}

impl Handler<Shutdown> for Notifier {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
