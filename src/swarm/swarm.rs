//! [`Swarm`]: what this server has of a swarm: its calls, and what it observes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::task::spawn_blocking;

use super::client::{Client, EngineError};
use super::image::blobs::make_directory;
use super::job::notes::JobNotes;
use super::known::Known;
use super::listing::{Job, Service};
use super::meter::Meters;
use super::observer::Observer;
use super::printed::Notes;
use super::seen::SeenTask;
use super::settings::{SwarmSettings, VolumeDriver};
use super::volume_notes::VolumeNotes;
use crate::durable;

/// How long a removal is tried.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long is waited after a call that failed.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at tasks that end.
const GLANCE: Duration = Duration::from_millis(500);

/// What this server has of a swarm.
#[derive(Debug)]
pub struct Swarm {
    pub client: Arc<Client>,
    pub observer: Observer,
    /// Up to when it is known what tasks have printed.
    pub printed: Notes,
    /// What tasks used last.
    pub meters: Meters,
    /// What was known of each service last.
    pub known: Known,
    /// Which jobs there are.
    pub jobs: JobNotes,
    /// Which applications may have volumes.
    pub volume_notes: VolumeNotes,
    /// By which its services are told from those of another server in the same swarm.
    pub server: String,
    /// With what the runs of this server's chores begin: another one's are left.
    pub(super) chores_prefix: String,
    /// Which nodes processes may run on.
    pub constraints: Vec<String>,
    /// Who makes volumes, if not each node itself.
    pub volumes: Option<VolumeDriver>,
}

impl Swarm {
    /// Reads, or makes, the name of this server in the swarm. Blocks; asks no engine.
    ///
    /// # Errors
    /// Where the name cannot be kept.
    pub fn open(settings: &SwarmSettings, data_dir: &Path) -> io::Result<Self> {
        let client = Client::new(settings.socket.clone());
        let client = Arc::new(client.alone(settings.images.is_on_loopback()));
        let directory = data_dir.join("swarm");
        let server = server(&directory)?;
        Ok(Self {
            observer: Observer::new(Arc::clone(&client), &server),
            printed: Notes::open(directory.join("printed"))?,
            meters: Meters::default(),
            known: Known::open(directory.join("known"))?,
            jobs: JobNotes::open(directory.join("jobs"))?,
            volume_notes: VolumeNotes::open(directory.join("volumes"))?,
            client,
            chores_prefix: format!("{}.", random_name()?),
            server,
            constraints: settings.constraints.clone(),
            volumes: settings.volumes.clone(),
        })
    }

    /// Removes a service and waits until its tasks have ended; tries again for a while where the engine does not answer.
    pub async fn end(&self, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut id = None;
        while Instant::now() < deadline {
            match self.end_once(name, &mut id).await {
                Ok(true) => {
                    let (known, of) = (self.known.clone(), name.to_owned());
                    let _forgotten = spawn_blocking(move || known.forget(&of)).await;
                    return self.forget_job(name).await;
                }
                Ok(false) => tokio::time::sleep(GLANCE).await,
                Err(error) => {
                    log::warn!("swarm: service {name} is not removed yet: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        log::error!("swarm: service {name} is left: \"docker service rm {name}\" removes it");
    }

    /// Whether nothing of a service runs any more; removes it. Of a job no task is waited for.
    async fn end_once(&self, name: &str, id: &mut Option<String>) -> Result<bool, EngineError> {
        let seen = self.observer.fresh().await?.of(name, id.as_deref());
        *id = seen.service.map(|service| service.id).or(id.take());
        self.client.remove(name).await?;
        Ok(!seen.tasks.iter().any(SeenTask::may_run))
    }

    /// Removes a service whenever it is there, for a while: the engine did not say whether it makes it.
    pub async fn remove_late(&self, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // There is mostly nothing to remove, and the next round tries again.
            let _gone = self.client.remove(name).await;
            tokio::time::sleep(PAUSE).await;
        }
        self.forget_job(name).await;
    }

    async fn forget_job(&self, name: &str) {
        let (jobs, name) = (self.jobs.clone(), name.to_owned());
        let _forgotten = spawn_blocking(move || jobs.forget(&name)).await;
    }

    /// Ends jobs of an app by their processes, and waits until nothing of them runs, also of those that were removed.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn end_jobs(
        &self,
        app: &str,
        is_one: impl Fn(&str) -> bool,
    ) -> Result<(), EngineError> {
        let listing = self.observer.fresh().await?;
        for job in listing.jobs_of(app).filter(|job| is_one(&job.process)) {
            self.client.remove(&job.service).await?;
        }
        let mut observed = self.observer.follow();
        let since = self.observer.look();
        loop {
            let latest = observed.borrow_and_update().clone();
            if let Some(Ok(listing)) = latest.listing.filter(|_| latest.number >= since)
                && !listing.has_at_work(app, &is_one)
            {
                return Ok(());
            }
            // The observer lives as long as this does.
            let _changed = observed.changed().await;
        }
    }

    /// The services and jobs of an app that there are now.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn left_of(&self, app: &str) -> Result<(Vec<Service>, Vec<Job>), EngineError> {
        let listing = self.observer.fresh().await?;
        let services = listing.of_app(app).cloned().collect();
        Ok((services, listing.jobs_of(app).cloned().collect()))
    }
}

/// The name of this server, made once.
fn server(directory: &Path) -> io::Result<String> {
    let file = directory.join("server");
    match std::fs::read_to_string(&file) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    make_directory(directory)?;
    let name = random_name()?;
    durable::replace(&file, name.as_bytes(), 0o600)?;
    Ok(name)
}

fn random_name() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
