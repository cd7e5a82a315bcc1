//! The actors below an App: its log, an installer while a deploy is at work, one for each unit of each batch.
//! `supervision::restart` decides; this carries out.

mod one_off;
mod processes;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::App;
use crate::app::engine::unit::Unit;
use crate::app::lifecycle::{self, BatchId, OpId};
use crate::events::Report;
use crate::install::installer::Installer;
use crate::install::spec::InstallSpec;
use crate::logs::log::Log;
use crate::logs::settings::LogSettings;
use crate::supervision::restart::{ChildState, Intensity, Supervisor, SupervisorEvent};
use crate::supervision::{
    Child, ChildEnded, ChildRef, ChildSpec, Exit, Generation, Parent, Restart, Running, Shutdown,
    Strategy, Timeout, monitor,
};

/// One child of an App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildId {
    /// First up, last down.
    Log,
    Installer(OpId),
    /// A unit of this batch, e.g. `web.1`.
    Unit(BatchId, String),
    /// A process that runs once.
    OneOff(BatchId),
}

#[derive(Debug)]
enum AnyChild {
    Log(Child<Log>),
    Installer(Child<Installer>),
    Unit(Unit),
}

/// The children of an App and their restart policy. A drop ends the actors and leaves OS processes alone.
#[derive(Debug)]
pub(super) struct Children {
    policy: Supervisor<ChildId>,
    /// Empty while it is being restarted.
    pub(super) log: ChildRef<Log>,
    running: Vec<(ChildId, Generation, AnyChild)>,
    next_install: Option<(OpId, InstallSpec)>,
    /// Units whose actor was started before: a restarted actor may find what it ran still running.
    started: HashSet<(BatchId, String)>,
    /// The pids that were taken over.
    adopted: HashSet<u32>,
}

impl Children {
    /// Only the log, not started yet.
    #[must_use]
    pub(super) fn new() -> Self {
        let log = ChildSpec {
            id: ChildId::Log,
            restart: Restart::Permanent,
            shutdown: Timeout::After(Duration::from_secs(10)),
        };
        let intensity = Intensity {
            restarts: 5,
            period: Duration::from_secs(60),
        };
        Self {
            policy: Supervisor::new(Strategy::OneForOne, intensity, [log]),
            log: ChildRef::default(),
            running: vec![],
            next_install: None,
            started: HashSet::new(),
            adopted: HashSet::new(),
        }
    }

    fn find(&self, id: &ChildId) -> Option<&AnyChild> {
        self.running
            .iter()
            .find(|(known, ..)| known == id)
            .map(|(.., child)| child)
    }

    /// Whether an OS process was taken over.
    pub(super) fn is_adopted(&self, pid: u32) -> bool {
        self.adopted.contains(&pid)
    }

    fn installer(&self) -> Option<&ChildId> {
        self.running
            .iter()
            .map(|(id, ..)| id)
            .find(|id| matches!(id, ChildId::Installer(_)))
    }
}

impl AnyChild {
    fn as_running(&self) -> &dyn Running {
        match self {
            Self::Log(child) => child,
            Self::Installer(child) => child,
            Self::Unit(unit) => unit.as_running(),
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for (.., child) in &self.running {
            child.as_running().kill();
        }
    }
}

impl App {
    pub(super) fn start_log(&mut self, ctx: &mut Context<Self>) {
        self.supervise(SupervisorEvent::Start, ctx);
    }

    /// Starts an installer, after the previous one if that is still being cancelled.
    pub(super) fn start_installer(&mut self, op: OpId, spec: InstallSpec, ctx: &mut Context<Self>) {
        let before = self.children.installer().is_some();
        self.children.next_install = Some((op, spec));
        if !before {
            self.start_next_installer(ctx);
        }
    }

    fn start_next_installer(&mut self, ctx: &mut Context<Self>) {
        if let Some(op) = self.children.next_install.as_ref().map(|(op, _)| *op) {
            // What it has on threads and what is just being started is waited for: killed, it would leave writers.
            let shutdown = Timeout::After(Duration::from_secs(60));
            self.add(ChildId::Installer(op), Restart::Temporary, shutdown, ctx);
        }
    }

    pub(super) fn abort_build(&mut self, op: OpId, ctx: &mut Context<Self>) {
        self.children
            .next_install
            .take_if(|(waiting, _)| *waiting == op);
        self.supervise(SupervisorEvent::Remove(ChildId::Installer(op)), ctx);
        if let Some((_, preparing)) = self.preparing.take_if(|(of, _)| *of == op) {
            ctx.cancel_future(preparing);
        }
    }

    /// Stops all children, then this actor.
    pub(super) fn end(&mut self, ctx: &mut Context<Self>) {
        self.supervise(SupervisorEvent::Shutdown, ctx);
    }

    fn add(&mut self, id: ChildId, restart: Restart, shutdown: Timeout, ctx: &mut Context<Self>) {
        self.supervise(
            SupervisorEvent::Add(ChildSpec {
                id,
                restart,
                shutdown,
            }),
            ctx,
        );
    }

    /// Whether it starts nothing any more.
    pub(super) fn takes_no_child(&self) -> bool {
        self.children.policy.is_ending()
    }

    /// Whether its actors failed too often. Then only actors end, and the next App takes their OS processes over.
    fn gives_up(&self) -> bool {
        self.children.policy.is_ending() && !self.ending && self.deployer.removal.is_none()
    }

    fn start_log_child(&mut self, generation: Generation, ctx: &mut Context<Self>) {
        let settings = LogSettings {
            directory: self.spec.dirs.logs(),
            segment_size: self.spec.context.settings.log_size,
            segments: self.spec.context.settings.log_files,
            stored: self.spec.context.app_logs.counter(self.name()),
        };
        let child = monitor::start(
            &self.spec.context.logs.clone(),
            move |_, exit| Log::new(settings, exit),
            Self::on_exit(ChildId::Log, generation, ctx),
        );
        self.children.log.set(Some(child.addr.clone()));
        let all = &self.spec.context.app_logs;
        all.enter(self.name(), self.children.log.clone());
        for (.., other) in &self.children.running {
            if let AnyChild::Unit(unit) = other {
                unit.reattach();
            }
        }
        self.children
            .running
            .push((ChildId::Log, generation, AnyChild::Log(child)));
    }

    fn start_installer_child(&mut self, op: OpId, generation: Generation, ctx: &mut Context<Self>) {
        let id = ChildId::Installer(op);
        let on_exit = Self::on_exit(id.clone(), generation, ctx);
        let Some((_, spec)) = self
            .children
            .next_install
            .take_if(|(waiting, _)| *waiting == op)
        else {
            return on_exit(Exit::Error("it was aborted before it began".to_owned()));
        };
        let Some(log) = self.children.log.get() else {
            return on_exit(Exit::Error("the log does not run".to_owned()));
        };
        let parent = ctx.address().recipient();
        let child = monitor::start(
            &self.spec.context.control.clone(),
            move |_, exit| Installer::new(spec, log, parent, exit),
            on_exit,
        );
        self.children
            .running
            .push((id, generation, AnyChild::Installer(child)));
    }
}

impl Parent for App {
    type Id = ChildId;

    fn policy(&mut self) -> &mut Supervisor<ChildId> {
        &mut self.children.policy
    }

    fn title(&self) -> String {
        self.name().to_owned()
    }

    fn over(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        match self.deployer.removal.is_some() && exit == Exit::Shutdown {
            true => self.remove_files(ctx),
            false => self.leave(exit, ctx),
        }
    }

    fn call(id: &ChildId) -> String {
        match id {
            ChildId::Log => "the log".to_owned(),
            ChildId::Installer(_) => "the installer".to_owned(),
            ChildId::Unit(_, id) => format!("the owner of {id}"),
            ChildId::OneOff(number) => format!("the owner of one-off process {number}"),
        }
    }

    fn start_child(&mut self, id: ChildId, generation: Generation, ctx: &mut Context<Self>) {
        match id {
            ChildId::Log => self.start_log_child(generation, ctx),
            ChildId::Installer(op) => self.start_installer_child(op, generation, ctx),
            ChildId::Unit(batch, id) => {
                let survivor = self.batches.take_survivor(batch, &id);
                let is_first = self.children.started.insert((batch, id.clone()));
                if survivor.is_some() || is_first {
                    return self.start_unit_child(batch, id, generation, survivor, ctx);
                }
                // The actor died, what it ran did not: the fresh actor takes it over.
                let left = self.left_running(batch, &id);
                ctx.spawn(left.into_actor(self).map(move |survivor, app, ctx| {
                    app.start_unit_child(batch, id, generation, survivor, ctx);
                }));
            }
            ChildId::OneOff(number) => self.start_one_off_child(number, generation, ctx),
        }
    }

    fn child(&self, id: &ChildId) -> Option<&dyn Running> {
        self.children.find(id).map(AnyChild::as_running)
    }

    fn report_restart(&self, offender: String, reason: String) {
        let (app, title) = (self.app(), self.title());
        let report = Report::actor_restarts(app, title, offender, reason);
        self.spec.context.events.report(report);
    }

    fn app(&self) -> Option<Arc<str>> {
        Some(self.spec.config.name.shared())
    }

    fn leaves_running(&self, id: &ChildId) -> bool {
        self.gives_up() && matches!(id, ChildId::Unit(..) | ChildId::OneOff(_))
    }

    fn removed(&mut self, id: &ChildId) {
        if let ChildId::Unit(batch, id) = id {
            self.children.started.remove(&(*batch, id.clone()));
        }
    }
}

impl Handler<ChildEnded<ChildId>> for App {
    type Result = ();

    fn handle(&mut self, ended: ChildEnded<ChildId>, ctx: &mut Self::Context) {
        let ChildEnded {
            id,
            generation,
            exit,
        } = ended;
        self.children
            .running
            .retain(|(known, of, _)| !(*known == id && *of == generation));
        let abnormal = exit.is_abnormal();
        self.supervise(
            SupervisorEvent::Ended {
                id: id.clone(),
                generation,
                exit: exit.clone(),
            },
            ctx,
        );
        match id {
            ChildId::Unit(batch, unit) => {
                let id = ChildId::Unit(batch, unit.clone());
                let is_over = self.children.policy.state(&id) != Some(ChildState::Running);
                if is_over && !self.gives_up() {
                    self.make_sure_of_end(batch, unit, ctx);
                }
            }
            ChildId::OneOff(number) => {
                let id = ChildId::OneOff(number);
                let is_over = self.children.policy.state(&id) != Some(ChildState::Running);
                if is_over && !self.gives_up() {
                    self.one_off_gone(number, ctx);
                }
            }
            ChildId::Installer(op) => {
                if abnormal && self.deployer.is_active(op) {
                    self.installer_crashed(op, &exit, ctx);
                }
                self.start_next_installer(ctx);
            }
            ChildId::Log => {}
        }
    }
}

impl Handler<Shutdown> for App {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        if self.spec.context.hands_over() {
            // As if it gave up: its processes are for the next App.
            let written = self.deployer.written().into_actor(self);
            return ctx.wait(written.map(|(), app, ctx| app.end(ctx)));
        }
        self.ending = true;
        self.feed(lifecycle::Event::Shutdown, ctx);
        self.end(ctx);
    }
}
