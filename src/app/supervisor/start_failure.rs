//! Why a batch did not get ready, in words a person can act on.

use std::future::Future;

use crate::app::batch::Batch;
use crate::app::lifecycle::{BatchId, Cause};
use crate::install::record::{Failure, Step};
use crate::logs::log::{Chunk, Log, Query, Read};
use crate::logs::record::Stream;
use crate::process::exit::ExitStatus;
use crate::supervision::ChildRef;

use super::App;

/// How many of a process' last lines a failure shows.
const TAIL: usize = 20;

impl App {
    /// The failure of an operation: `known` when the build failed, else what the batch's processes did.
    pub(super) fn describe_failure(
        &self,
        known: Option<Failure>,
        cause: Cause,
        batch: Option<BatchId>,
    ) -> impl Future<Output = Failure> + 'static {
        let batch = batch.and_then(|id| self.batches.get(&id));
        let (mut failure, process) = match cause {
            Cause::Build => (known.unwrap_or_else(unexplained), None),
            Cause::Exited(id) => (exited(batch, &id), Some(id)),
            Cause::NotReady(ids) => (not_ready(batch, &ids), ids.into_iter().next()),
        };
        let release = batch.map(|b| b.runnable.id());
        let log = self.log.clone();
        async move {
            if let Some(process) = process {
                failure.log_tail = last_lines(&log, &process, release, TAIL).await;
            }
            failure
        }
    }
}

fn unexplained() -> Failure {
    start_failure("the server could not make the release; its own log says why".to_owned())
}

fn start_failure(reason: String) -> Failure {
    Failure {
        step: Step::Start,
        reason,
        exit_code: None,
        signal: None,
        log_tail: vec![],
        hint: None,
    }
}

fn exited(batch: Option<&Batch>, id: &str) -> Failure {
    let exit = batch
        .and_then(|b| b.snapshot(id))
        .and_then(|s| s.last_exit.clone());
    let Some(exit) = exit else {
        return start_failure(format!("{id} ended before it was ready"));
    };
    let why = exit
        .reason
        .as_ref()
        .map(|r| format!(": {r}"))
        .unwrap_or_default();
    let mut failure = start_failure(format!(
        "{id} ended with {} before it was ready{why}",
        exit.status
    ));
    match exit.status {
        ExitStatus::Code(code) => failure.exit_code = Some(code),
        ExitStatus::Signal(signal) => failure.signal = Some(signal),
        ExitStatus::Unknown => {}
    }
    failure.hint = match exit.status {
        ExitStatus::Code(127) => Some(
            "the command was not found: is its package in `packages`, is it made by `install`?",
        ),
        ExitStatus::Code(126) => Some("the command is not executable: chmod +x it and commit that"),
        _ => None,
    }
    .map(str::to_owned);
    failure
}

fn not_ready(batch: Option<&Batch>, ids: &[String]) -> Failure {
    let Some((batch, id)) = batch.zip(ids.first()) else {
        return start_failure("the processes were not ready in time".to_owned());
    };
    let check = &batch.runnable.config.health_check;
    let within = humantime::format_duration(check.boot_timeout);
    let snapshot = batch.snapshot(id);
    let port = snapshot.and_then(|s| s.port);
    let mut failure = start_failure(match (port, &check.path) {
        (Some(port), Some(path)) => {
            format!("{id} did not answer GET {path} on port {port} with 2xx within {within}")
        }
        (Some(port), None) => format!("{id} did not listen on port {port} within {within}"),
        (None, _) => format!("{id} could not be started within {within}"),
    });
    failure.hint = match snapshot.and_then(|s| s.warning.clone()) {
        Some(warning) => Some(warning),
        None => port.map(|_| {
            "listen on the port given in $PORT; a slow start needs a larger health_check.boot_timeout".to_owned()
        }),
    };
    failure
}

/// The last lines of a process, errors if it wrote any, else its normal output.
pub(super) async fn last_lines(
    log: &ChildRef<Log>,
    process: &str,
    release: Option<u64>,
    count: usize,
) -> Vec<String> {
    for stream in [Stream::Stderr, Stream::Stdout] {
        let query = Query {
            stream,
            tail: Some(count),
            process: Some(process.to_owned()),
            release,
            since: None,
            after: None,
            follow: false,
        };
        let Some(log) = log.get() else { break };
        let Ok(Ok(mut chunks)) = log.send(Read(query)).await else {
            break;
        };
        let mut lines = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            if let Chunk::Lines(records) = chunk {
                lines.extend(
                    records
                        .iter()
                        .map(|r| String::from_utf8_lossy(&r.text).into_owned()),
                );
            }
        }
        if !lines.is_empty() {
            return lines;
        }
    }
    vec![]
}
