//! [`Swarm`]: what this server has of a swarm: its calls, and what it observes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::task::spawn_blocking;

use super::client::{Client, EngineError};
use super::image::blobs::make_directory;
use super::known::Known;
use super::listing::Service;
use super::meter::Meters;
use super::observer::Observer;
use super::printed::Notes;
use super::settings::{SwarmSettings, VolumeDriver};
use crate::durable;

/// How often a removal is tried, and how long is waited in between.
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_secs(10);

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
    /// By which its services are told from those of another server in the same swarm.
    pub server: String,
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
        let client = Arc::new(Client::new(settings.socket.clone()));
        let directory = data_dir.join("swarm");
        let server = server(&directory)?;
        Ok(Self {
            observer: Observer::new(Arc::clone(&client), &server),
            printed: Notes::open(directory.join("printed"))?,
            meters: Meters::default(),
            known: Known::open(directory.join("known"))?,
            client,
            server,
            constraints: settings.constraints.clone(),
            volumes: settings.volumes.clone(),
        })
    }

    /// Removes a service, and tries again for a while where the engine does not answer.
    pub async fn end(&self, name: &str) {
        for _ in 0..ATTEMPTS {
            match self.client.remove(name).await {
                Ok(()) => {
                    let (known, name) = (self.known.clone(), name.to_owned());
                    let _forgotten = spawn_blocking(move || known.forget(&name)).await;
                    return;
                }
                Err(error) => log::warn!("swarm: service {name} is not removed yet: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        log::error!("swarm: service {name} is left: \"docker service rm {name}\" removes it");
    }

    /// The services of an app that there are now.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn services_of(&self, app: &str) -> Result<Vec<Service>, EngineError> {
        let listing = self.observer.fresh().await?;
        Ok(listing.of_app(app).cloned().collect())
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
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    durable::replace(&file, name.as_bytes(), 0o600)?;
    Ok(name)
}
