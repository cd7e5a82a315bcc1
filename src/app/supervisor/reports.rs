//! Reports of processes: the difference between the last state and the present one.

use std::sync::Arc;

use super::App;
use crate::app::lifecycle::BatchId;
use crate::events::Report;
use crate::events::report::{KEEPS_CRASHING, Offender, STAYS_DOWN};
use crate::exit_status::ExitRecord;
use crate::process::phase::Phase;
use crate::process::snapshot::Snapshot;

impl App {
    /// Reports a change of a process.
    pub(super) fn report_process(
        &mut self,
        id: BatchId,
        now: &Snapshot,
        exited: Option<&ExitRecord>,
    ) {
        let Some(batch) = self.batches.get(id) else {
            return;
        };
        let adopted = now.pid.is_some_and(|pid| self.children.is_adopted(pid));
        let release = batch.runnable.id();
        let app = self.spec.config.name.shared();
        let before = batch.snapshot(&now.id);
        for report in of_process(&app, release, id, before, now, exited, adopted) {
            self.spec.context.events.report(report);
        }
    }
}

/// The reports of what happened to a process between two of its states (pure).
pub(super) fn of_process(
    app: &Arc<str>,
    release: u64,
    batch: BatchId,
    before: Option<&Snapshot>,
    now: &Snapshot,
    exited: Option<&ExitRecord>,
    adopted: bool,
) -> Vec<Report> {
    let who = |pid: Option<u32>| Offender {
        app: Arc::clone(app),
        process: now.id.clone(),
        release,
        batch,
        pid,
    };
    let old_pid = before.and_then(|s| s.pid);
    let exit = exited.map(|exit| {
        let reason = exit.reason.as_ref().map(|why| format!(": {why}"));
        Report::ProcessExited {
            who: who(old_pid),
            exit: exit.status,
            oom: exit.oom,
            reason: format!("{}{}", exit.status, reason.unwrap_or_default()),
            next: what_follows(now),
        }
    });
    let is_started = now.pid.is_some() && now.pid != old_pid;
    let start = is_started.then(|| Report::ProcessStarted {
        who: who(now.pid),
        port: now.port,
        adopted,
    });
    let failure = has_failed(before, now).then(|| Report::ProcessFailed {
        who: who(None),
        reason: now.warning.clone().unwrap_or_default(),
        next: "it is tried again in 5 seconds",
    });
    let reports = [
        exit,
        start,
        failure,
        health(before, now, who),
        phase(before, now, who),
    ];
    reports.into_iter().flatten().collect()
}

/// Whether it could not be started, for a reason that was not told yet.
fn has_failed(before: Option<&Snapshot>, now: &Snapshot) -> bool {
    let old = before.and_then(|s| s.warning.as_ref());
    now.phase == Phase::Backoff && now.warning.is_some() && now.warning.as_ref() != old
}

/// What the checks of a process that goes on have found anew.
fn health(
    before: Option<&Snapshot>,
    now: &Snapshot,
    who: impl Fn(Option<u32>) -> Offender,
) -> Option<Report> {
    let before = before.filter(|s| now.pid.is_some() && s.pid == now.pid)?;
    let who = (before.trouble != now.trouble).then(|| who(now.pid))?;
    Some(match &now.trouble {
        Some(trouble) => Report::ProcessUnhealthy {
            who,
            reason: trouble.why.clone(),
        },
        None => Report::ProcessHealthy { who },
    })
}

/// Which phase it came to, or at which other address it is ready.
fn phase(
    before: Option<&Snapshot>,
    now: &Snapshot,
    who: impl Fn(Option<u32>) -> Offender,
) -> Option<Report> {
    let old_address = before.and_then(|s| s.address.as_ref());
    let is_moved =
        now.phase == Phase::Ready && now.address.is_some() && old_address != now.address.as_ref();
    if before.map(|s| s.phase) == Some(now.phase) && !is_moved {
        return None;
    }
    Some(match now.phase {
        Phase::Ready => Report::ProcessReady {
            who: who(now.pid),
            address: now.address.as_ref().map(ToString::to_string),
        },
        Phase::Stopping => Report::ProcessStopping { who: who(now.pid) },
        Phase::Stopped => Report::ProcessStopped {
            who: who(before.and_then(|s| s.pid)),
        },
        Phase::Starting | Phase::Backoff | Phase::Finished => return None,
    })
}

fn what_follows(now: &Snapshot) -> &'static str {
    match now.phase {
        Phase::Stopping | Phase::Stopped | Phase::Finished => STAYS_DOWN,
        _ if now.crashlooping => KEEPS_CRASHING,
        _ => "it is restarted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_status::ExitStatus;
    use crate::process::health::Trouble;

    fn snapshot(phase: Phase, pid: Option<u32>) -> Snapshot {
        Snapshot {
            pid,
            port: Some(8001),
            ..Snapshot::new("web.1".to_owned(), phase)
        }
    }

    fn events(
        before: Option<&Snapshot>,
        now: &Snapshot,
        exited: Option<&ExitRecord>,
    ) -> Vec<String> {
        let reports = of_process(&"echo".into(), 1, 1, before, now, exited, false);
        let first_word = |report: &Report| report.line().split(' ').next().map(str::to_owned);
        reports.iter().filter_map(first_word).collect()
    }

    #[test]
    fn a_life_is_told_once_from_start_to_stop() {
        let exit = ExitRecord {
            status: ExitStatus::Signal(9),
            at: jiff::Timestamp::UNIX_EPOCH,
            oom: false,
            reason: None,
        };
        let starting = snapshot(Phase::Starting, Some(7));
        let ready = snapshot(Phase::Ready, Some(7));
        let waits = snapshot(Phase::Backoff, None);
        let again = snapshot(Phase::Starting, Some(8));
        let stopping = snapshot(Phase::Stopping, Some(8));
        let stopped = snapshot(Phase::Stopped, None);
        assert_eq!(events(None, &starting, None), ["process.started"]);
        assert_eq!(events(Some(&starting), &ready, None), ["process.ready"]);
        assert!(events(Some(&ready), &ready, None).is_empty());
        let moved = Snapshot {
            address: Some(std::net::SocketAddr::from(([127, 0, 0, 1], 8001)).into()),
            ..ready.clone()
        };
        assert_eq!(events(Some(&ready), &moved, None), ["process.ready"]);
        assert_eq!(
            events(Some(&ready), &waits, Some(&exit)),
            ["process.exited"]
        );
        assert_eq!(events(Some(&waits), &again, None), ["process.started"]);
        assert_eq!(events(Some(&again), &stopping, None), ["process.stopping"]);
        let end = events(Some(&stopping), &stopped, Some(&exit));
        assert_eq!(end, ["process.exited", "process.stopped"]);
    }

    #[test]
    fn what_fails_its_checks_and_recovers_is_told_once_each() {
        let well = snapshot(Phase::Ready, Some(7));
        let ill = Snapshot {
            trouble: Some(Trouble {
                why: "it is ill".to_owned(),
                is_foreign: false,
            }),
            ..well.clone()
        };
        assert_eq!(events(Some(&well), &ill, None), ["process.unhealthy"]);
        assert!(events(Some(&ill), &ill, None).is_empty());
        assert_eq!(events(Some(&ill), &well, None), ["process.healthy"]);
    }

    #[test]
    fn what_cannot_be_started_is_told_with_the_reason() {
        let mut waits = snapshot(Phase::Backoff, None);
        waits.warning = Some("no such directory".to_owned());
        assert_eq!(events(None, &waits, None), ["process.failed"]);
    }
}
