//! [`Notifier`]: the actor that listens to what is reported, and has told who wants to know. While nobody does, it
//! listens to nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use actix_rt::Arbiter;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::book::Receivers;
use super::messenger::{Brought, Messenger};
use super::notice::{Notice, State};
use super::policy::Told;
use super::told_file::ToldFile;
use super::watched::{self, Watched};
use crate::acme::status::Results;
use crate::document::notify::Receiver;
use crate::events::feed::Item;
use crate::events::report::{REMOVED, StampedReport};
use crate::events::{Feed, Report};
use crate::supervision::Shutdown;
use crate::threads;
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
    /// By the key of the receiver.
    messengers: BTreeMap<String, Messenger>,
    /// Where messengers work: names, handshakes and certificates take their time. There is none before the first.
    thread: Option<Arbiter>,
    timer: Option<SpawnHandle>,
    /// What was told is being written: what changes meanwhile is written afterwards.
    is_writing: bool,
}

/// What is heard of in reports.
#[derive(Debug)]
enum Heard {
    Notice(Notice),
    /// An application that is removed.
    Removed(Arc<str>),
}

impl Heard {
    fn of(event: &StampedReport) -> Option<Self> {
        match &event.report {
            Report::ApplicationChanged { app, change, .. } if *change == REMOVED => {
                Some(Self::Removed(Arc::clone(app)))
            }
            report => Notice::of_report(report, event.time).map(Self::Notice),
        }
    }
}

impl Notifier {
    #[must_use]
    pub fn new(spec: NotifierSpec) -> Self {
        Self {
            spec,
            told: Told::default(),
            messengers: BTreeMap::new(),
            thread: None,
            timer: None,
            is_writing: false,
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
                    && let Some(heard) = Heard::of(&event)
                    && sender.send(heard).await.is_err()
                {
                    return;
                }
            }
        });
        ctx.add_stream(tokio_stream(heard));
        let file = ToldFile::of(&self.spec.data_dir);
        let loaded = actix_rt::task::spawn_blocking(move || file.load()).into_actor(self);
        // Nothing is heard of before.
        ctx.wait(loaded.map(|loaded, notifier, ctx| {
            let now = (Instant::now(), Timestamp::now());
            notifier.told.take_over(loaded.unwrap_or_default(), now);
            if !notifier.spec.receivers.of_server().is_empty() {
                notifier.look(ctx);
                ctx.run_interval(LOOK, Self::look);
            }
        }));
    }

    /// Writes down what was told, if that has changed.
    fn keep(&mut self, ctx: &mut Context<Self>) {
        if self.is_writing {
            return;
        }
        let now = (Instant::now(), Timestamp::now());
        let Some(told) = self.told.changed(now) else {
            return;
        };
        let file = ToldFile::of(&self.spec.data_dir);
        self.is_writing = true;
        let written = actix_rt::task::spawn_blocking(move || file.store(&told));
        ctx.spawn(written.into_actor(self).map(|_, notifier, ctx| {
            notifier.is_writing = false;
            notifier.keep(ctx);
        }));
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
            self.tell(notice, ctx);
        }
        self.settle_later(ctx);
        self.keep(ctx);
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
                    notifier.tell(notice, ctx);
                }
                notifier.settle_later(ctx);
                notifier.keep(ctx);
            })
        });
    }

    fn tell(&mut self, notice: Notice, ctx: &mut Context<Self>) {
        debug_assert!(notice.state != State::Gone, "it is told to nobody");
        let known = self.spec.receivers.keys();
        self.messengers
            .retain(|key, messenger| messenger.is_alive() && known.contains(key));
        let (receivers, mask) = self.spec.receivers.of(notice.app.as_deref());
        let notice = notice.masked(&mask);
        let mut is_underway = false;
        for receiver in receivers.into_iter().filter(|one| one.wants(notice.event)) {
            let shown = receiver.to.shown();
            match self.messenger(receiver.to, ctx) {
                Ok(messenger) if messenger.bring(notice.clone()) => is_underway = true,
                Ok(_) => log::warn!("too many notices wait for {shown}: one is dropped"),
                Err(error) => log::error!("no thread for a notice to {shown}: {error}"),
            }
        }
        if !is_underway {
            self.told.brought(&notice.key());
        }
    }

    fn messenger(&mut self, to: Receiver, ctx: &mut Context<Self>) -> std::io::Result<&Messenger> {
        let key = to.key();
        if !self.messengers.contains_key(&key) {
            let told = ctx.address().recipient();
            let start = |thread: &Arbiter| {
                let book = self.spec.receivers.clone();
                Messenger::start(&thread.handle(), to.clone(), book, told.clone())
            };
            let started = self.thread.as_ref().and_then(start);
            let started = match started {
                Some(messenger) => messenger,
                // There is no thread yet, or it has failed.
                None => start(self.thread.insert(threads::behind_applications()?))
                    .ok_or_else(|| std::io::Error::other("it ended at once"))?,
            };
            self.messengers.insert(key.clone(), started);
        }
        Ok(&self.messengers[&key])
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.stop();
        }
    }
}

/// What comes through a channel.
fn tokio_stream(receiver: mpsc::Receiver<Heard>) -> impl futures::Stream<Item = Heard> {
    futures::stream::unfold(receiver, |mut receiver| async move {
        let heard = receiver.recv().await?;
        Some((heard, receiver))
    })
}

impl Actor for Notifier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.wait(ctx);
    }
}

impl StreamHandler<Heard> for Notifier {
    fn handle(&mut self, heard: Heard, ctx: &mut Self::Context) {
        match heard {
            Heard::Notice(notice) => self.hear(notice, ctx),
            Heard::Removed(app) => {
                self.told.forget(&app);
                self.keep(ctx);
            }
        }
    }
}

impl Handler<Brought> for Notifier {
    type Result = ();

    fn handle(&mut self, Brought(key): Brought, ctx: &mut Self::Context) {
        self.told.brought(&key);
        self.keep(ctx);
    }
}

impl Handler<Shutdown> for Notifier {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
