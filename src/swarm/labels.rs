//! The labels by which services are known again (pure).

/// The server that a service is of: one swarm may have several.
pub(super) const SERVER: &str = "procserver.server";
pub(super) const APP: &str = "procserver.app";
pub(super) const RELEASE: &str = "procserver.release";
pub(super) const BATCH: &str = "procserver.batch";
pub(super) const TYPE: &str = "procserver.type";
/// One attempt at a [`super::chore::Chore`], whose tasks are no processes of an app.
pub(super) const CHORE: &str = "procserver.chore";
/// The number of what runs once; a service that has it is a job, and has no [`BATCH`].
pub(super) const JOB: &str = "procserver.job";
/// The id of what runs once: `run.3`.
pub(super) const PROCESS: &str = "procserver.process";
