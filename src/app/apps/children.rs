//! The App actors below Apps: `supervision::restart` decides, this carries out.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::{Apps, Entry, Removal, Rescan};
use crate::app::deployer::Action;
use crate::app::operations::Outcome;
use crate::app::supervisor::{Act, App, AppSpec};
use crate::document::name::AppName;
use crate::events::{By, Report};
use crate::supervision::restart::{Intensity, Supervisor, SupervisorEvent};
use crate::supervision::{
    ChildEnded, ChildSpec, Exit, Generation, Parent, Restart, Running, Shutdown, Strategy, Timeout,
    monitor,
};

/// Apps are many: one that keeps failing takes the others with it only after ten restarts within a minute.
pub(super) fn policy() -> Supervisor<AppName> {
    let intensity = Intensity {
        restarts: 10,
        period: Duration::from_secs(60),
    };
    Supervisor::new(Strategy::OneForOne, intensity, [])
}

impl Apps {
    pub(super) fn add(&mut self, spec: AppSpec, ctx: &mut Context<Self>) {
        let id = spec.config.name.clone();
        if let Some(ends) = self.strays.remove(&id) {
            // Its App finds itself what runs, and takes it over.
            ctx.cancel_future(ends);
        }
        self.apps.insert(
            id.clone(),
            Entry {
                spec,
                child: None,
                turn: Arc::default(),
                removal: None,
            },
        );
        // Transient: an app that has ended normally was removed. It stops its processes first, each in its own time.
        let spec = ChildSpec {
            id,
            restart: Restart::Transient,
            shutdown: Timeout::Infinite,
        };
        self.supervise(SupervisorEvent::Start, ctx);
        self.supervise(SupervisorEvent::Add(spec), ctx);
    }

    pub(super) fn leave(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.exit.set(exit);
        ctx.stop();
    }
}

impl Parent for Apps {
    type Id = AppName;

    fn policy(&mut self) -> &mut Supervisor<AppName> {
        &mut self.policy
    }

    fn title(&self) -> String {
        "the supervisor of all applications".to_owned()
    }

    fn call(name: &AppName) -> String {
        format!("the supervisor of {name}")
    }

    fn start_child(&mut self, name: AppName, generation: Generation, ctx: &mut Context<Self>) {
        let on_exit = Self::on_exit(name.clone(), generation, ctx);
        let Some(entry) = self.apps.get_mut(&name) else {
            return on_exit(Exit::Error("it is not known".to_owned()));
        };
        let spec = entry.spec.clone();
        // An App that is started again looks for what the one before it left.
        entry.spec.nothing_remains = false;
        let child = monitor::start(
            &self.context.control,
            move |_, exit| App::new(spec, exit),
            on_exit,
        );
        if let Some(removal) = entry.removal.as_ref().filter(|r| r.is_written) {
            // The one before was at it, and may not have written that down.
            let keep_storage = removal.keep_storage;
            let act = Act(Action::Remove { keep_storage }, By::server());
            child.addr.do_send(act);
        }
        entry.child = Some((generation, child));
    }

    fn child(&self, name: &AppName) -> Option<&dyn Running> {
        let (_, child) = self.apps.get(name)?.child.as_ref()?;
        Some(child)
    }

    fn report_restart(&self, offender: String, reason: String) {
        let (app, title) = (self.app(), self.title());
        let report = Report::actor_restarts(app, title, offender, reason);
        self.context.events.report(report);
    }

    fn leaves_running(&self, _: &AppName) -> bool {
        !self.ending
    }

    fn over(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.leave(exit, ctx);
    }
}

impl Handler<ChildEnded<AppName>> for Apps {
    type Result = ();

    fn handle(&mut self, ended: ChildEnded<AppName>, ctx: &mut Self::Context) {
        let ChildEnded {
            id: name,
            generation,
            exit,
        } = ended;
        if let Some(entry) = self.apps.get_mut(&name) {
            entry.child.take_if(|(of, _)| *of == generation);
            if exit == Exit::Normal {
                let removal = entry.removal.take();
                self.apps.remove(&name);
                // A new document of this name may have come meanwhile.
                ctx.notify(Rescan);
                if let Some(Removal {
                    waiting, ticket, ..
                }) = removal
                {
                    let outcome = ticket.and_then(|ticket| ticket.outcome.borrow().clone());
                    waiting.send_replace(Some(outcome.unwrap_or(Outcome::Done)));
                }
            }
        }
        self.supervise(
            SupervisorEvent::Ended {
                id: name.clone(),
                generation,
                exit: exit.clone(),
            },
            ctx,
        );
        if exit == Exit::Normal {
            self.supervise(SupervisorEvent::Remove(name), ctx);
        }
    }
}

impl Handler<Shutdown> for Apps {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.ending = true;
        self.supervise(SupervisorEvent::Start, ctx);
        self.supervise(SupervisorEvent::Shutdown, ctx);
    }
}
