//! [`Facts`]: what there is to measure at one moment, and who is asked for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix_web::web;
use futures::future::join_all;
use jiff::Timestamp;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::api::certificates;
use crate::api::problem::Problem;
use crate::api::server_state::ServerStatus;
use crate::api::server_status;
use crate::api::state::ApiState;
use crate::app::apps::Find;
use crate::app::status::ProcessStatus;
use crate::app::supervisor::Processes;
use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::drains::status::DrainStatus;
use crate::events::counts::Counts;
use crate::front::request_counts::{RequestCounts, Totals};
use crate::install::disk_usage;
use crate::process::usage::{self, Run};
use crate::router::table::Table;

/// An application that does not answer by then is left out this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long is waited for a look at the disk. What comes later is shown the next time.
const LOOK: Duration = Duration::from_secs(1);

/// What there is to measure at one moment.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) server: ServerStatus,
    /// The time of this process on a CPU.
    pub(super) cpu_seconds: f64,
    /// The first name of each certificate and the seconds until it ends, below zero since it has.
    pub(super) certificates: BTreeMap<String, i64>,
    pub(super) requests: Totals,
    /// Backends that requests may go to, and what is on them, by application.
    pub(super) backends: BTreeMap<Arc<str>, (usize, usize)>,
    pub(super) counts: Counts,
    pub(super) processes: BTreeMap<String, Vec<ProcessStatus>>,
    /// Bytes by application.
    pub(super) logs: BTreeMap<Box<str>, u64>,
    pub(super) disk: BTreeMap<String, u64>,
    pub(super) drains: BTreeMap<Arc<str>, Vec<DrainStatus>>,
    pub(super) lost_lines: u64,
    pub(super) failed_logins: u64,
    /// Those that were exported and dropped, where there are any.
    pub(super) spans: Option<(u64, u64)>,
}

pub(super) async fn gather(state: &ApiState) -> Result<Facts, Problem> {
    let metrics = &state.metrics;
    let server = server_status::look(state).await?;
    let names: Vec<String> = server.applications.keys().cloned().collect();
    let processes = processes(state, &names).await;
    let table = Arc::clone(&state.routing.table.borrow());
    let failed = [
        &state.failed_logins,
        &state.failed_hooks,
        &state.failed_pulls,
    ]
    .map(|failed| {
        let failed = failed.lock();
        failed.unwrap_or_else(PoisonError::into_inner).total()
    });
    let mut facts = Facts {
        cpu_seconds: own_cpu_seconds(),
        certificates: certificates(state),
        requests: requests(metrics.requests.clone(), Arc::clone(&table)).await,
        backends: backends(&table),
        counts: state.events.counts(),
        processes,
        logs: metrics.app_logs.stored().into_iter().collect(),
        disk: disk(state, names).await,
        drains: state.drains.all(),
        lost_lines: metrics.lost_lines.count(),
        failed_logins: failed.iter().sum(),
        spans: state
            .spans
            .as_ref()
            .map(|spans| (spans.exported(), spans.dropped())),
        server,
    };
    for (app, processes) in &facts.processes {
        let counts = facts.counts.apps.entry(app.as_str().into()).or_default();
        counts.begin(processes.iter().map(|process| &*process.process_type));
    }
    // What is told of an application that has just gone.
    let is_there = |app: &str| facts.server.applications.contains_key(app);
    facts.requests.apps.retain(|app, _| is_there(app));
    facts.backends.retain(|app, _| is_there(app));
    facts.counts.apps.retain(|app, _| is_there(app));
    facts.logs.retain(|app, _| is_there(app));
    facts.disk.retain(|app, _| is_there(app));
    facts.drains.retain(|app, _| is_there(app));
    Ok(facts)
}

/// How many backends each application has, and what is on them.
fn backends(table: &Table) -> BTreeMap<Arc<str>, (usize, usize)> {
    let routes = table.routes().iter();
    let of = routes.map(|route| {
        let loads = route.all_backends().map(|b| b.load.outstanding());
        let (count, outstanding) = loads.fold((0, 0), |(n, sum), load| (n + 1, sum + load));
        (Arc::clone(&route.app), (count, outstanding))
    });
    of.collect()
}

/// Adds up what the workers have counted. Of some hundred applications that takes milliseconds, which no worker has.
pub(super) async fn requests(counts: RequestCounts, table: Arc<Table>) -> Totals {
    let added = web::block(move || counts.totals(&table)).await;
    // An error: the server stops.
    added.unwrap_or_default()
}

pub(super) fn own_cpu_seconds() -> f64 {
    let used = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    });
    used as f64 / 1e6
}

fn certificates(state: &ApiState) -> BTreeMap<String, i64> {
    let now = Timestamp::now().as_second();
    let mut all = BTreeMap::new();
    for row in certificates::rows(state) {
        let ends: Option<Timestamp> = row["not_after"].as_str().and_then(|t| t.parse().ok());
        if let (Some(name), Some(ends)) = (row["names"][0].as_str(), ends) {
            let left = ends.as_second() - now;
            // Of several for one name, the one that ends last answers.
            let most = all.entry(name.to_owned()).or_insert(left);
            *most = left.max(*most);
        }
    }
    all
}

/// The processes of each application, with what they use.
pub(super) async fn processes(
    state: &ApiState,
    names: &[String],
) -> BTreeMap<String, Vec<ProcessStatus>> {
    let asked = names.iter().map(|name| async {
        let app = state.ask_apps(Find(name.clone())).await.ok()?.ok()?;
        let processes = app.send(Processes).timeout(PATIENCE).await.ok()?;
        Some((name.clone(), processes))
    });
    let mut all: BTreeMap<_, _> = join_all(asked).await.into_iter().flatten().collect();
    let sessions: Vec<u32> = all.values().flatten().filter_map(|p| p.pid).collect();
    // An error: the server stops.
    let used = web::block(move || usage::of_sessions(&sessions)).await;
    let used = used.unwrap_or_default();
    let remembered = state.metrics.remembered.cpu_seconds.lock();
    let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
    let mut seen = HashMap::new();
    for (app, processes) in &mut all {
        for process in processes {
            let Some(run) = process.run() else { continue };
            let usage = match &run {
                Run::Pid(pid) => used.get(pid).copied(),
                Run::Task(task) => state.meters.of(task),
            };
            let Some(usage) = usage else { continue };
            process.memory_bytes = usage.memory_bytes;
            let key = (app.clone(), process.id.clone(), run);
            // Of a session only what lives is told: a counter may not go back where a part of it has ended.
            let before = remembered.get(&key).copied().unwrap_or(0.0);
            process.cpu_seconds = usage.cpu_seconds.max(before);
            seen.insert(key, process.cpu_seconds);
        }
    }
    *remembered = seen;
    all
}

/// What each application has on disk, as far as it was looked at. A look at many files takes its time, and nobody who
/// asks waits for all of it.
async fn disk(state: &ApiState, names: Vec<String>) -> BTreeMap<String, u64> {
    let shared = &state.metrics.remembered.disk;
    let known = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(backups) = &state.backups else {
        return BTreeMap::new();
    };
    let look = Arc::new(());
    {
        let mut known = known();
        if known.look.strong_count() > 0 {
            return known.bytes.clone();
        }
        known.look = Arc::downgrade(&look);
    }
    let (shared, settings) = (Arc::clone(shared), Arc::clone(&backups.carrier.settings));
    let looks = web::block(move || {
        let _look = look;
        let measured = names.into_iter().filter_map(|name| {
            let parsed = AppName::parse(&name).ok()?;
            let dirs = AppDirs::new(&settings.data_dir, &settings.runtime_dir, &parsed);
            Some((name, disk_usage::lately(&dirs).total))
        });
        let bytes = measured.collect();
        shared.lock().unwrap_or_else(PoisonError::into_inner).bytes = bytes;
    });
    let _later = tokio::time::timeout(LOOK, looks).await;
    known().bytes.clone()
}
