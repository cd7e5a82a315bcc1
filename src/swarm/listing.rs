//! [`Listing`]: services, tasks and machines of a swarm, as an engine lists them (pure).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use bollard::models;
use sha2::{Digest, Sha256};

use super::labels;
use super::seen::{Head, Seen, SeenTask, TaskState};
use crate::exit_status::ExitStatus;

/// What was listed at one time.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    services: Vec<Service>,
    jobs: Vec<Job>,
    tasks: Vec<(String, SeenTask)>,
    /// Application and process (`release.1`) of each task of a job that may run, also where its service is gone.
    at_work: Vec<(String, String)>,
}

/// A service of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub app: String,
    pub release: u64,
    pub batch: u64,
    pub process_type: String,
    pub head: Head,
}

/// What runs once, of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub name: String,
    pub app: String,
    pub number: u64,
    /// `run.3`.
    pub process: String,
    pub service: String,
}

impl Listing {
    #[must_use]
    pub fn new(
        services: Vec<models::Service>,
        tasks: Vec<models::Task>,
        nodes: &[models::Node],
    ) -> Self {
        let nodes: HashMap<&str, &models::Node> = nodes
            .iter()
            .filter_map(|node| Some((node.id.as_deref()?, node)))
            .collect();
        let mut found = Self {
            jobs: services.iter().filter_map(job).collect(),
            services: services.into_iter().filter_map(service).collect(),
            ..Self::default()
        };
        for task in tasks {
            let job = job_of(&task);
            let Some((service, seen)) = seen_task(task, &nodes) else {
                continue;
            };
            found.at_work.extend(job.filter(|_| seen.may_run()));
            found.tasks.push((service, seen));
        }
        found
    }

    /// What is there of a service by its name, or, once it is removed, by the id that it had.
    #[must_use]
    pub fn of(&self, name: &str, id: Option<&str>) -> Seen {
        let service = self.services.iter().find(|service| service.name == name);
        let head = service.map(|service| service.head.clone());
        let id = head.as_ref().map(|head| head.id.as_str()).or(id);
        let tasks = self.tasks.iter().filter(|(of, _)| Some(of.as_str()) == id);
        Seen {
            tasks: tasks.map(|(_, task)| task.clone()).collect(),
            service: head,
        }
    }

    /// The service of a job, if there is one, and its tasks, which outlive it: it had the id `known`.
    #[must_use]
    pub fn of_job(&self, name: &str, known: Option<&str>) -> (Option<&str>, Vec<&SeenTask>) {
        let job = self.jobs.iter().find(|job| job.name == name);
        let service = job.map(|job| job.service.as_str());
        let id = service.or(known);
        let tasks = self.tasks.iter().filter(|(of, _)| Some(of.as_str()) == id);
        (service, tasks.map(|(_, task)| task).collect())
    }

    /// The jobs of an app.
    pub fn jobs_of<'l>(&'l self, app: &'l str) -> impl Iterator<Item = &'l Job> {
        self.jobs.iter().filter(move |job| job.app == app)
    }

    /// Whether such a process of a job may run, also one whose service was removed.
    #[must_use]
    pub fn has_at_work(&self, app: &str, is_one: impl Fn(&str) -> bool) -> bool {
        let mut all = self.at_work.iter();
        all.any(|(of, process)| of == app && is_one(process))
    }

    /// The services of an app.
    pub fn of_app(&self, app: &str) -> impl Iterator<Item = &Service> {
        self.services
            .iter()
            .filter(move |service| service.app == app)
    }

    /// Whether something is on its way: the next listing will differ.
    #[must_use]
    pub fn is_in_motion(&self) -> bool {
        let mut tasks = self.tasks.iter().map(|(_, task)| task);
        tasks.any(|task| {
            let ends = !task.is_wanted && task.may_run();
            ends || task.is_wanted && task.state == TaskState::Waiting
        })
    }
}

fn service(service: models::Service) -> Option<Service> {
    let spec = service.spec?;
    let template = template(&spec);
    let labels = spec.labels.unwrap_or_default();
    let number = |label: &str| labels.get(label)?.parse().ok();
    let replicas = spec.mode.and_then(|mode| mode.replicated?.replicas);
    let version = service.version.and_then(|version| version.index);
    Some(Service {
        name: spec.name?,
        app: labels.get(labels::APP)?.clone(),
        release: number(labels::RELEASE)?,
        batch: number(labels::BATCH)?,
        process_type: labels.get(labels::TYPE)?.clone(),
        head: Head {
            id: service.id?,
            version: version?,
            replicas: replicas.and_then(|n| u64::try_from(n).ok()).unwrap_or(1),
            template,
        },
    })
}

/// A digest of what tasks are made of. Who has them all made anew changes a counter in it, and nothing that they are.
fn template(spec: &models::ServiceSpec) -> Option<[u8; 32]> {
    let of_tasks = models::TaskSpec {
        force_update: None,
        ..spec.task_template.clone()?
    };
    // As values, whose fields have an order.
    let text = serde_json::to_value((of_tasks, &spec.endpoint_spec)).ok()?;
    Some(Sha256::digest(text.to_string()).into())
}

fn job(service: &models::Service) -> Option<Job> {
    let spec = service.spec.as_ref()?;
    let labels = spec.labels.as_ref()?;
    Some(Job {
        name: spec.name.clone()?,
        app: labels.get(labels::APP)?.clone(),
        number: labels.get(labels::JOB)?.parse().ok()?,
        process: labels.get(labels::PROCESS)?.clone(),
        service: service.id.clone()?,
    })
}

/// The application and the process of a job's task, by the labels of its container.
fn job_of(task: &models::Task) -> Option<(String, String)> {
    let container = task.spec.as_ref()?.container_spec.as_ref()?;
    let labels = container.labels.as_ref()?;
    let label = |name: &str| labels.get(name).cloned();
    Some((label(labels::APP)?, label(labels::PROCESS)?))
}

fn seen_task(
    task: models::Task,
    nodes: &HashMap<&str, &models::Node>,
) -> Option<(String, SeenTask)> {
    let status = task.status?;
    let node = task.node_id.as_deref().and_then(|id| nodes.get(id));
    let time = |text: Option<String>| text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let exit = status
        .container_status
        .as_ref()
        .and_then(|container| container.exit_code);
    let told = status.state?;
    let state = state(told, exit);
    let port = status
        .port_status
        .and_then(|ports| {
            ports
                .ports?
                .into_iter()
                .find_map(|port| port.published_port)
        })
        .and_then(|port| u16::try_from(port).ok());
    let address = node.and_then(|node| address_of(node)).zip(port);
    let wanted = task.desired_state?;
    let is_wanted = matches!(
        wanted,
        models::TaskState::RUNNING | models::TaskState::READY
    );
    let hostname = node.and_then(|node| node.description.as_ref()?.hostname.clone());
    Some((
        task.service_id?,
        SeenTask {
            id: task.id?,
            slot: u64::try_from(task.slot?).ok()?,
            created: time(task.created_at).unwrap_or_default(),
            state,
            is_wanted,
            message: status
                .err
                .filter(|text| !text.is_empty())
                .map(|text| explained(text, hostname.as_deref())),
            at: time(status.timestamp).unwrap_or_default(),
            address: address
                .map(SocketAddr::from)
                .filter(|_| state == TaskState::Running),
            node: hostname,
            is_out_of_reach: node.is_some_and(|node| {
                let state = node.status.as_ref().and_then(|status| status.state);
                state.is_some_and(|state| state != models::NodeState::READY)
            }),
            is_dismissed: is_dismissed(told, is_wanted),
            is_fetching: told == models::TaskState::PREPARING,
        },
    ))
}

/// Whether the swarm has a task end that would have run on. Of one that ends by itself, a swarm says only afterwards
/// that it is not wanted any more.
fn is_dismissed(state: models::TaskState, is_wanted: bool) -> bool {
    use models::TaskState::{COMPLETE, FAILED, ORPHANED, REJECTED, REMOVE, SHUTDOWN};
    match state {
        SHUTDOWN | REMOVE | ORPHANED => true,
        COMPLETE | FAILED | REJECTED => false,
        _ => !is_wanted,
    }
}

/// What an engine says of a task that it does not run. Why it could not fetch an image is only in its own log.
fn explained(text: String, node: Option<&str>) -> String {
    match (text.starts_with("No such image"), node) {
        (true, Some(node)) => format!(
            "{text}: {node} could not fetch it; the log of its engine says why (journalctl -u docker)"
        ),
        _ => text,
    }
}

fn state(state: models::TaskState, exit: Option<i64>) -> TaskState {
    use models::TaskState as Theirs;
    let code = exit.and_then(|code| i32::try_from(code).ok());
    match state {
        Theirs::RUNNING => TaskState::Running,
        Theirs::COMPLETE => TaskState::Ended(ExitStatus::Code(code.unwrap_or(0))),
        // One that never ran has no code, or 0.
        Theirs::FAILED | Theirs::SHUTDOWN | Theirs::REMOVE => {
            let status = code.filter(|code| *code != 0).map(status_of);
            TaskState::Ended(status.unwrap_or(ExitStatus::Unknown))
        }
        Theirs::ORPHANED => TaskState::Ended(ExitStatus::Unknown),
        Theirs::REJECTED => TaskState::Rejected,
        _ => TaskState::Waiting,
    }
}

/// A shell, and the engine, tell of a signal by a code.
fn status_of(code: i32) -> ExitStatus {
    match code {
        129..=192 => ExitStatus::Signal(code - 128),
        _ => ExitStatus::Code(code),
    }
}

/// Where a machine is reached. A manager may say of itself that it listens everywhere.
fn address_of(node: &models::Node) -> Option<IpAddr> {
    let own = node
        .status
        .as_ref()
        .and_then(|status| status.addr.as_deref());
    let own = own.and_then(|text| text.parse::<IpAddr>().ok());
    let own = own.filter(|address| !address.is_unspecified());
    own.or_else(|| {
        let manager = node.manager_status.as_ref()?.addr.as_deref()?;
        Some(manager.parse::<SocketAddr>().ok()?.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_known_by_its_container_once_its_service_is_gone() {
        let labels = [(labels::APP, "shop"), (labels::PROCESS, "release.1")];
        let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned()));
        let task = |state| models::Task {
            id: Some("t".to_owned()),
            service_id: Some("s".to_owned()),
            slot: Some(1),
            desired_state: Some(models::TaskState::REMOVE),
            spec: Some(models::TaskSpec {
                container_spec: Some(models::TaskSpecContainerSpec {
                    labels: Some(labels.clone().into()),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            status: Some(models::TaskStatus {
                state: Some(state),
                ..Default::default()
            }),
            ..Default::default()
        };
        let ends = Listing::new(vec![], vec![task(models::TaskState::RUNNING)], &[]);
        let is_phase = |process: &str| process == "release.1";
        assert!(ends.has_at_work("shop", is_phase));
        assert!(!ends.has_at_work("blog", is_phase));
        assert!(!ends.has_at_work("shop", |process| process == "run.1"));
        let over = Listing::new(vec![], vec![task(models::TaskState::SHUTDOWN)], &[]);
        assert!(!over.has_at_work("shop", is_phase));
    }

    #[test]
    fn a_task_that_the_swarm_ends_is_told_from_one_that_ends_by_itself() {
        use models::TaskState::{COMPLETE, FAILED, ORPHANED, RUNNING, SHUTDOWN};
        let by_itself = [(RUNNING, true), (FAILED, false), (COMPLETE, false)];
        assert!(
            !by_itself
                .iter()
                .any(|(s, wanted)| is_dismissed(*s, *wanted))
        );
        let by_swarm = [(RUNNING, false), (SHUTDOWN, false), (ORPHANED, false)];
        assert!(by_swarm.iter().all(|(s, wanted)| is_dismissed(*s, *wanted)));
    }

    #[test]
    fn an_image_that_is_not_there_could_not_be_fetched() {
        let told = explained("No such image: shop@sha256:00".to_owned(), Some("node2"));
        assert!(told.starts_with("No such image: shop@sha256:00: node2 could not"));
        let other = "no suitable node";
        assert_eq!(explained(other.to_owned(), Some("node2")), other);
    }
}
