//! [`Counts`]: how often what is reported has happened, by application (pure).
//!
//! Reports come from actors that may be restarted; what was counted outlives them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::report::{Report, STAYS_DOWN};
use crate::exit_status::ExitStatus;

/// Upper bounds of the durations of deployments that are counted together, seconds.
pub const BOUNDS: [u64; 10] = [1, 2, 5, 10, 30, 60, 120, 300, 900, 3600];

/// Types of processes that are told apart in one app: a Procfile may name others with each release.
const MAX_TYPES: usize = 100;

/// What the others are counted as. No type is called so.
const OTHER_TYPES: &str = "(others)";

/// Deployments of one app that may be under way.
const MAX_OPEN: usize = 16;

/// How processes of one type ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeCounts {
    /// Those that ended by exit(2) with 0, with another code, by a signal, and unknown how.
    pub succeeded: u64,
    pub failed: u64,
    pub signalled: u64,
    pub unknown: u64,
    /// Those that were started again.
    pub restarts: u64,
}

/// The deployments of one outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentCounts {
    pub count: u64,
    /// By [`BOUNDS`], and one more for what took longer. Those that an earlier server began are left out.
    pub durations: [u64; BOUNDS.len() + 1],
    pub seconds: f64,
}

#[derive(Clone, Debug, Default)]
pub struct AppCounts {
    pub types: BTreeMap<String, TypeCounts>,
    /// By the state that they ended in.
    pub deployments: BTreeMap<&'static str, DeploymentCounts>,
    /// Actors of the server that ended abnormally.
    pub actors: u64,
    /// When those began that have not ended.
    open: Vec<(u64, Instant)>,
}

#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub apps: BTreeMap<Arc<str>, AppCounts>,
    /// Actors that work for no app and ended abnormally.
    pub actors: u64,
}

impl Counts {
    /// Counts what is reported.
    pub fn count(&mut self, report: &Report, now: Instant) {
        match report {
            Report::ProcessExited {
                who, exit, next, ..
            } => {
                // `web.1`.
                let process = &who.process;
                let name = process
                    .rsplit_once('.')
                    .map_or(&**process, |(name, _)| name);
                let of_type = self.app(&who.app).of_type(name);
                of_type.ended(*exit);
                of_type.restarts += u64::from(*next != STAYS_DOWN);
            }
            Report::DeploymentStarted {
                app, deployment, ..
            } => {
                let open = &mut self.app(app).open;
                if open.len() == MAX_OPEN {
                    open.remove(0);
                }
                open.push((*deployment, now));
            }
            Report::DeploymentFinished {
                app,
                deployment,
                state,
                ..
            } => self.app(app).deployed(*deployment, state, now),
            Report::ActorEnded { app: Some(app), .. } => self.app(app).actors += 1,
            Report::ActorEnded { app: None, .. } => self.actors += 1,
            _ => {}
        }
    }

    /// Forgets an app that is removed.
    pub fn forget(&mut self, app: &str) {
        self.apps.remove(app);
    }

    fn app(&mut self, app: &Arc<str>) -> &mut AppCounts {
        self.apps.entry(Arc::clone(app)).or_default()
    }
}

impl AppCounts {
    /// Shows nothing for what may happen to these types: nobody sees that what was not there has grown.
    pub fn begin<'a>(&mut self, types: impl Iterator<Item = &'a str>) {
        types.for_each(|name| _ = self.of_type(name));
        for outcome in ["succeeded", "failed"] {
            self.deployments.entry(outcome).or_default();
        }
    }

    fn of_type(&mut self, name: &str) -> &mut TypeCounts {
        let is_known = self.types.contains_key(name) || self.types.len() < MAX_TYPES;
        let name = if is_known { name } else { OTHER_TYPES };
        self.types.entry(name.to_owned()).or_default()
    }

    fn deployed(&mut self, deployment: u64, state: &'static str, now: Instant) {
        let began = self.open.iter().position(|(id, _)| *id == deployment);
        let began = began.map(|at| self.open.remove(at).1);
        let counts = self.deployments.entry(state).or_default();
        counts.count += 1;
        if let Some(began) = began {
            let took = now.saturating_duration_since(began).as_secs_f64();
            let at = BOUNDS.partition_point(|bound| (*bound as f64) < took);
            counts.durations[at] += 1;
            counts.seconds += took;
        }
    }
}

impl TypeCounts {
    fn ended(&mut self, exit: ExitStatus) {
        let count = match exit {
            ExitStatus::Code(0) => &mut self.succeeded,
            ExitStatus::Code(_) => &mut self.failed,
            ExitStatus::Signal(_) => &mut self.signalled,
            ExitStatus::Unknown => &mut self.unknown,
        };
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::events::By;
    use crate::events::report::Offender;

    fn exited(process: &str, exit: ExitStatus, next: &'static str) -> Report {
        Report::ProcessExited {
            who: Offender {
                app: "blog".into(),
                process: process.to_owned(),
                release: 1,
                batch: 1,
                pid: None,
            },
            exit,
            oom: false,
            reason: String::new(),
            next,
        }
    }

    #[test]
    fn ends_are_counted_by_type_and_restarts_where_one_follows() {
        let (mut all, now) = (Counts::default(), Instant::now());
        for (process, exit, next) in [
            ("web.1", ExitStatus::Code(1), "it is restarted"),
            ("web.2", ExitStatus::Signal(9), "it is restarted"),
            ("web.2", ExitStatus::Code(0), STAYS_DOWN),
            ("a.b.1", ExitStatus::Unknown, STAYS_DOWN),
        ] {
            all.count(&exited(process, exit, next), now);
        }
        let types = &all.apps["blog"].types;
        let web = TypeCounts {
            succeeded: 1,
            failed: 1,
            signalled: 1,
            unknown: 0,
            restarts: 2,
        };
        assert_eq!((&types["web"], types["a.b"].unknown), (&web, 1));
        all.forget("blog");
        assert!(all.apps.is_empty());
    }

    #[test]
    fn types_without_end_are_counted_together() {
        let (mut all, now) = (Counts::default(), Instant::now());
        for n in 0..3 * MAX_TYPES {
            let process = format!("t{n}.1");
            all.count(&exited(&process, ExitStatus::Code(0), STAYS_DOWN), now);
        }
        let types = &all.apps["blog"].types;
        assert_eq!(types.len(), MAX_TYPES + 1);
        assert_eq!(types[OTHER_TYPES].succeeded, 2 * MAX_TYPES as u64);
    }

    #[test]
    fn deployments_take_from_their_beginning_to_their_end() {
        let (mut all, begin) = (Counts::default(), Instant::now());
        let app: Arc<str> = "blog".into();
        let finished = |deployment, state| Report::DeploymentFinished {
            app: Arc::clone(&app),
            deployment,
            state,
            release: None,
            commit: None,
            by: None,
            reason: None,
        };
        let started = |deployment| Report::DeploymentStarted {
            app: Arc::clone(&app),
            deployment,
            by: By::server(),
        };
        all.count(&started(7), begin);
        let later = begin + Duration::from_secs(5);
        all.count(&finished(7, "succeeded"), later);
        // A former server began it.
        all.count(&finished(6, "interrupted"), later);
        let deployments = &all.apps["blog"].deployments;
        let succeeded = &deployments["succeeded"];
        assert_eq!((succeeded.count, succeeded.durations[2]), (1, 1));
        assert!((succeeded.seconds - 5.0).abs() < 1e-9);
        let interrupted = &deployments["interrupted"];
        assert_eq!(interrupted.count, 1);
        assert_eq!(interrupted.durations.iter().sum::<u64>(), 0);
        for id in 0..100 {
            all.count(&started(id), later);
        }
        assert_eq!(all.apps["blog"].open.len(), MAX_OPEN);
    }
}
