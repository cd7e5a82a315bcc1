//! How the OS process ended, and whether memory was why.

use actix::prelude::*;

use super::{Process, blocking, record};
use crate::document::limits::Limits;
use crate::document::size;
use crate::exit_status::{ExitRecord, ExitStatus};
use crate::process::identity;
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

/// Whether the command itself may be what was killed: a shell tells of its child's signal by a code, and how an adopted
/// process ended is not known.
fn was_killed(status: ExitStatus) -> bool {
    matches!(
        status,
        ExitStatus::Signal(9) | ExitStatus::Code(137) | ExitStatus::Unknown
    )
}

/// What a person should know of it.
fn reason(status: ExitStatus, app: &str, process_type: &str, limits: &Limits) -> String {
    let what = match was_killed(status) {
        true => "out of memory: the kernel ended it",
        false => "the kernel had ended something that it had started, out of memory",
    };
    match limits.memory {
        Some(limit) => format!(
            "{what} at its limit of {}; \"procserver set {app} limits.{process_type}.memory={}\" gives it more",
            size::shown(limit),
            size::shown(limit.saturating_mul(2))
        ),
        None => format!("{what}, as the machine had none left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ran_out_of_memory_is_told_what_to_type() {
        let limits = Limits {
            memory: Some(512 << 20),
            ..Limits::default()
        };
        let told = reason(ExitStatus::Signal(9), "hello", "web", &limits);
        assert_eq!(
            told,
            "out of memory: the kernel ended it at its limit of 512M; \
             \"procserver set hello limits.web.memory=1G\" gives it more"
        );
        let child = reason(ExitStatus::Code(1), "hello", "web", &limits);
        assert!(child.contains("something that it had started"), "{child}");
        let machine = reason(ExitStatus::Code(137), "hello", "web", &Limits::default());
        assert!(
            machine.ends_with("as the machine had none left"),
            "{machine}"
        );
    }
}
