//! [`Run`]: runs a job to its end. It interprets the commands of [`super::life`].
//!
//! Dropped before its end, it leaves the job to whoever comes next.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use actix_rt::task::spawn_blocking;
use bollard::auth::DockerCredentials;
use futures::future::{Fuse, FutureExt as _};
use tokio::sync::{mpsc, watch};

use super::life::{Command, Event, Life};
pub use super::life::{Limits, Outcome};
use super::notes::JobNote;
use super::output::{self, Sink};
use super::spec::JobSpec;
use crate::process::phase::Phase;
use crate::process::snapshot::Place;
use crate::swarm::client::EngineError;
use crate::swarm::observer::Observed;
use crate::swarm::swarm::Swarm;

/// A job that is run, or found.
#[derive(Clone)]
pub struct Run {
    pub spec: JobSpec,
    pub credentials: Option<DockerCredentials>,
    pub swarm: Arc<Swarm>,
    /// It is made; else the server before has made it.
    pub is_new: bool,
    pub limits: Limits,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub phase: Phase,
    pub place: Option<Place>,
    /// Since when it runs, once it does.
    pub started_at: Option<jiff::Timestamp>,
    /// What a person should know.
    pub warning: Option<String>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its credentials and its environment are secret.
        let name = self.spec.name();
        f.debug_struct("Run")
            .field("name", &name)
            .field("is_new", &self.is_new)
            .finish_non_exhaustive()
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

impl Run {
    /// Runs it to its end: what it prints goes to `sink`, and each change to `told`. It is ended when a message comes by
    /// `stop`, which may say why.
    pub async fn to_end(
        self,
        sink: &mut Sink,
        stop: &mut mpsc::Receiver<Option<String>>,
        mut told: impl FnMut(Progress),
    ) -> Outcome {
        let mut observed = self.swarm.observer.follow();
        let (over, is_over) = watch::channel(false);
        let (mut life, first) = Life::new(self.is_new, self.limits, Instant::now());
        let mut driven = Driven {
            run: &self,
            since: self.swarm.observer.look(),
            id: None,
            call: Fuse::terminated(),
            over,
            read: None,
            outcome: None,
            is_reported: false,
        };
        let mut sink = Some(sink);
        let mut reading = std::pin::pin!(Fuse::terminated());
        driven.carry_out(first);
        loop {
            if let Some(outcome) = driven.outcome.take() {
                drop(driven);
                self.removed();
                return outcome;
            }
            if let Some(task) = driven.read.take()
                && let Some(sink) = sink.take()
            {
                let (client, observer) =
                    (Arc::clone(&self.swarm.client), self.swarm.observer.clone());
                reading.set(output::read(client, observer, task, sink, is_over.clone()).fuse());
            }
            if std::mem::take(&mut driven.is_reported) {
                told(progress(&life));
            }
            let wakes = life.wakes();
            let due = async {
                match wakes {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                // The observer lives as long as the swarm does.
                _ = observed.changed() => {
                    let latest = observed.borrow_and_update().clone();
                    match driven.listed(&latest) {
                        Some(event) => event,
                        None => continue,
                    }
                }
                event = &mut driven.call => event,
                () = &mut reading => Event::Printed,
                Some(reason) = stop.recv() => Event::Stop(reason),
                () = due => Event::Due,
            };
            let commands = life.handle(event, Instant::now());
            driven.carry_out(commands);
        }
    }

    /// Removes its service, also where no manager answers for a while.
    fn removed(&self) {
        let (swarm, name) = (Arc::clone(&self.swarm), self.spec.name());
        actix_rt::spawn(async move { swarm.end(&name).await });
    }

    fn remove_late(&self) {
        let (swarm, name) = (Arc::clone(&self.swarm), self.spec.name());
        actix_rt::spawn(async move { swarm.remove_late(&name).await });
    }

    fn create(&self) -> Boxed<Event> {
        let note = JobNote {
            name: self.spec.name(),
            app: self.spec.service.app.to_string(),
            number: self.spec.service.batch,
            process: self.spec.id.clone(),
        };
        let (swarm, spec) = (Arc::clone(&self.swarm), self.spec.for_engine());
        let credentials = self.credentials.clone();
        Box::pin(async move {
            let notes = swarm.jobs.clone();
            let kept = spawn_blocking(move || notes.keep(&note)).await;
            if let Ok(Err(error)) = kept {
                let why = format!("the note of it cannot be written: {error}");
                return Event::NotCreated {
                    why,
                    is_final: true,
                };
            }
            let create = async {
                let spec = swarm.client.confine(spec).await?;
                swarm.client.create(spec, credentials).await
            };
            match create.await {
                // An answer was lost: no other job has its name.
                Ok(()) | Err(EngineError::Conflict(_)) => Event::Created,
                Err(error) => Event::NotCreated {
                    is_final: is_final(&error),
                    why: error.to_string(),
                },
            }
        })
    }

    fn remove(&self) -> Boxed<Event> {
        let (swarm, name) = (Arc::clone(&self.swarm), self.spec.name());
        Box::pin(async move {
            match swarm.client.remove(&name).await {
                Ok(()) => Event::Removed,
                Err(_) => Event::NotRemoved,
            }
        })
    }
}

/// Whether another attempt would fail as well. A swarm whose managers are choosing a leader refuses for a while.
fn is_final(error: &EngineError) -> bool {
    match error {
        EngineError::Refused(why) => !["leader", "deadline", "nvailable"]
            .iter()
            .any(|passing| why.contains(passing)),
        EngineError::NotFound(_) | EngineError::TooLarge(_) => true,
        _ => false,
    }
}

fn progress(life: &Life) -> Progress {
    let task = life.task();
    let phase = match (life.is_ending(), life.has_run()) {
        (true, _) => Phase::Stopping,
        (false, true) => Phase::Ready,
        (false, false) => Phase::Starting,
    };
    Progress {
        phase,
        place: task.map(|task| Place {
            node: task.node.clone(),
            task: task.id.clone(),
        }),
        started_at: task.filter(|_| life.has_run()).map(|task| task.at),
        warning: life.warning().map(str::to_owned),
    }
}

/// What is under way for a job.
struct Driven<'a> {
    run: &'a Run,
    /// Listings with a lower number are older than the last change.
    since: u64,
    /// The id that its service has or had.
    id: Option<String>,
    call: Fuse<Boxed<Event>>,
    over: watch::Sender<bool>,
    /// The task that is to be read.
    read: Option<String>,
    outcome: Option<Outcome>,
    is_reported: bool,
}

impl Driven<'_> {
    fn carry_out(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Create => self.call = self.run.create().fuse(),
                Command::Remove => self.call = self.run.remove().fuse(),
                Command::Look => self.since = self.run.swarm.observer.look(),
                Command::Read(task) => self.read = Some(task),
                Command::EndReading => {
                    self.over.send_replace(true);
                }
                Command::RemoveLate => self.run.remove_late(),
                Command::Report => self.is_reported = true,
                Command::Finish(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    fn listed(&mut self, latest: &Observed) -> Option<Event> {
        if latest.number < self.since {
            return None;
        }
        let listing = match latest.listing.as_ref()? {
            Ok(listing) => listing,
            Err(error) => return Some(Event::Unseen(error.to_string())),
        };
        let (service, tasks) = listing.of_job(&self.run.spec.name(), self.id.as_deref());
        let tasks: Vec<_> = tasks.into_iter().cloned().collect();
        if let Some(id) = service {
            self.id = Some(id.to_owned());
        }
        Some(Event::Seen {
            is_there: service.is_some(),
            tasks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_never_be_made_is_not_asked_for_again() {
        assert!(is_final(&EngineError::TooLarge(1 << 20)));
        assert!(is_final(&EngineError::Refused("invalid mount".to_owned())));
        let passing = "rpc error: code = Unavailable desc = the swarm does not have a leader";
        assert!(!is_final(&EngineError::Refused(passing.to_owned())));
        assert!(!is_final(&EngineError::Late("/s".to_owned(), 10)));
    }
}
