//! [`Parent`]: carries out what the policy of a supervisor commands; the one interpreter of [`super::restart`].

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use actix::dev::ToEnvelope;
use actix::prelude::*;

use super::child_spec::{Exit, Generation};
use super::monitor::{Child, Shutdown};
use super::restart::{Command, Supervisor, SupervisorEvent};

/// A child of any kind, as its parent ends it.
pub trait Running {
    fn ask(&self);
    fn kill(&self);
}

impl<A> Running for Child<A>
where
    A: Actor + Handler<Shutdown>,
    A::Context: ToEnvelope<A, Shutdown>,
{
    fn ask(&self) {
        // Sent once per stop, so the mailbox cannot grow by it; a child that is gone needs no asking.
        self.addr.do_send(Shutdown);
    }

    fn kill(&self) {
        Self::kill(self);
    }
}

/// One start of a child has ended.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct ChildEnded<Id: Send + 'static> {
    pub id: Id,
    pub generation: Generation,
    pub exit: Exit,
}

/// An actor that supervises children. It says how a child is started and found; everything else follows from its
/// policy.
pub trait Parent: Actor<Context = Context<Self>> + Handler<ChildEnded<Self::Id>> {
    type Id: Clone + Eq + Debug + Send + 'static;

    fn policy(&mut self) -> &mut Supervisor<Self::Id>;

    /// Reports that this child ended abnormally, and that a fresh one follows.
    fn report_restart(&self, offender: String, reason: String);

    /// The application it works for.
    fn app(&self) -> Option<Arc<str>> {
        None
    }

    /// Its own name in reports.
    fn title(&self) -> String;

    /// A child's name in reports.
    fn call(id: &Self::Id) -> String {
        format!("{id:?}")
    }

    /// Starts a child and keeps it. Reports a child that could not be started as an [`Exit::Error`] of this generation.
    fn start_child(&mut self, id: Self::Id, generation: Generation, ctx: &mut Context<Self>);

    fn child(&self, id: &Self::Id) -> Option<&dyn Running>;

    /// Whether this child must leave OS processes running when it ends: its supervisor gives up because actors failed
    /// too often, and the next supervisor adopts what runs.
    fn leaves_running(&self, id: &Self::Id) -> bool;

    /// A child is gone and will not come back.
    fn removed(&mut self, _: &Self::Id) {}

    /// Ends the supervisor itself, after all children, for this reason.
    fn over(&mut self, exit: Exit, ctx: &mut Context<Self>);

    /// Feeds the policy and carries its commands out.
    fn supervise(&mut self, event: SupervisorEvent<Self::Id>, ctx: &mut Context<Self>) {
        for command in self.policy().handle(event, Instant::now()) {
            match command {
                Command::Start { id, generation } => self.start_child(id, generation, ctx),
                Command::Stop { id, .. } => {
                    if let Some(child) = self.child(&id) {
                        match self.leaves_running(&id) {
                            true => child.kill(),
                            false => child.ask(),
                        }
                    }
                }
                Command::Kill { id, .. } => {
                    if let Some(child) = self.child(&id) {
                        child.kill();
                    }
                }
                Command::ArmTimer {
                    id,
                    generation,
                    after,
                } => {
                    ctx.run_later(after, move |parent, ctx| {
                        parent.supervise(SupervisorEvent::TimedOut { id, generation }, ctx);
                    });
                }
                Command::Report { id, exit, .. } => {
                    self.report_restart(Self::call(&id), format!("{exit:?}"));
                }
                Command::Removed { id } => self.removed(&id),
                Command::Exit(exit) => self.over(exit, ctx),
            }
        }
    }

    /// What a child's monitor calls when it has ended.
    fn on_exit(
        id: Self::Id,
        generation: Generation,
        ctx: &Context<Self>,
    ) -> impl FnOnce(Exit) + Send + 'static {
        let parent = ctx.address();
        // One message per start of a child: the mailbox cannot grow by it, and it must not be lost.
        move |exit| {
            parent.do_send(ChildEnded {
                id,
                generation,
                exit,
            });
        }
    }
}
