//! The App actors below Apps: `supervision::restart` decides, this carries out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::{Apps, Entry, Rescan};
use crate::app::name::AppName;
use crate::app::operations::Outcome;
use crate::app::supervisor::{App, AppSpec};
use crate::supervision::restart::{Command, Event, Intensity, Supervisor};
use crate::supervision::{
    ChildSpec, Exit, Generation, Restart, Shutdown, Strategy, Timeout, monitor,
};

/// One App actor has ended.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct AppEnded {
    name: AppName,
    generation: Generation,
    exit: Exit,
}

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
        self.supervise(Event::Start, ctx);
        self.supervise(Event::Add(spec), ctx);
    }

    pub(super) fn leave(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.exit.set(exit);
        ctx.stop();
    }

    fn supervise(&mut self, event: Event<AppName>, ctx: &mut Context<Self>) {
        for command in self.policy.handle(event, Instant::now()) {
            match command {
                Command::Start { id, generation } => self.start(id, generation, ctx),
                Command::Stop { id, .. } => {
                    if let Some((_, child)) =
                        self.apps.get(&id).and_then(|entry| entry.child.as_ref())
                    {
                        child.addr.do_send(Shutdown);
                    }
                }
                Command::Kill { id, .. } => {
                    if let Some((_, child)) =
                        self.apps.get(&id).and_then(|entry| entry.child.as_ref())
                    {
                        child.kill();
                    }
                }
                Command::ArmTimer {
                    id,
                    generation,
                    after,
                } => {
                    ctx.run_later(after, move |apps, ctx| {
                        apps.supervise(Event::TimedOut { id, generation }, ctx);
                    });
                }
                Command::Report { id, exit, .. } => {
                    log::error!(
                        "{id}: its supervisor ended: {exit:?}; a fresh one takes over what runs"
                    );
                }
                Command::Removed { .. } => {}
                Command::Exit(exit) => self.leave(exit, ctx),
            }
        }
    }

    fn start(&mut self, name: AppName, generation: Generation, ctx: &mut Context<Self>) {
        let parent = ctx.address();
        let told = name.clone();
        let on_exit = move |exit| {
            parent.do_send(AppEnded {
                name: told,
                generation,
                exit,
            });
        };
        let Some(entry) = self.apps.get_mut(&name) else {
            return on_exit(Exit::Error("it is not known".to_owned()));
        };
        let spec = entry.spec.clone();
        let child = monitor::start(
            &self.host.control,
            move |_, exit| App::new(spec, exit),
            on_exit,
        );
        entry.child = Some((generation, child));
    }
}

impl Handler<AppEnded> for Apps {
    type Result = ();

    fn handle(
        &mut self,
        AppEnded {
            name,
            generation,
            exit,
        }: AppEnded,
        ctx: &mut Self::Context,
    ) {
        if let Some(entry) = self.apps.get_mut(&name) {
            entry.child.take_if(|(of, _)| *of == generation);
            if exit == Exit::Normal {
                let removal = entry.removal.take();
                self.apps.remove(&name);
                // A new document of this name may have come meanwhile.
                ctx.notify(Rescan);
                if let Some((waiting, ticket)) = removal {
                    let outcome = ticket.outcome.borrow().clone().unwrap_or(Outcome::Done);
                    waiting.send_replace(Some(outcome));
                }
            }
        }
        self.supervise(
            Event::Ended {
                id: name.clone(),
                generation,
                exit: exit.clone(),
            },
            ctx,
        );
        if exit == Exit::Normal {
            self.supervise(Event::Remove(name), ctx);
        }
    }
}

impl Handler<Shutdown> for Apps {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.supervise(Event::Start, ctx);
        self.supervise(Event::Shutdown, ctx);
    }
}
