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
    Failure::new(
        Step::Start,
        "the server could not make the release; its own log says why",
    )
}

fn exited(batch: Option<&Batch>, id: &str) -> Failure {
    let exit = batch
        .and_then(|b| b.snapshot(id))
        .and_then(|s| s.last_exit.clone());
    let Some(exit) = exit else {
        return Failure::new(Step::Start, format!("{id} ended before it was ready"));
    };
    let why = exit
        .reason
        .as_ref()
        .map(|r| format!(": {r}"))
        .unwrap_or_default();
    let reason = format!("{id} ended with {} before it was ready{why}", exit.status);
    let hint = match exit.status {
        ExitStatus::Code(127) => {
            "the command was not found: is its package in `packages`, is it made by `install`?"
        }
        ExitStatus::Code(126) => "the command is not executable: chmod +x it and commit that",
        ExitStatus::Code(0) => {
            "a process must keep running: it is restarted whenever it ends, also with 0"
        }
        _ => "its last lines say why; all it printed is in the log: procserver logs NAME --stderr",
    };
    Failure::new(Step::Start, reason)
        .status(exit.status)
        .hint(hint)
}

fn not_ready(batch: Option<&Batch>, ids: &[String]) -> Failure {
    let Some((batch, id)) = batch.zip(ids.first()) else {
        return Failure::new(Step::Start, "the processes were not ready in time");
    };
    let check = &batch.runnable.config.health_check;
    let within = humantime::format_duration(check.boot_timeout);
    let snapshot = batch.snapshot(id);
    let reason = match (snapshot.and_then(|s| s.port), &check.path) {
        (Some(port), Some(path)) => {
            format!("{id} did not answer GET {path} on port {port} with 2xx within {within}")
        }
        (Some(port), None) => format!("{id} did not listen on port {port} within {within}"),
        (None, _) => format!("{id} could not be started within {within}"),
    };
    let hint = snapshot.and_then(|s| s.warning.clone()).unwrap_or_else(|| {
        "listen on the port given in $PORT; a slow start needs a larger health_check.boot_timeout".to_owned()
    });
    Failure::new(Step::Start, reason).hint(hint)
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
