//! Explains why a batch did not get ready, in words that a person can act on.

use std::future::Future;
use std::path::Path;

use actix::prelude::*;

use crate::app::batch::Batch;
use crate::app::lifecycle::{BatchId, Cause, Event, OpId};
use crate::document::secrets;
use crate::document::statuses::Statuses;
use crate::exit_status::ExitStatus;
use crate::install::advice;
use crate::install::lines::Mask;
use crate::install::record::{Failure, Step};
use crate::logs::log::{Chunk, Log, Query, Read};
use crate::logs::record::Stream;
use crate::process::diagnosis::{Diagnosis, diagnose};
use crate::process::phase::Phase;
use crate::process::port_holder;
use crate::process::readiness::Unready;
use crate::process::snapshot::Snapshot;
use crate::process::spec::instance_directory;
use crate::supervision::ChildRef;

use super::App;

/// How many of a process' last lines a failure shows.
const TAIL: usize = 20;

impl App {
    /// The time to get ready is over. Diagnoses the late processes while they are still there, then tells the
    /// lifecycle.
    pub(super) fn boot_timed_out(&self, batch: BatchId, op: OpId, ctx: &mut Context<Self>) {
        let late = self.batches.get(batch).into_iter().flat_map(|b| {
            let health = b.runnable.health.clone();
            let late = b.members().filter(|(slot, _)| slot.routed);
            late.filter_map(move |(slot, snapshot)| {
                let snapshot = snapshot.filter(|s| s.phase == Phase::Starting)?;
                let (id, health) = (slot.id.clone(), health.clone());
                let (pid, port) = snapshot.pid.zip(snapshot.port)?;
                let directory = instance_directory(self.spec.dirs.runtime(), &id, batch);
                Some(async move { (id, diagnose(pid, directory, port, &health).await) })
            })
        });
        let looked = futures::future::join_all(late.collect::<Vec<_>>());
        ctx.spawn(looked.into_actor(self).map(move |diagnoses, app, ctx| {
            if let Some(batch) = app.batches.get_mut(batch) {
                batch.diagnoses = diagnoses.into_iter().collect();
            }
            app.feed(Event::BootTimeout(op), ctx);
        }));
    }

    /// Notes why an operation fails, while the processes that it started are still there.
    pub(super) fn explain(&mut self, op: OpId, cause: &Cause, batch: BatchId) {
        let (failure, _) = explained(cause, self.batches.get(batch), None);
        if let Some(operation) = self.deployer.operations.get(op) {
            operation.failure = Some(failure);
        }
    }

    /// The failure of an operation: `known` when the build failed, else what the batch's processes did.
    pub(super) fn describe_failure(
        &self,
        known: Option<Failure>,
        cause: Cause,
        batch: Option<BatchId>,
    ) -> impl Future<Output = Failure> + 'static {
        let batch = batch.and_then(|id| self.batches.get(id));
        let (mut failure, process) = explained(&cause, batch, known);
        let release = batch.map(|b| b.runnable.id());
        let log = self.children.log.clone();
        let server_wide = &self.spec.context.settings.env;
        let env = server_wide
            .iter()
            .chain(&self.deployer.documents.newest().env);
        let mask = Mask::new(secrets::of_environment(env));
        let place = batch.zip(process.as_deref()).and_then(|(batch, id)| {
            let slot = batch.members().find(|(slot, _)| slot.id == id)?.0;
            Some((
                slot.process_type.clone(),
                slot.command.clone(),
                batch.runnable.release.directory.clone(),
            ))
        });
        let failure_name = self.name().to_owned();
        async move {
            if let Some(process) = process {
                let lines = last_lines(&log, &process, release, TAIL).await;
                failure.log_tail = lines.iter().map(|line| mask.text(line)).collect();
                // Many print there why they end, too.
                let stdout = lines_of(&log, Stream::Stdout, &process, release, TAIL).await;
                let (of, command, directory) = place.unwrap_or_default();
                let all = [&lines[..], &stdout].concat();
                let looked = move || advice(&all, &of, &command, &directory);
                if let Ok(Some(hint)) = tokio::task::spawn_blocking(looked).await {
                    failure.hint = Some(hint);
                }
            }
            failure.named(&failure_name)
        }
    }
}

/// What to do about a process that printed these lines. Blocks.
fn advice(lines: &[String], of: &str, command: &str, directory: &Path) -> Option<String> {
    let Some(taken) = advice::taken_port(lines) else {
        return advice::of_checkout(lines, command, directory);
    };
    let known = taken.and_then(|port| Some((port, port_holder::find(port)?)));
    let who = known.map_or_else(
        || "the port that it listens on is taken".to_owned(),
        |(port, holder)| format!("port {port} is taken by {holder}"),
    );
    Some(format!(
        "{who}: listen on $PORT; where the port must be a fixed one, strategy: {{\"{of}\": \"recreate\"}} ends the old \
         process before the new one starts"
    ))
}

/// The failure, and the process whose last lines belong to it.
fn explained(
    cause: &Cause,
    batch: Option<&Batch>,
    known: Option<Failure>,
) -> (Failure, Option<String>) {
    match cause {
        Cause::Build => (known.unwrap_or_else(unexplained), None),
        Cause::Exited(id) => (known.unwrap_or_else(|| exited(batch, id)), Some(id.clone())),
        Cause::NotReady(ids) => (
            known.unwrap_or_else(|| not_ready(batch, ids)),
            ids.first().cloned(),
        ),
    }
}

fn unexplained() -> Failure {
    Failure::new(
        Step::Start,
        "the server could not make the release; its own log says why",
    )
}

fn exited(batch: Option<&Batch>, id: &str) -> Failure {
    let snapshot = batch.and_then(|b| b.snapshot(id));
    if let Some(snapshot) = snapshot.filter(|s| s.has_no_port) {
        let why = snapshot.warning.as_deref().unwrap_or("there is no port");
        let reason = format!("{id} could not be started: {why}");
        return Failure::new(Step::Start, reason).hint(NO_PORT);
    }
    if let Some(why) = snapshot.filter(|s| s.is_refused) {
        let why = why.warning.as_deref().unwrap_or_default();
        return Failure::new(Step::Start, format!("{id} could not be started: {why}"));
    }
    let exit = snapshot.and_then(|s| s.last_exit.clone());
    let Some(exit) = exit else {
        return Failure::new(Step::Start, format!("{id} ended before it was ready"));
    };
    let why = exit
        .reason
        .as_ref()
        .map(|r| format!(": {r}"))
        .unwrap_or_default();
    let reason = format!("{id} ended with {} before it was ready{why}", exit.status);
    let has_no_image = exit
        .reason
        .as_ref()
        .is_some_and(|r| r.starts_with(NO_SUCH_IMAGE));
    let hint = match exit.status {
        _ if exit.oom => "it needs less, or more: a higher limits.memory",
        _ if has_no_image => NO_IMAGE,
        ExitStatus::Code(127) => {
            "the command was not found: is its package in `packages`, is it made by `install`?"
        }
        ExitStatus::Code(126) => "the command is not executable: chmod +x it and commit that",
        ExitStatus::Code(0) => return done(reason, batch, id),
        _ => "its last lines say why; all it printed is in the log: procserver logs NAME --stderr",
    };
    Failure::new(Step::Start, reason)
        .status(exit.status)
        .hint(hint)
}

/// The failure of a process that ended with 0 before all were ready.
fn done(reason: String, batch: Option<&Batch>, id: &str) -> Failure {
    let mut members = batch.into_iter().flat_map(Batch::members);
    let slot = members
        .find(|(slot, _)| slot.id == id)
        .map(|(slot, _)| slot);
    let hint = match slot {
        Some(slot) if !slot.routed => format!(
            "a process must keep running: it is restarted whenever it ends, also with 0. One that has done its work then: \
             restart: {{\"{}\": \"never\"}}",
            slot.process_type
        ),
        _ => "a process that gets requests must keep running; a server that goes into the background must not".to_owned(),
    };
    Failure::new(Step::Start, reason)
        .status(ExitStatus::Code(0))
        .hint(hint)
}

fn not_ready(batch: Option<&Batch>, ids: &[String]) -> Failure {
    let Some((batch, id)) = batch.zip(ids.first()) else {
        return Failure::new(Step::Start, "the processes were not ready in time");
    };
    let check = &batch.runnable.health;
    let within = humantime::format_duration(check.boot_timeout);
    let snapshot = batch.snapshot(id);
    let warning = snapshot.and_then(|s| s.warning.clone());
    let Some(port) = snapshot.and_then(|s| s.port) else {
        // What another engine runs has no port of this machine.
        return late_elsewhere(id, snapshot, &within.to_string());
    };
    let path = check.path.as_deref().unwrap_or("/");
    let (reason, hint) = match batch.diagnoses.get(id) {
        Some(found) => unready(found, port, path, &check.status),
        None => (format!("did not get ready on port {port}"), SLOW),
    };
    Failure::new(Step::Start, format!("{id} {reason} within {within}"))
        .hint(warning.unwrap_or_else(|| hint.to_owned()))
}

/// The failure of a process that another engine runs, and that is not ready.
fn late_elsewhere(id: &str, snapshot: Option<&Snapshot>, within: &str) -> Failure {
    let place = snapshot.and_then(|s| s.place.as_ref());
    let node = place.and_then(|place| place.node.as_deref());
    if snapshot.is_some_and(|s| s.is_fetching) {
        let node = node.unwrap_or("its node");
        let reason = format!("{id}: {node} has not fetched the image in time");
        return Failure::new(Step::Start, reason).hint(SLOW_NODE);
    }
    let (what, hint) = match (snapshot.is_some_and(|s| s.started_at.is_some()), place) {
        (true, _) => ("did not get ready", SLOW),
        (false, Some(_)) => ("could not be started", NOT_STARTED),
        (false, None) => ("could not be started", SLOW),
    };
    let on = node.map(|node| format!(" on {node}")).unwrap_or_default();
    let warning = snapshot.and_then(|s| s.warning.clone());
    Failure::new(Step::Start, format!("{id} {what}{on} within {within}"))
        .hint(warning.unwrap_or_else(|| hint.to_owned()))
}

const NO_PORT: &str = "each process has a port, and a rolling deploy needs one for the new beside each of the old: \
                       scale something down, or set strategy: \"recreate\"";

/// So an engine says that it could not fetch one.
const NO_SUCH_IMAGE: &str = "No such image";

const NO_IMAGE: &str = "the node could not fetch the image: \"procserver doctor\" says how images get to nodes, and \
                        \"journalctl -u docker\" on the node why that one did not";

const SLOW_NODE: &str = "step_timeouts.packages is how long that may take; \"journalctl -u docker\" on the node says what its \
                         engine does: look at its way to the server or the registry, and at its disk";

const NOT_STARTED: &str = "\"procserver doctor\" says what the swarm lacks, and \"journalctl -u docker\" on the node what its \
                           engine does; one with much to do needs a larger health_check.boot_timeout";

const SLOW: &str = "a slow start needs a larger health_check.boot_timeout";

/// What the process did instead of getting ready, and what to do about it.
fn unready(found: &Diagnosis, port: u16, path: &str, wanted: &Statuses) -> (String, &'static str) {
    let elsewhere = found.listens.iter().all(|address| address.port() != port);
    match &found.check {
        Some(Unready::Foreign(who)) => (
            format!("does not have its port {port}, which {who} has,"),
            "another program took the port first: stop that one, or keep it out of the range of `ports`",
        ),
        Some(Unready::NotListening) if found.listens.is_empty() => (
            format!("did not listen on port {port}, nor on any other,"),
            "listen on the port given in $PORT; a slow start needs a larger health_check.boot_timeout",
        ),
        Some(Unready::NotListening) if elsewhere => (
            format!("did not listen on port {port} ({found})"),
            "listen on the port given in $PORT instead of one of the app's own",
        ),
        Some(Unready::NotListening) => (
            format!("did not listen on port {port} of 127.0.0.1 or ::1 ({found})"),
            "listen on 127.0.0.1, ::1 or on all addresses",
        ),
        Some(Unready::Silent) => (
            format!("accepted connections on port {port} but did not answer GET {path}"),
            "answer the path of health_check, or leave that out: then a connection is enough",
        ),
        Some(Unready::NotHttp) => (
            format!("answered GET {path} on port {port} with something that is not HTTP"),
            "speak HTTP on $PORT, or leave health_check.path out: then a connection is enough",
        ),
        Some(Unready::Status(status @ 300..400)) => (
            format!("answered GET {path} on port {port} with {status} instead of {wanted}"),
            "a redirect is not followed: name in health_check.path what it leads to; where that is https, set \
             health_check.headers: {\"X-Forwarded-Proto\": \"https\"}, or health_check.status: \"200-399\"",
        ),
        Some(Unready::Status(status @ (400 | 403 | 421))) => (
            format!("answered GET {path} on port {port} with {status} instead of {wanted}"),
            "its last lines may say why; an app that answers for some hosts only is asked for one with health_check.host",
        ),
        Some(Unready::Status(status)) => (
            format!("answered GET {path} on port {port} with {status} instead of {wanted}"),
            "its last lines may say why; health_check.path must answer so (health_check.status) once the app is ready",
        ),
        None => (format!("got ready on port {port} too late, not"), SLOW),
    }
}

/// The last lines of a process, errors if it wrote any, else its normal output.
pub(super) async fn last_lines(
    log: &ChildRef<Log>,
    process: &str,
    release: Option<u64>,
    count: usize,
) -> Vec<String> {
    for stream in [Stream::Stderr, Stream::Stdout] {
        let lines = lines_of(log, stream, process, release, count).await;
        if !lines.is_empty() {
            return lines;
        }
    }
    vec![]
}

/// The last lines that a process printed on `stream`.
async fn lines_of(
    log: &ChildRef<Log>,
    stream: Stream,
    process: &str,
    release: Option<u64>,
    count: usize,
) -> Vec<String> {
    let query = Query {
        tail: Some(count),
        process: Some(process.to_owned()),
        release,
        ..Query::all(&[stream])
    };
    let Some(log) = log.get() else {
        return vec![];
    };
    let Ok(Ok(mut chunks)) = log.send(Read(query)).await else {
        return vec![];
    };
    let mut lines = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        if let Chunk::Lines(records) = chunk {
            let texts = records
                .iter()
                .map(|r| String::from_utf8_lossy(&r.text).into_owned());
            lines.extend(texts);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::snapshot::Place;

    #[test]
    fn what_another_machine_has_not_started_in_time_is_told_with_what_to_do() {
        let on_node = Snapshot {
            place: Some(Place {
                node: Some("node2".to_owned()),
                task: "t".to_owned(),
            }),
            ..Snapshot::new("web.1".to_owned(), Phase::Starting)
        };
        let fetches = Snapshot {
            is_fetching: true,
            ..on_node.clone()
        };
        let runs = Snapshot {
            started_at: Some(jiff::Timestamp::UNIX_EPOCH),
            ..on_node.clone()
        };
        for (snapshot, wanted) in [
            (None, "web.1 could not be started within 1m"),
            (
                Some(&fetches),
                "web.1: node2 has not fetched the image in time",
            ),
            (
                Some(&on_node),
                "web.1 could not be started on node2 within 1m",
            ),
            (Some(&runs), "web.1 did not get ready on node2 within 1m"),
        ] {
            let failure = late_elsewhere("web.1", snapshot, "1m");
            assert_eq!(failure.reason, wanted);
            assert!(failure.hint.is_some_and(|hint| !hint.is_empty()));
        }
    }
}
