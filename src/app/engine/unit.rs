//! [`Unit`]: what one actor of an App's processes runs, for each kind of engine.

use std::sync::Arc;

use actix::prelude::*;
use actix_rt::ArbiterHandle;

use super::Engine;
use crate::app::context::AppContext;
use crate::app::lifecycle::BatchId;
use crate::app::runnable::Runnable;
use crate::app::sandbox;
use crate::app_dirs::AppDirs;
use crate::document::config::StopPolicy;
use crate::document::formation::Slot;
use crate::exit_status::ExitRecord;
use crate::install::shared;
use crate::logs::log::Log;
use crate::process::identity::Identity;
use crate::process::ports::Ports;
use crate::process::survivors;
use crate::process::users::Users;
use crate::process::worker::{Origin, Process, ProcessChanged, ProcessSpec, Reattach};
use crate::supervision::{Child, ChildRef, Exit, ExitReason, Running, monitor};
use crate::swarm::image::Image;
use crate::swarm::job::actor::Job;
use crate::swarm::service::{Service, Want};
use crate::swarm::spec::ServiceSpec;
use crate::swarm::swarm::Swarm;

/// A unit of a batch, as an engine needs to know it to run it.
#[derive(Clone, Copy, Debug)]
pub struct UnitOf<'a> {
    pub context: &'a AppContext,
    pub dirs: &'a AppDirs,
    pub runnable: &'a Runnable,
    pub batch: BatchId,
    /// One of its processes; it stands for all where they differ in nothing but their number.
    pub slot: &'a Slot,
    /// How many processes the unit has.
    pub quantity: u64,
    /// The port that it had last.
    pub preferred_port: Option<u16>,
    /// It starts with the server.
    pub at_boot: bool,
}

/// What a unit is started with.
#[derive(Clone, Debug)]
pub enum UnitSpec {
    Process(Box<ProcessSpec>),
    /// With the image that its nodes fetch.
    Service(Box<ServiceSpec>, Image, Arc<Swarm>),
}

/// What an actor, or the server before, has left running of a unit.
#[derive(Clone, Debug)]
pub enum Left {
    Process(Box<Identity>),
    /// A service of this name, if there still is one.
    Service(Arc<Swarm>, String),
}

/// Whom the actor of a unit talks to.
#[derive(Clone, Debug)]
pub struct Around {
    pub control: ArbiterHandle,
    pub ports: Ports,
    pub log: ChildRef<Log>,
    pub parent: Recipient<ProcessChanged>,
}

/// The actor of a unit.
#[derive(Debug)]
pub enum Unit {
    Process(Child<Process>),
    Service(Child<Service>),
    /// What runs once.
    Job(Child<Job>),
}

impl UnitSpec {
    /// What the engine of a batch starts this unit with; `None`: the release was not made ready for it.
    #[must_use]
    pub fn of(of: UnitOf<'_>) -> Option<Self> {
        match &of.runnable.engine {
            Engine::Local => Some(Self::Process(Box::new(process_spec(of)))),
            Engine::Swarm(swarm, _) => {
                let image = of.runnable.image.clone()?;
                let spec = ServiceSpec {
                    is_measured: true,
                    ..service_spec(of, swarm, image.reference.clone())
                };
                Some(Self::Service(Box::new(spec), image, swarm.clone()))
            }
        }
    }

    /// Starts the actor of the unit: it takes over what was `left`, or begins anew, unless the process ended for good
    /// before.
    pub fn start(
        self,
        left: Option<Left>,
        finished: Option<ExitRecord>,
        around: Around,
        on_exit: impl FnOnce(Exit) + Send + 'static,
    ) -> Unit {
        match self {
            Self::Process(spec) => {
                let origin = match (left, finished) {
                    (Some(Left::Process(survivor)), _) => Origin::Adopt(*survivor),
                    (_, Some(exit)) => Origin::Finished(exit),
                    (_, None) => Origin::Spawn,
                };
                Unit::Process(start_process(*spec, origin, around, on_exit))
            }
            // It finds what is there by its name. One that begins anew knows nothing: an app may have had its name before.
            Self::Service(spec, image, swarm) => {
                let succeeds = left.is_some();
                let Around {
                    control,
                    log,
                    parent,
                    ..
                } = around;
                let build = move |_: &mut Context<Service>, exit: ExitReason| {
                    Service::new(*spec, image, swarm, log, parent, exit).succeeding(succeeds)
                };
                Unit::Service(monitor::start(&control, build, on_exit))
            }
        }
    }

    /// Looks for what its actor left running when that ended before its time.
    pub async fn left(self) -> Option<Left> {
        match self {
            Self::Process(spec) => left_of_process(&spec).await,
            Self::Service(spec, _, swarm) => Some(Left::Service(swarm, spec.name())),
        }
    }
}

impl Left {
    /// The OS process, if it is one of this machine.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(survivor) => Some(survivor.pid),
            Self::Service(..) => None,
        }
    }

    /// Ends it, with its grace.
    pub async fn end(self, policy: StopPolicy) {
        match self {
            Self::Process(survivor) => survivors::end(*survivor, policy).await,
            Self::Service(swarm, name) => swarm.end(&name).await,
        }
    }
}

impl Unit {
    #[must_use]
    pub fn as_running(&self) -> &dyn Running {
        match self {
            Self::Process(child) => child,
            Self::Service(child) => child,
            Self::Job(child) => child,
        }
    }

    /// There is a fresh log.
    pub fn reattach(&self) {
        match self {
            Self::Process(child) => child.addr.do_send(Reattach),
            // It asks for the log each time that it writes.
            Self::Service(_) | Self::Job(_) => {}
        }
    }

    /// Has it run so many processes, where it runs more than one.
    pub fn want(&self, quantity: u64) {
        match self {
            Self::Process(_) | Self::Job(_) => {}
            Self::Service(child) => child.addr.do_send(Want(quantity)),
        }
    }
}

/// What the actor of an OS process left running.
pub(super) async fn left_of_process(spec: &ProcessSpec) -> Option<Left> {
    let directory = spec.instance_directory();
    let users = Users::of_account(spec.account.as_ref());
    let look = move || survivors::survivor(&directory, &users);
    let found = actix_rt::task::spawn_blocking(look).await.ok().flatten();
    found.map(Box::new).map(Left::Process)
}

/// Starts the actor of an OS process, also of one that runs once.
pub(super) fn start_process(
    spec: ProcessSpec,
    origin: Origin,
    around: Around,
    on_exit: impl FnOnce(Exit) + Send + 'static,
) -> Child<Process> {
    let Around {
        control,
        ports,
        log,
        parent,
    } = around;
    let build = move |_: &mut Context<Process>, exit: ExitReason| {
        Process::new(spec, origin, ports, log, parent, exit)
    };
    monitor::start(&control, build, on_exit)
}

pub(super) fn process_spec(of: UnitOf<'_>) -> ProcessSpec {
    let UnitOf {
        context,
        dirs,
        runnable,
        slot,
        ..
    } = of;
    let account = runnable.account.as_ref();
    ProcessSpec {
        app: runnable.config.name.clone(),
        id: slot.id.clone(),
        process_type: slot.process_type.clone(),
        release: runnable.id(),
        commit: runnable.release.record.commit.clone(),
        batch: of.batch,
        shell: runnable.config.shell,
        command: slot.command.clone(),
        directory: runnable.release.directory.clone(),
        account: runnable.account.clone(),
        one_off: None,
        environment: runnable.environment.clone(),
        routed: slot.routed,
        limits: runnable.config.limits.of(&slot.process_type),
        health: runnable.health.clone(),
        stop: runnable.config.stop.clone(),
        restart: runnable.config.restart.of(&slot.process_type),
        runtime: dirs.runtime().to_owned(),
        preferred_port: of.preferred_port,
        landlock: sandbox::landlock(&context.settings, dirs, account),
        mounts: sandbox::mounts(&context.settings, dirs, &runnable.config, account),
        start_permits: of.at_boot.then(|| context.start_permits.clone()),
    }
}

pub(super) fn service_spec(of: UnitOf<'_>, swarm: &Swarm, image: String) -> ServiceSpec {
    let UnitOf {
        dirs,
        runnable,
        slot,
        ..
    } = of;
    let (config, account) = (&runnable.config, runnable.account.as_ref());
    let server = swarm.server.clone();
    let volume = |what: &str| Swarm::volume(&server, &config.name, what);
    ServiceSpec {
        constraints: swarm.constraints.clone(),
        volume_driver: swarm.volumes.clone(),
        app: config.name.clone(),
        release: runnable.id(),
        commit: runnable.release.record.commit.clone(),
        batch: of.batch,
        process_type: slot.process_type.clone(),
        quantity: of.quantity,
        shell: config.shell,
        command: shared::in_volume(config, &dirs.storage()) + &slot.command,
        directory: runnable.release.directory.clone(),
        image,
        user: account.map(|account| (account.uid, account.gid)),
        groups: account.map(|a| a.groups.clone()).unwrap_or_default(),
        environment: runnable.environment.clone(),
        volumes: vec![
            (volume("storage"), dirs.storage()),
            (volume("home"), dirs.home()),
        ],
        temporary: vec![dirs.tmp()],
        routed: slot.routed,
        limits: config.limits.of(&slot.process_type),
        health: runnable.health.clone(),
        stop: config.stop.clone(),
        restart: config.restart.of(&slot.process_type),
        is_measured: false,
        server,
    }
}
