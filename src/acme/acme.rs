//! [`Acme`]: the actor that keeps a certificate for every name that is wanted.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::authority::Authority;
use super::challenges::PublishedChallenges;
use super::error::OrderError;
use super::name::Name;
use super::precheck::Precheck;
use super::schedule::{OrderRate, Window};
use super::settings::Settings;
use super::status::Results;
use super::storage::{Kept, Storage, StorageError};
use super::wish::{Wish, Wishes};
use crate::events::{Feed, Report};
use crate::supervision::Shutdown;
use crate::tls::certificate::Certificate;

/// How often it looks at all names at least: a clock may have been set.
const LOOK: Duration = Duration::from_secs(10 * 60);

/// What the actor is started with; it outlives each of them.
#[derive(Clone, Debug)]
pub struct AcmeSpec {
    pub settings: Arc<Settings>,
    pub storage: Storage,
    pub precheck: Precheck,
    pub wishes: watch::Receiver<Wishes>,
    pub challenges: Arc<PublishedChallenges>,
    pub results: Arc<Results>,
    pub events: Feed,
}

/// The actor that keeps a certificate for every name that is wanted. It has one order for a name at a time.
#[derive(Debug)]
pub struct Acme {
    spec: AcmeSpec,
    authority: Arc<Authority>,
    names: BTreeMap<String, Name>,
    rate: OrderRate,
    alarm: Option<SpawnHandle>,
    /// The CA is being asked when it wants a renewal: one name after the other.
    is_asking: bool,
}

/// Orders a certificate for this name now, whatever its age is and how often it failed.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), NotWanted>")]
pub struct Renew(pub String);

/// Nothing asks for a certificate of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no certificate is asked for {0}: no application that has deployed has it in its hosts, its tls.acme is false, or a \
     certificate file of the settings covers it"
)]
pub struct NotWanted(pub String);

impl Acme {
    #[must_use]
    pub fn new(spec: AcmeSpec) -> Self {
        let authority = Authority::new(
            Arc::clone(&spec.settings),
            spec.storage.clone(),
            Arc::clone(&spec.challenges),
            spec.precheck.clone(),
        );
        Self {
            spec,
            authority: Arc::new(authority),
            names: BTreeMap::new(),
            rate: OrderRate::default(),
            alarm: None,
            is_asking: false,
        }
    }

    /// Takes what is wanted now, reads what is kept of the names that are new, and waits for others.
    fn take_wishes(&mut self, ctx: &mut Context<Self>) {
        let wishes = self.spec.wishes.borrow_and_update().clone();
        // One that is being ordered stays until that is over: else the next to want it would have it ordered twice.
        self.names
            .retain(|name, state| state.is_busy || wishes.contains_key(name));
        let mut fresh = Vec::new();
        for (name, wish) in wishes {
            match self.names.get_mut(&name) {
                Some(state) => state.wish = wish,
                None => fresh.push((name, wish)),
            }
        }
        let storage = self.spec.storage.clone();
        let mut changes = self.spec.wishes.clone();
        let reading = async move {
            let read = tokio::task::spawn_blocking(move || {
                let load = |(name, wish): (String, Wish)| (storage.load(&name), name, wish);
                fresh.into_iter().map(load).collect::<Vec<_>>()
            });
            read.await.unwrap_or_default()
        };
        let taken = reading.into_actor(self).map(|read, acme, ctx| {
            for (kept, name, wish) in read {
                acme.take_kept(name, wish, kept);
            }
            acme.plan(ctx);
        });
        let changed = async move { changes.changed().await };
        let watched = taken.then(move |(), acme: &mut Self, _| changed.into_actor(acme));
        ctx.spawn(watched.map(|changed, acme, ctx| {
            if changed.is_ok() {
                acme.take_wishes(ctx);
            }
        }));
    }

    fn take_kept(&mut self, name: String, wish: Wish, kept: Result<Kept, StorageError>) {
        let kept = kept.unwrap_or_else(|error| {
            log::error!("what is kept of the certificate for {name} cannot be read: {error}");
            Kept::default()
        });
        if let Some(error) = &kept.error {
            log::warn!("the certificate for {name} is asked for again: {error}");
        }
        // The CA may look at any time: as if the daemon before this had not ended.
        for answer in kept.order.iter().flat_map(|order| &order.answers) {
            if let Err(error) = self.spec.challenges.add(answer) {
                log::error!("a challenge for {name} cannot be answered: {error}");
            }
        }
        self.names.insert(name, Name::new(kept, wish));
    }

    /// Begins what is due, publishes how everything stands, and sets the alarm for the next.
    fn plan(&mut self, ctx: &mut Context<Self>) {
        let now = Timestamp::now();
        let mut due: Vec<(Timestamp, String)> = self
            .names
            .iter()
            .filter(|(_, state)| !state.is_busy)
            .filter_map(|(name, state)| Some((state.due(now)?, name.clone())))
            .collect();
        due.sort_unstable();
        let mut next = None;
        for (at, name) in due {
            let begun = match at <= now {
                true => self.rate.begin(now),
                false => Err(at),
            };
            match begun {
                Ok(()) => self.order(name, ctx),
                Err(at) => {
                    next = Some(at);
                    break;
                }
            }
        }
        let asked = self.ask_for_window(now, ctx);
        self.publish(now);
        self.set_alarm(now, next.into_iter().chain(asked).min(), ctx);
    }

    fn set_alarm(&mut self, now: Timestamp, next: Option<Timestamp>, ctx: &mut Context<Self>) {
        let until = next.map_or(LOOK, |next| {
            let until = next.duration_since(now).max(SignedDuration::ZERO);
            until.unsigned_abs().min(LOOK)
        });
        let alarm = ctx.run_later(until, |acme, ctx| {
            acme.alarm = None;
            acme.plan(ctx);
        });
        if let Some(former) = self.alarm.replace(alarm) {
            ctx.cancel_future(former);
        }
    }

    fn order(&mut self, name: String, ctx: &mut Context<Self>) {
        let Some(state) = self.names.get_mut(&name) else {
            return;
        };
        (state.is_busy, state.is_ordering) = (true, true);
        log::info!("certificate for {name}: it is ordered");
        let (authority, old) = (Arc::clone(&self.authority), state.certificate.clone());
        let ordered = async move {
            let done = caught(authority.obtain(&name, old.as_deref())).await;
            (name, done)
        };
        ctx.spawn(ordered.into_actor(self).map(|(name, done), acme, ctx| {
            acme.finish(name, done, ctx);
        }));
    }

    fn finish(
        &mut self,
        name: String,
        done: Result<Certificate, OrderError>,
        ctx: &mut Context<Self>,
    ) {
        // One that nobody wants any more is kept in its files.
        let Some(state) = self.names.get_mut(&name) else {
            return;
        };
        state.is_ordering = false;
        match done {
            Ok(certificate) => {
                log::info!(
                    "certificate for {name}: it is valid until {}",
                    certificate.not_after
                );
                state.issued(certificate, Timestamp::now());
                let name = name.clone();
                self.spec.events.report(Report::CertificateIssued { name });
            }
            Err(error) => {
                log::warn!("certificate for {name}: {error}");
                let attempts = &mut state.meta.attempts;
                attempts.failed(Timestamp::now(), error.to_string());
                self.spec.events.report(Report::CertificateFailed {
                    name: name.clone(),
                    reason: error.to_string(),
                });
            }
        }
        self.keep(name, ctx);
    }

    /// Asks the CA for the next name when it wants a renewal. Returns when there is one to ask for.
    fn ask_for_window(&mut self, now: Timestamp, ctx: &mut Context<Self>) -> Option<Timestamp> {
        let idle = self.names.iter().filter(|(_, state)| !state.is_busy);
        let first = idle.filter_map(|(name, state)| Some((state.window_due(now)?, name)));
        let (at, name) = first.min()?;
        if self.is_asking || at > now {
            return Some(at).filter(|at| *at > now);
        }
        let name = name.clone();
        let state = self.names.get_mut(&name)?;
        let certificate = Arc::clone(state.certificate.as_ref()?);
        state.is_busy = true;
        self.is_asking = true;
        let authority = Arc::clone(&self.authority);
        let asked = async move { caught(authority.renewal_window(&certificate)).await };
        ctx.spawn(asked.into_actor(self).map(|said, acme, ctx| {
            acme.is_asking = false;
            acme.take_window(name, said, ctx);
        }));
        None
    }

    fn take_window(
        &mut self,
        name: String,
        said: Result<Option<(Window, Timestamp)>, OrderError>,
        ctx: &mut Context<Self>,
    ) {
        let said = said.unwrap_or_else(|error| {
            log::info!("certificate for {name}: when to renew it is not known: {error}");
            None
        });
        if let Some(state) = self.names.get_mut(&name) {
            state.take_window(Timestamp::now(), said);
            self.keep(name, ctx);
        } else {
            self.plan(ctx);
        }
    }

    /// Writes down what is known of a name; then it is no more busy.
    fn keep(&mut self, name: String, ctx: &mut Context<Self>) {
        let Some(state) = self.names.get(&name) else {
            return;
        };
        let (storage, meta) = (self.spec.storage.clone(), state.meta.clone());
        let written = async move {
            let named = name.clone();
            let work = move || storage.save_meta(&named, &meta);
            let written = match tokio::task::spawn_blocking(work).await {
                Ok(written) => written.map_err(OrderError::from),
                Err(error) => Err(error.into()),
            };
            (name, written)
        };
        ctx.spawn(written.into_actor(self).map(|(name, written), acme, ctx| {
            if let Err(error) = written {
                log::error!("what is known of the certificate for {name} is not kept: {error}");
            }
            let is_wanted = acme.spec.wishes.borrow().contains_key(&name);
            match acme.names.get_mut(&name) {
                Some(state) if is_wanted => state.is_busy = false,
                _ => drop(acme.names.remove(&name)),
            }
            acme.plan(ctx);
        }));
    }

    fn publish(&self, now: Timestamp) {
        let certificates: Vec<Arc<Certificate>> = self
            .names
            .values()
            .filter_map(|state| state.certificate.clone())
            .collect();
        self.spec.results.certificates.send_if_modified(|former| {
            let is_same = former.len() == certificates.len()
                && former
                    .iter()
                    .zip(&certificates)
                    .all(|(one, other)| Arc::ptr_eq(one, other));
            *former = certificates;
            !is_same
        });
        let shown = self.names.iter().filter(|(_, state)| state.is_shown());
        let rows = shown.map(|(name, state)| state.row(name, now));
        self.spec.results.rows.send_replace(rows.collect());
    }
}

/// Makes a panic of the library a failure of one attempt. What a CA answers must not end the server, which gives up when
/// an actor of its own panics again and again.
async fn caught<T>(asked: impl Future<Output = Result<T, OrderError>>) -> Result<T, OrderError> {
    let done = AssertUnwindSafe(asked).catch_unwind().await;
    done.unwrap_or(Err(OrderError::Panicked))
}

impl Actor for Acme {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.take_wishes(ctx);
    }
}

impl Handler<Renew> for Acme {
    type Result = Result<(), NotWanted>;

    fn handle(&mut self, Renew(name): Renew, ctx: &mut Self::Context) -> Self::Result {
        let ordered = self.names.get_mut(&name);
        let Some(state) = ordered.filter(|state| state.wish == Wish::Order) else {
            return Err(NotWanted(name));
        };
        // One that is being ordered is as new as can be. After what else it is busy with, it is ordered.
        if !state.is_ordering {
            state.ask();
            self.plan(ctx);
        }
        Ok(())
    }
}

impl Handler<Shutdown> for Acme {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
