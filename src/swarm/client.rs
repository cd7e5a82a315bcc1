//! [`Client`]: the calls to an engine that is a manager of the swarm. Each has a deadline, and none is made again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{self, Node, Service, ServiceSpec, Task};
use bollard::query_parameters::{
    ListNodesOptions, ListServicesOptionsBuilder, ListTasksOptionsBuilder, LogsOptionsBuilder,
    UpdateServiceOptionsBuilder,
};
use futures::Stream;
use tokio::sync::OnceCell;

/// What variables and command of a service may have; bytes. Each task has them, and managers put many tasks into one
/// message, which is of a bounded size: with larger ones nothing is scheduled any more, whoever it is of.
const LARGEST: usize = 128 << 10;

/// How long an engine may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error(
        "the engine at {0} cannot be reached: {1}; does it run, and may this server open its socket?"
    )]
    Unreachable(String, String),
    #[error("the engine at {0} did not answer within {1} s")]
    Late(String, u64),
    #[error("the engine at {0} is no manager of a swarm: \"docker swarm init\" makes it one")]
    NoManager(String),
    #[error("there is no such thing: {0}")]
    NotFound(String),
    #[error("it is there already, or was changed meanwhile: {0}")]
    Conflict(String),
    #[error("the engine says: {0}")]
    Refused(String),
    #[error(
        "its variables and its command have {0} bytes, and more than {LARGEST} can stop a whole swarm: keep what is large in \
         a file of the repository or in $STORAGE_DIR instead of `env` or .env"
    )]
    TooLarge(usize),
}

/// What an engine says of a specification that no attempt makes good.
const FOR_GOOD: [&str; 3] = ["InvalidArgument", "message is too large", "larger than max"];

impl EngineError {
    /// Whether the same call would be refused whenever it is made. Most of what an engine refuses, it does for a while:
    /// while its managers choose a leader, or are not in reach.
    #[must_use]
    pub fn is_for_good(&self) -> bool {
        let is_for_good = |why: &str| FOR_GOOD.iter().any(|text| why.contains(text));
        matches!(self, Self::TooLarge(_)) || matches!(self, Self::Refused(why) if is_for_good(why))
    }
}

/// The calls to one engine.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    /// Whether only this machine's node can fetch images.
    is_alone: bool,
    /// Once its version is known.
    docker: OnceCell<Docker>,
}

impl Client {
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            is_alone: false,
            docker: OnceCell::new(),
        }
    }

    /// As it is where images have an address of this machine's loopback: nodes elsewhere would give their passwords to
    /// whoever listens there.
    #[must_use]
    pub fn alone(self, is_alone: bool) -> Self {
        Self { is_alone, ..self }
    }

    /// These `constraints`, and that of this machine where they run on it alone.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn confined(&self, constraints: &[String]) -> Result<Vec<String>, EngineError> {
        let mut all = constraints.to_vec();
        if self.is_alone {
            all.push(format!("node.id=={}", self.about().await?.node));
        }
        Ok(all)
    }

    /// A service with the constraints of [`Self::confined`].
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn confine(&self, mut spec: ServiceSpec) -> Result<ServiceSpec, EngineError> {
        let template = spec.task_template.as_mut();
        if let Some(placement) = template.and_then(|template| template.placement.as_mut()) {
            let constraints = placement.constraints.take().unwrap_or_default();
            placement.constraints = Some(self.confined(&constraints).await?);
        }
        Ok(spec)
    }

    /// The services with this label.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn services(&self, label: &str) -> Result<Vec<Service>, EngineError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListServicesOptionsBuilder::default()
            .filters(&filters)
            .build();
        self.call(async |docker| docker.list_services(Some(options)).await)
            .await
    }

    /// The tasks of services with this label, also of those that were removed and have not ended yet.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn tasks(&self, label: &str) -> Result<Vec<Task>, EngineError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListTasksOptionsBuilder::default().filters(&filters).build();
        self.call(async |docker| docker.list_tasks(Some(options)).await)
            .await
    }

    /// # Errors
    /// [`EngineError`].
    pub async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        self.call(async |docker| docker.list_nodes(None::<ListNodesOptions>).await)
            .await
    }

    /// # Errors
    /// [`EngineError::Conflict`] where there is one of its name, [`EngineError::TooLarge`], and others.
    pub async fn create(
        &self,
        spec: ServiceSpec,
        credentials: Option<DockerCredentials>,
    ) -> Result<(), EngineError> {
        bound(&spec)?;
        self.call(async |docker| docker.create_service(spec, credentials).await)
            .await
            .map(drop)
    }

    /// Gives a service another specification, if it is still at `version`.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn update(
        &self,
        id: &str,
        version: u64,
        spec: ServiceSpec,
        credentials: Option<DockerCredentials>,
    ) -> Result<(), EngineError> {
        let version = i32::try_from(version).unwrap_or(i32::MAX);
        let options = UpdateServiceOptionsBuilder::default()
            .version(version)
            .build();
        self.call(async |docker| docker.update_service(id, spec, options, credentials).await)
            .await
            .map(drop)
    }

    /// Gives a service another number of processes, if it is still at `version`. It keeps its specification: what differs
    /// in one that is made today, the swarm would make all its processes anew for.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn scale(
        &self,
        id: &str,
        version: u64,
        replicas: u64,
        credentials: Option<DockerCredentials>,
    ) -> Result<(), EngineError> {
        let found = self.call(async |docker| docker.inspect_service(id, None).await);
        let mut spec = found.await?.spec.unwrap_or_default();
        let replicated = models::ServiceSpecModeReplicated {
            replicas: i64::try_from(replicas).ok(),
        };
        spec.mode = Some(models::ServiceSpecMode {
            replicated: Some(replicated),
            ..Default::default()
        });
        self.update(id, version, spec, credentials).await
    }

    /// Removes a service; one that is gone is as good.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let removed = self.call(async |docker| docker.delete_service(id).await);
        match removed.await {
            Err(EngineError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    /// What a task prints, each line with its time; with `follows` it ends with the task, else with what there is now.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn logs(
        &self,
        task: &str,
        since: Option<jiff::Timestamp>,
        follows: bool,
    ) -> Result<impl Stream<Item = Result<LogOutput, Error>> + use<>, EngineError> {
        let since = since.map_or(0, |since| i32::try_from(since.as_second()).unwrap_or(0));
        let options = LogsOptionsBuilder::default()
            .follow(follows)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .build();
        let docker = self.docker().await?;
        Ok(docker.task_logs(task, Some(options)))
    }

    async fn docker(&self) -> Result<Docker, EngineError> {
        let connect = async || {
            let seconds = DEADLINE.as_secs();
            let socket = self.socket.to_string_lossy();
            let docker = Docker::connect_with_unix(&socket, seconds, bollard::API_DEFAULT_VERSION)
                .map_err(|e| self.error(e))?;
            docker.negotiate_version().await.map_err(|e| self.error(e))
        };
        self.docker.get_or_try_init(connect).await.cloned()
    }

    pub(super) async fn call<T>(
        &self,
        call: impl AsyncFnOnce(Docker) -> Result<T, Error>,
    ) -> Result<T, EngineError> {
        let called = async { call(self.docker().await?).await.map_err(|e| self.error(e)) };
        let late = || EngineError::Late(self.name(), DEADLINE.as_secs());
        let answered = tokio::time::timeout(DEADLINE, called).await;
        answered.unwrap_or_else(|_| Err(late()))
    }

    fn name(&self) -> String {
        self.socket.display().to_string()
    }

    fn error(&self, error: Error) -> EngineError {
        let (status_code, message) = match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => (status_code, message),
            // The client has the same deadline as [`Self::call`].
            Error::RequestTimeoutError => {
                return EngineError::Late(self.name(), DEADLINE.as_secs());
            }
            error => return EngineError::Unreachable(self.name(), error.to_string()),
        };
        match status_code {
            404 => EngineError::NotFound(message),
            409 => EngineError::Conflict(message),
            // So it says of a version that is not the present one.
            _ if message.contains("out of sequence") => EngineError::Conflict(message),
            503 if message.contains("swarm manager") => EngineError::NoManager(self.name()),
            _ => EngineError::Refused(message),
        }
    }
}

/// Refuses what is larger than [`LARGEST`].
fn bound(spec: &ServiceSpec) -> Result<(), EngineError> {
    let template = spec.task_template.as_ref();
    let container = template.and_then(|template| template.container_spec.as_ref());
    let lists = container.map(|container| [&container.env, &container.command]);
    let texts = lists.into_iter().flatten().flatten().flatten();
    match texts.map(String::len).sum() {
        size if size > LARGEST => Err(EngineError::TooLarge(size)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_no_engine_that_cannot_be_reached() {
        let client = Client::new("/s".into());
        let late = EngineError::Late("/s".to_owned(), DEADLINE.as_secs());
        assert_eq!(client.error(Error::RequestTimeoutError), late);
    }

    #[test]
    fn what_no_attempt_makes_good_is_told_from_what_passes() {
        let refused = |why: &str| EngineError::Refused(why.to_owned()).is_for_good();
        assert!(refused(
            "rpc error: code = Unknown desc = raft: raft message is too large and can't be sent"
        ));
        assert!(refused(
            "rpc error: code = InvalidArgument desc = invalid mount target"
        ));
        assert!(!refused(
            "rpc error: code = Unavailable desc = the swarm does not have a leader"
        ));
        assert!(!EngineError::Late("/s".to_owned(), 10).is_for_good());
        let spec = |env: &[&str]| ServiceSpec {
            task_template: Some(models::TaskSpec {
                container_spec: Some(models::TaskSpecContainerSpec {
                    command: Some(vec!["/bin/sh".to_owned()]),
                    env: Some(env.iter().map(|&text| text.to_owned()).collect()),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let half = "a".repeat(LARGEST / 2);
        assert_eq!(bound(&spec(&[&half, "a"])), Ok(()));
        let refused = bound(&spec(&[&half, &half])).unwrap_err();
        assert_eq!(refused, EngineError::TooLarge(LARGEST + 7));
        assert!(refused.is_for_good());
    }
}
