//! [`Outlived`]: what outlived the server before, whichever engine runs it.

use super::super::context::AppContext;
use super::unit::Left;
use crate::app::lifecycle::BatchId;
use crate::process::identity::Identity;
use crate::swarm::{EngineError, ServiceRecord};

/// A unit that outlived the server before.
#[derive(Clone, Debug)]
pub struct Outlived {
    pub batch: BatchId,
    pub release: u64,
    pub unit: String,
    /// Whether it may go on: it runs as the user that the app has now.
    pub is_present: bool,
    pub left: Left,
}

impl Outlived {
    /// A process of this machine.
    #[must_use]
    pub fn process(survivor: Identity, is_present: bool) -> Self {
        Self {
            batch: survivor.batch,
            release: survivor.release,
            unit: survivor.id.clone(),
            is_present,
            left: Left::Process(Box::new(survivor)),
        }
    }
}

/// The units of an app that other engines than this server run.
///
/// # Errors
/// Where an engine cannot be asked.
pub async fn elsewhere(app: &str, context: &AppContext) -> Result<Vec<Outlived>, EngineError> {
    let Some(swarm) = &context.swarm else {
        return Ok(vec![]);
    };
    let of_service = |service: ServiceRecord| Outlived {
        batch: service.batch,
        release: service.release,
        unit: service.process_type,
        is_present: true,
        left: Left::Service(swarm.clone(), service.name),
    };
    let services = swarm.services_of(app).await?;
    Ok(services.into_iter().map(of_service).collect())
}
