//! What is told of processes that the kernel has ended for want of memory, whichever engine runs them (pure).

use crate::document::limits::Limits;
use crate::document::size;
use crate::exit_status::ExitStatus;

/// Whether the command itself may be what was killed: a shell tells of its child's signal by a code, and how an adopted
/// process ended is not known.
#[must_use]
pub fn was_killed(status: ExitStatus) -> bool {
    matches!(
        status,
        ExitStatus::Signal(9) | ExitStatus::Code(137) | ExitStatus::Unknown
    )
}

/// What a person should know of it.
#[must_use]
pub fn reason(status: ExitStatus, app: &str, process_type: &str, limits: &Limits) -> String {
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
