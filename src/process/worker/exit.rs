//! How the OS process ended, and whether memory was why.

use actix::prelude::*;

use super::{Process, blocking, record};
use crate::exit_status::{ExitRecord, ExitStatus};
use crate::process::identity;
use crate::process::out_of_memory::{reason, was_killed};
use crate::process::state::LifeEvent;

impl Process {
    pub(super) fn exited(&mut self, ctx: &mut Context<Self>) {
        self.unwatch(ctx);
        let running = self.running.as_ref();
        let status = running.map_or(ExitStatus::Unknown, |running| running.status());
        let look = running.and_then(|running| running.look_for_oom());
        let Some(look) = look.filter(|_| status.is_abnormal()) else {
            return self.ended(status, false, ctx);
        };
        let looked = blocking(look).into_actor(self);
        ctx.spawn(looked.map(move |is_oom, this, ctx| {
            // A stop that came meanwhile tells of the end itself.
            if this.running.is_some() {
                this.ended(status, is_oom.unwrap_or_default(), ctx);
            }
        }));
    }

    fn ended(&mut self, status: ExitStatus, is_oom: bool, ctx: &mut Context<Self>) {
        // It is told once: a server that begins now finds no record of a process to wait for.
        identity::forget(&self.spec.instance_directory());
        let record = match is_oom {
            true => self.out_of_memory(status),
            false => record(status, status.reason(&self.spec.command)),
        };
        self.apply(LifeEvent::Exited { record }, ctx);
    }

    /// The record of a process of whose group the kernel has ended something for want of memory.
    fn out_of_memory(&self, status: ExitStatus) -> ExitRecord {
        let spec = &self.spec;
        let why = reason(status, spec.app.as_str(), &spec.process_type, &spec.limits);
        ExitRecord {
            oom: was_killed(status),
            ..record(status, Some(why))
        }
    }
}
