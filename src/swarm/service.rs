//! [`Service`]: the actor that owns one service of the swarm: the processes of one type of a batch.
//!
//! It interprets the commands of [`super::life::Life`]; calls, checks and what is printed run as futures of the actor,
//! whose results come back as events.

mod checks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::client::EngineError;
use super::image::Image;
use super::known::Record;
use super::life::{Command, Event, Life, RETRY};
use super::logs::{self, Source, Told};
use super::observer::Observed;
use super::seen::{Seen, SeenTask};
use super::spec::ServiceSpec;
use super::swarm::Swarm;
use crate::exit_status::ExitRecord;
use crate::failpoint;
use crate::logs::log::Log;
use crate::process::out_of_memory;
use crate::process::phase::Phase;
use crate::process::snapshot::{Place, Snapshot};
use crate::process::worker::ProcessChanged;
use crate::supervision::{ChildRef, Exit, ExitReason, Shutdown};
use checks::Watch;

/// How long what was printed last may take to come once nothing runs any more.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The actor that owns one service. [`Shutdown`] removes the service, and when its tasks have ended it ends itself.
/// Dropped without that (a panic), it leaves the service to its successor.
#[derive(Debug)]
pub struct Service {
    spec: Arc<ServiceSpec>,
    /// What nodes fetch, and with what.
    image: Image,
    swarm: Arc<Swarm>,
    log: ChildRef<Log>,
    parent: Recipient<ProcessChanged>,
    exit: ExitReason,
    life: Life,
    /// Listings with a lower number are older than the last change.
    since: u64,
    /// The id that the service has or had.
    id: Option<String>,
    /// What was written down last.
    remembered: Option<Seen>,
    /// The last change of what is known on disk.
    written: Option<actix_rt::task::JoinHandle<()>>,
    watches: BTreeMap<u64, Watch>,
    /// The tasks whose output is read, or was, each with whether it has ended.
    read: BTreeMap<String, Arc<AtomicBool>>,
    /// How many of them are being read.
    readers: usize,
    /// Whether it takes over what an actor before it, or the server before, has left.
    succeeds: bool,
    /// All is gone but what the last tasks have printed.
    is_finished: bool,
}

/// How many processes there are to be.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct Want(pub u64);

impl Service {
    /// A Service for `spec`, of `image`, reporting to `parent`,
    /// its output going to `log`.
    #[must_use]
    pub fn new(
        spec: ServiceSpec,
        image: Image,
        swarm: Arc<Swarm>,
        log: ChildRef<Log>,
        parent: Recipient<ProcessChanged>,
        exit: ExitReason,
    ) -> Self {
        Self {
            life: Life::new(spec.restart, spec.routed, spec.is_measured, spec.quantity),
            spec: Arc::new(spec),
            image,
            swarm,
            log,
            parent,
            exit,
            since: 0,
            id: None,
            remembered: None,
            written: None,
            watches: BTreeMap::new(),
            read: BTreeMap::new(),
            readers: 0,
            succeeds: false,
            is_finished: false,
        }
    }

    /// The same, which takes over what another has left if it `succeeds` one.
    #[must_use]
    pub fn succeeding(self, succeeds: bool) -> Self {
        Self { succeeds, ..self }
    }

    fn apply(&mut self, event: Event, ctx: &mut Context<Self>) {
        for command in self.life.handle(event, Instant::now()) {
            self.carry_out(command, ctx);
        }
    }

    fn carry_out(&mut self, command: Command, ctx: &mut Context<Self>) {
        let client = Arc::clone(&self.swarm.client);
        let credentials = self.image.credentials();
        match command {
            Command::Create(replicas) => {
                let spec = self.spec.for_engine(replicas);
                let create = async move {
                    let spec = client.confine(spec).await?;
                    let created = client.create(spec, credentials).await;
                    failpoint::reach("a service is created");
                    match created {
                        // One of this name that no listing has: looking again at once would find the same.
                        Err(EngineError::Conflict(why)) => Err(EngineError::Refused(why)),
                        created => created,
                    }
                };
                self.call(create, ctx);
            }
            Command::Scale {
                id,
                version,
                replicas,
            } => {
                let scale = async move { client.scale(&id, version, replicas, credentials).await };
                self.call(scale, ctx);
            }
            Command::Restore {
                id,
                version,
                replicas,
            } => {
                let name = self.spec.name();
                log::warn!(
                    "swarm: others have changed service {name}: it gets its specification again"
                );
                let spec = self.spec.for_engine(replicas);
                let update = async move {
                    let spec = client.confine(spec).await?;
                    client.update(&id, version, spec, credentials).await
                };
                self.call(update, ctx);
            }
            Command::RemoveLate => {
                let (swarm, name) = (Arc::clone(&self.swarm), self.spec.name());
                actix_rt::spawn(async move { swarm.remove_late(&name).await });
            }
            Command::Remove(id) => {
                let remove = async move {
                    failpoint::reach("before a service is removed");
                    let removed = client.remove(&id).await;
                    failpoint::reach("after a service is removed");
                    removed
                };
                self.call(remove, ctx);
            }
            Command::Look => self.since = self.swarm.observer.look(),
            Command::ArmRetry => {
                ctx.run_later(RETRY, |this, ctx| this.apply(Event::Due, ctx));
            }
            Command::Check { number, task } => self.check(number, task, ctx),
            Command::Uncheck(number) => self.uncheck(number, ctx),
            Command::Report { number, exited } => self.report(number, exited),
            Command::Finish => {
                self.is_finished = true;
                self.end_reading(|_| true);
                ctx.run_later(LAST_WORDS, |this, ctx| this.end(ctx));
                self.end_if_read(ctx);
            }
        }
    }

    fn call(
        &self,
        call: impl Future<Output = Result<(), EngineError>> + 'static,
        ctx: &mut Context<Self>,
    ) {
        ctx.spawn(call.into_actor(self).map(|result, this, ctx| {
            let event = match result {
                // Somebody was quicker: the next listing tells what there is now.
                Ok(()) | Err(EngineError::Conflict(_)) => Event::Changed,
                Err(error) if error.is_for_good() => Event::Refused(error.to_string()),
                Err(error) => Event::Failed(error.to_string()),
            };
            this.apply(event, ctx);
        }));
    }

    /// Takes what is observed, for as long as it lives.
    fn follow(&self, ctx: &mut Context<Self>) {
        let observed = self.swarm.observer.follow();
        let listings = futures::stream::unfold(observed, async |mut observed| {
            // The observer lives as long as the swarm does.
            observed.changed().await.ok()?;
            let latest = observed.borrow_and_update().clone();
            Some((latest, observed))
        });
        ctx.add_stream(Box::pin(listings));
    }

    /// Writes down what a server would need that starts while the swarm cannot be listed.
    fn remember(&mut self, seen: &Seen) {
        if self.remembered.as_ref() == Some(seen) || seen.service.is_none() {
            return;
        }
        self.remembered = Some(seen.clone());
        let record = Record {
            name: self.spec.name(),
            app: self.spec.app.to_string(),
            release: self.spec.release,
            batch: self.spec.batch,
            process_type: self.spec.process_type.clone(),
            seen: seen.clone(),
        };
        let known = self.swarm.known.clone();
        self.on_disk(move || known.keep(&record));
    }

    /// Changes what is known on disk, after the change before it.
    fn on_disk(&mut self, change: impl FnOnce() + Send + 'static) {
        let before = self.written.take();
        self.written = Some(actix_rt::spawn(async move {
            if let Some(before) = before {
                let _written = before.await;
            }
            let _written = actix_rt::task::spawn_blocking(change).await;
        }));
    }

    /// Goes on with what the server before knew, until the swarm is listed.
    fn recall(&self, ctx: &mut Context<Self>) {
        let (known, name) = (self.swarm.known.clone(), self.spec.name());
        let recalled = actix_rt::task::spawn_blocking(move || known.of(&name));
        ctx.spawn(recalled.into_actor(self).map(|recalled, this, ctx| {
            if let Ok(Some(record)) = recalled {
                this.apply(Event::Known(record.seen), ctx);
            }
            this.since = this.swarm.observer.look();
        }));
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        let (known, name) = (self.swarm.known.clone(), self.spec.name());
        self.on_disk(move || known.forget(&name));
        let tasks: Vec<String> = self.read.keys().cloned().collect();
        tasks.iter().for_each(|task| self.swarm.meters.forget(task));
        self.forget_notes(tasks);
        self.exit.set(Exit::Shutdown);
        ctx.stop();
    }

    fn end_if_read(&mut self, ctx: &mut Context<Self>) {
        if self.is_finished && self.readers == 0 {
            self.end(ctx);
        }
    }

    /// Tells the readers of tasks that have ended that these print nothing more.
    fn end_reading(&self, has_ended: impl Fn(&str) -> bool) {
        let ended = self.read.iter().filter(|(task, _)| has_ended(task));
        ended.for_each(|(_, is_over)| is_over.store(true, Ordering::SeqCst));
    }

    /// Which process a task is, or was.
    fn number_of(&self, task: &SeenTask) -> u64 {
        let mut members = self.life.members();
        let of = members.find(|(_, member)| member.task.as_ref().is_some_and(|t| t.id == task.id));
        of.map_or(task.slot, |(number, _)| number)
    }

    fn forget_notes(&self, tasks: Vec<String>) {
        if !tasks.is_empty() {
            let notes = self.swarm.printed.clone();
            actix_rt::task::spawn_blocking(move || {
                tasks.iter().for_each(|task| notes.forget(task));
            });
        }
    }

    /// Begins to read what tasks print that are new.
    fn read_output(&mut self, seen: &Seen, ctx: &mut Context<Self>) {
        let runs = |id: &str| seen.tasks.iter().any(|t| t.id == id && t.may_run());
        self.end_reading(|task| !runs(task));
        let is_known = |id: &str| seen.tasks.iter().any(|task| task.id == id);
        let gone =
            |task: &str, is_over: &AtomicBool| !is_known(task) && is_over.load(Ordering::SeqCst);
        let gone = self
            .read
            .extract_if(.., |task, is_over| gone(task, is_over));
        let gone = gone.map(|(task, _)| task).collect();
        self.forget_notes(gone);
        let over = self.read.keys().filter(|task| !runs(task));
        over.for_each(|task| self.swarm.meters.forget(task));
        // One that crashed at once has a successor before anybody has seen it run.
        let begun = seen.tasks.iter().filter(|task| task.has_begun());
        let new: Vec<_> = begun
            .filter(|task| !self.read.contains_key(&task.id))
            .map(|task| (self.number_of(task), task.id.clone()))
            .collect();
        for (number, task) in new {
            let is_over = Arc::new(AtomicBool::new(!runs(&task)));
            self.read.insert(task.clone(), Arc::clone(&is_over));
            self.readers += 1;
            let source = Source {
                task: task.clone(),
                process: self.spec.process(number),
                release: self.spec.release,
                is_over,
                mark: self.spec.mark(),
                to: ctx.address().recipient(),
                observer: self.swarm.observer.clone(),
            };
            let client = Arc::clone(&self.swarm.client);
            let notes = self.swarm.printed.clone();
            let reading = logs::follow(client, self.log.clone(), notes, source);
            ctx.spawn(reading.into_actor(self).map(move |last, this, ctx| {
                let is_out_of_memory = last.is_some_and(|last| last.usage.oom_kills > 0);
                let heard = Event::Heard {
                    task,
                    is_out_of_memory,
                };
                this.apply(heard, ctx);
                this.readers -= 1;
                this.end_if_read(ctx);
            }));
        }
    }

    fn report(&self, number: u64, exited: Option<ExitRecord>) {
        let Some(snapshot) = self.snapshot(number) else {
            return;
        };
        // Unbounded, but few: the swarm's delay bounds how often anything changes.
        self.parent.do_send(ProcessChanged {
            batch: self.spec.batch,
            snapshot,
            exited: exited.map(|exit| self.explained(exit)),
        });
    }

    /// An end for want of memory, with what to do about it.
    fn explained(&self, exit: ExitRecord) -> ExitRecord {
        if !exit.oom {
            return exit;
        }
        let (app, of_type) = (self.spec.app.as_str(), &self.spec.process_type);
        let reason = out_of_memory::reason(exit.status, app, of_type, &self.spec.limits);
        ExitRecord {
            reason: Some(reason),
            ..exit
        }
    }

    fn snapshot(&self, number: u64) -> Option<Snapshot> {
        let member = self.life.member(number)?;
        let watch = self.watches.get(&number);
        let task = member.task.as_ref();
        let address = task.and_then(|task| task.address);
        let trouble = self.life.trouble().map(str::to_owned);
        let is_late = member.phase == Phase::Starting;
        let unready = || watch.filter(|_| is_late).and_then(Watch::unready);
        Some(Snapshot {
            id: self.spec.process(number),
            phase: member.phase,
            pid: None,
            port: None,
            address: address
                .filter(|_| member.phase == Phase::Ready)
                .map(Into::into),
            place: task.map(|task| Place {
                node: task.node.clone(),
                task: task.id.clone(),
            }),
            started_at: task.filter(|task| task.runs()).map(|task| task.at),
            restarts: member.restarts,
            crashlooping: member.is_crashlooping(),
            last_exit: member.last_exit.clone().map(|exit| self.explained(exit)),
            has_no_port: false,
            is_refused: self.life.is_refused(),
            is_fetching: task.is_some_and(|task| task.is_fetching),
            seen_since: member.running_since,
            trouble: watch.and_then(Watch::trouble),
            alarm: watch.map(Watch::alarm).unwrap_or_default(),
            warning: member.warning.clone().or(trouble).or_else(unready),
        })
    }
}

impl Actor for Service {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.succeeds {
            // No listing counts before what is known: it may lack what was known.
            self.since = u64::MAX;
            self.recall(ctx);
        } else {
            self.since = self.swarm.observer.look();
        }
        self.follow(ctx);
    }
}

impl StreamHandler<Observed> for Service {
    fn handle(&mut self, observed: Observed, ctx: &mut Self::Context) {
        if observed.number < self.since {
            return;
        }
        match observed.listing {
            Some(Ok(listing)) => {
                let seen = listing.of(&self.spec.name(), self.id.as_deref());
                let seen = seen.with_addresses_of(self.life.last_seen());
                if let Some(service) = &seen.service {
                    self.id = Some(service.id.clone());
                }
                self.remember(&seen);
                self.doubt(&seen, ctx);
                self.apply(Event::Seen(seen.clone()), ctx);
                self.read_output(&seen, ctx);
            }
            Some(Err(error)) => self.apply(Event::Unseen(error.to_string()), ctx),
            None => {}
        }
    }
}

impl Handler<Told> for Service {
    type Result = ();

    fn handle(&mut self, told: Told, ctx: &mut Self::Context) {
        let Told { task, measured } = told;
        // What is over uses nothing, and is not forgotten again.
        let is_over = |is_over: &Arc<AtomicBool>| is_over.load(Ordering::SeqCst);
        if self.read.get(&task).is_some_and(|over| !is_over(over)) && !measured.is_last {
            self.swarm.meters.set(&task, measured.usage);
        }
        if measured.is_last {
            let is_out_of_memory = measured.usage.oom_kills > 0;
            self.apply(Event::Ending(task.clone()), ctx);
            let heard = Event::Heard {
                task,
                is_out_of_memory,
            };
            self.apply(heard, ctx);
        }
    }
}

impl Handler<Want> for Service {
    type Result = ();

    fn handle(&mut self, Want(quantity): Want, ctx: &mut Self::Context) {
        self.apply(Event::Want(quantity), ctx);
    }
}

impl Handler<Shutdown> for Service {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.apply(Event::Stop, ctx);
    }
}
