//! `GET /-/status`: how the server is: what it uses, what it has left, and what is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use jiff::Timestamp;
use serde_json::Value;

use super::certificates;
use super::problem::Problem;
use super::server_judgement::{self, Judgement};
use super::server_state::{App, Certificate, Descriptors, Disk, PortCount, ServerStatus, Traces};
use super::state::ApiState;
use crate::app::apps::{List, Orphans, Problems};
use crate::app::status::Summary;
use crate::app_dirs::AppDirs;
use crate::document::name::AppName;
use crate::install::disk_usage;
use crate::process::{landlock, usage};

/// What the machine says of this process; it is read on a blocking thread.
struct OfMachine {
    descriptors: Descriptors,
    memory_bytes: u64,
    disk: Disk,
    is_replaced: bool,
    has_landlock: bool,
}

pub(super) async fn show(state: Data<ApiState>) -> Result<HttpResponse, Problem> {
    let mut status = look(&state).await?;
    measure(&state, &mut status.applications).await;
    Ok(HttpResponse::Ok().json(status))
}

/// How the server is, but for what applications have on disk.
pub(super) async fn look(state: &ApiState) -> Result<ServerStatus, Problem> {
    let about = &state.about;
    let apps = state.ask_apps(List).await?;
    let orphans = state.ask_apps(Orphans).await??.into_iter();
    let left_out = state.ask_apps(Problems).await?;
    let data_dir = about.data_dir.clone();
    let machine = web::block(move || OfMachine::look(data_dir)).await;
    let machine = machine.map_err(|e| Problem::unavailable(&e.to_string()))?;
    let (first, last, used) = about.ports.count();
    let all_ports = usize::from(last.saturating_sub(first)) + 1;
    let mut status = ServerStatus {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started_at: Some(about.started_at),
        uptime_seconds: about.started.elapsed().as_secs(),
        listen: about.listen.iter().map(ToString::to_string).collect(),
        tls_listen: about.tls_listen.iter().map(ToString::to_string).collect(),
        socket: about.socket.clone(),
        ports: PortCount {
            first,
            last,
            used,
            free: all_ports.saturating_sub(used),
        },
        connections: about.connections.outstanding(),
        descriptors: machine.descriptors,
        memory_bytes: machine.memory_bytes,
        applications: apps.into_iter().map(app).collect(),
        disk: machine.disk,
        certificates: certificates_at(Timestamp::now(), &certificates::rows(state)),
        traces: state.spans.as_ref().map(|spans| Traces {
            exported: spans.exported(),
            dropped: spans.dropped(),
        }),
        ..ServerStatus::default()
    };
    let judgement = server_judgement::judge(&status)
        .with(
            left_out,
            state.closed_ports.borrow().clone(),
            orphans.map(|orphan| orphan.name).collect(),
        )
        .of_drains(&state.drains.all());
    let Judgement {
        problems,
        mut warnings,
    } = judgement.of_program(machine.is_replaced, machine.has_landlock);
    let failed = state.reload.failure().into_iter();
    let failed =
        failed.map(|why| format!("the last reload failed, and this server went on: {why}"));
    warnings.extend(failed);
    status.state = match (problems.is_empty(), warnings.is_empty()) {
        (false, _) => "problem",
        (true, false) => "warning",
        (true, true) => "ok",
    };
    (status.problems, status.warnings) = (problems, warnings);
    Ok(status)
}

/// Adds what each application has on disk.
async fn measure(state: &ApiState, applications: &mut BTreeMap<String, App>) {
    let Some(backups) = &state.backups else {
        return;
    };
    let settings = Arc::clone(&backups.carrier.settings);
    let names: Vec<String> = applications.keys().cloned().collect();
    let measured = web::block(move || {
        let measured = names.into_iter().filter_map(|name| {
            let parsed = AppName::parse(&name).ok()?;
            let dirs = AppDirs::new(&settings.data_dir, &settings.runtime_dir, &parsed);
            Some((name, disk_usage::lately(&dirs).total))
        });
        measured.collect::<Vec<_>>()
    });
    // An error: the server stops.
    for (name, bytes) in measured.await.unwrap_or_default() {
        if let Some(app) = applications.get_mut(&name) {
            app.disk_bytes = Some(bytes);
        }
    }
}

fn app(summary: Summary) -> (String, App) {
    let failed_deployment = summary.last_failure.map(|failure| failure.deployment);
    let state = summary.state;
    (
        summary.name,
        App {
            state,
            failed_deployment,
            disk_bytes: None,
        },
    )
}

/// Those that `GET /certificates` lists, with the days that each has left.
fn certificates_at(now: Timestamp, rows: &[Value]) -> Vec<Certificate> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let row = |row: &Value| {
        let ends: Option<Timestamp> = row["not_after"].as_str().and_then(|t| t.parse().ok());
        let names = row["names"].as_array().into_iter().flatten();
        Certificate {
            names: names.filter_map(text).collect(),
            state: text(&row["state"]).unwrap_or_default(),
            days_left: ends.map(|ends| (ends.as_second() - now.as_second()).div_euclid(86_400)),
            error: text(&row["error"]),
        }
    };
    rows.iter().map(row).collect()
}

impl OfMachine {
    fn look(data_dir: PathBuf) -> Self {
        let own = Path::new("/proc/self");
        let open = std::fs::read_dir(own.join("fd")).map_or(0, Iterator::count);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let program = std::fs::read_link(own.join("exe")).unwrap_or_default();
        Self {
            // The look itself has one open.
            descriptors: Descriptors {
                open: open.saturating_sub(1),
                limit,
            },
            memory_bytes: usage::own_memory(),
            disk: disk(data_dir),
            // What proc_pid_exe(5) says of a file that has gone.
            is_replaced: program.to_string_lossy().ends_with(" (deleted)"),
            has_landlock: landlock::level().is_some(),
        }
    }
}

fn disk(path: PathBuf) -> Disk {
    let Ok(disk) = rustix::fs::statvfs(&path) else {
        return Disk {
            path,
            ..Disk::default()
        };
    };
    Disk {
        path,
        total_bytes: disk.f_blocks * disk.f_frsize,
        free_bytes: disk.f_bavail * disk.f_frsize,
        total_inodes: disk.f_files,
        free_inodes: disk.f_favail,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn days_are_counted_down_and_below_zero() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let rows = [
            json!({"names": ["a"], "not_after": "2026-12-09T11:00:00Z", "state": "valid"}),
            json!({"names": ["b"], "not_after": "2026-11-29T11:00:00Z", "state": "expired"}),
            json!({"names": ["c"], "not_after": null, "state": "failing", "error": "why"}),
        ];
        let all = certificates_at(now, &rows);
        let days: Vec<_> = all.iter().map(|c| c.days_left).collect();
        assert_eq!(days, [Some(9), Some(-1), None]);
        assert_eq!(all[2].error.as_deref(), Some("why"));
    }
}
