//! [`OneOffSpec`]: what the actor of a process that runs once runs, for each kind of engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::Engine;
use super::unit::{
    Around, Left, Unit, UnitOf, left_of_process, process_spec, service_spec, start_process,
};
use crate::app::context::AppContext;
use crate::app::lifecycle::BatchId;
use crate::app::runnable::Runnable;
use crate::app_dirs::AppDirs;
use crate::document::formation::Slot;
use crate::process::environment;
use crate::process::identity::Identity;
use crate::process::one_off::{Attached, EndsKind, OneOff};
use crate::process::worker::{Origin, ProcessSpec};
use crate::supervision::{Exit, ExitReason, Restart, monitor};
use crate::swarm::image::Image;
use crate::swarm::job::actor::Job;
use crate::swarm::job::run::{Limits, Run};
use crate::swarm::job::spec::JobSpec;
use crate::swarm::swarm::Swarm;

/// A process that runs once, as an engine needs to know it to run it.
#[derive(Clone, Copy, Debug)]
pub struct OneOffOf<'a> {
    pub context: &'a AppContext,
    pub dirs: &'a AppDirs,
    pub runnable: &'a Runnable,
    pub number: BatchId,
    /// `run.3`.
    pub id: &'a str,
    /// `run`.
    pub process_type: &'a str,
    pub command: &'a str,
    /// Of the command alone.
    pub env: &'a BTreeMap<String, String>,
    pub time_limit: Option<Duration>,
}

/// What a process that runs once is started with.
#[derive(Clone, Debug)]
pub enum OneOffSpec {
    Process(Box<ProcessSpec>),
    Job(Box<Run>, Option<Attached>),
}

/// A process that runs once, and that outlived the server before.
#[derive(Clone, Debug)]
pub struct OutlivedOneOff {
    pub number: BatchId,
    /// `run.3`.
    pub id: String,
    /// Whether it may go on: it runs as the user that the app has now.
    pub is_present: bool,
    pub left: Left,
}

impl OutlivedOneOff {
    /// A process of this machine.
    #[must_use]
    pub fn process(survivor: Identity, is_present: bool) -> Self {
        Self {
            number: survivor.batch,
            id: survivor.id.clone(),
            is_present,
            left: Left::Process(Box::new(survivor)),
        }
    }
}

impl Engine {
    /// Why nobody can be attached to a process that runs once by such ends, where that is so.
    #[must_use]
    pub fn refuses(&self, ends: Option<EndsKind>) -> Option<&'static str> {
        match (self, ends) {
            (Self::Swarm(..), Some(EndsKind::Terminal(_))) => Some(
                "a swarm gives a command no terminal, since none of its engines reaches into a container of another \
                 machine: \"procserver run -T\" runs it without one",
            ),
            _ => None,
        }
    }
}

impl OneOffSpec {
    /// What the engine of a release starts it with.
    #[must_use]
    pub fn of(of: OneOffOf<'_>, attached: Option<Attached>) -> Self {
        match &of.runnable.engine {
            Engine::Local => Self::Process(Box::new(process(of, attached))),
            Engine::Swarm(swarm, _) => {
                let is_awaited = attached.is_some();
                Self::Job(Box::new(job(of, swarm, is_awaited)), attached)
            }
        }
    }

    /// Starts its actor, which takes over what was `left`, or runs it.
    pub fn start(
        self,
        left: Option<Left>,
        around: Around,
        on_exit: impl FnOnce(Exit) + Send + 'static,
    ) -> Unit {
        match self {
            Self::Process(spec) => {
                let origin = match left {
                    Some(Left::Process(survivor)) => Origin::Adopt(*survivor),
                    _ => Origin::Spawn,
                };
                Unit::Process(start_process(*spec, origin, around, on_exit))
            }
            Self::Job(mut run, attached) => {
                run.is_new = left.is_none();
                let Around {
                    control,
                    log,
                    parent,
                    ..
                } = around;
                let build = move |_: &mut Context<Job>, exit: ExitReason| {
                    Job::new(*run, attached, log, parent, exit)
                };
                Unit::Job(monitor::start(&control, build, on_exit))
            }
        }
    }

    /// Looks for what its actor left running when that ended before its time.
    pub async fn left(self) -> Option<Left> {
        match self {
            Self::Process(spec) => left_of_process(&spec).await,
            Self::Job(run, _) => Some(Left::Service(run.swarm.clone(), run.spec.name())),
        }
    }
}

/// Its one place in a formation of its own.
fn slot(of: OneOffOf<'_>) -> Slot {
    Slot {
        id: of.id.to_owned(),
        process_type: of.process_type.to_owned(),
        command: of.command.to_owned(),
        routed: false,
    }
}

fn unit<'a>(of: OneOffOf<'a>, slot: &'a Slot) -> UnitOf<'a> {
    UnitOf {
        context: of.context,
        dirs: of.dirs,
        runnable: of.runnable,
        batch: of.number,
        slot,
        quantity: 1,
        preferred_port: None,
        at_boot: false,
    }
}

fn process(of: OneOffOf<'_>, attached: Option<Attached>) -> ProcessSpec {
    let spec = process_spec(unit(of, &slot(of)));
    ProcessSpec {
        one_off: Some(OneOff {
            attached,
            time_limit: of.time_limit,
        }),
        environment: environment::layered([&spec.environment, of.env]),
        restart: Restart::Temporary,
        ..spec
    }
}

/// The job that a swarm runs.
pub(super) fn job(of: OneOffOf<'_>, swarm: &Arc<Swarm>, is_awaited: bool) -> Run {
    // One that is only taken over needs none.
    let image = of.runnable.image.clone();
    let credentials = image.as_ref().and_then(Image::credentials);
    let reference = image.map(|image| image.reference).unwrap_or_default();
    let mut service = service_spec(unit(of, &slot(of)), swarm, reference);
    service.environment = environment::layered([&service.environment, of.env]);
    Run {
        spec: JobSpec {
            service,
            id: of.id.to_owned(),
            command: of.command.to_owned(),
        },
        credentials,
        swarm: swarm.clone(),
        is_new: true,
        limits: Limits {
            time: of.time_limit,
            is_awaited,
        },
    }
}
