//! [`Outlived`]: what outlived the server before, whichever engine runs it.

use super::super::context::AppContext;
use super::unit::Left;
use crate::app::lifecycle::BatchId;
use crate::process::identity::Identity;
use crate::swarm::EngineError;

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

/// The units of an app that other engines than this server run, and why that is only what was known last, if it is. An
/// app that is not there, and was not, is not looked for.
pub async fn elsewhere(
    app: String,
    is_there: bool,
    context: &AppContext,
) -> (Vec<Outlived>, Option<EngineError>) {
    let Some(swarm) = &context.swarm else {
        return (vec![], None);
    };
    let outlived = |batch, release, unit, name| Outlived {
        batch,
        release,
        unit,
        is_present: true,
        left: Left::Service(swarm.clone(), name),
    };
    let (records, name) = (swarm.known.clone(), app.clone());
    let known = actix_rt::task::spawn_blocking(move || records.of_app(&name)).await;
    let known = known.unwrap_or_default();
    if !is_there && known.is_empty() {
        return (vec![], None);
    }
    let error = match swarm.services_of(&app).await {
        Ok(services) => {
            let services = services.into_iter();
            let found = services.map(|s| outlived(s.batch, s.release, s.process_type, s.name));
            return (found.collect(), None);
        }
        Err(error) => error,
    };
    let found = known
        .into_iter()
        .map(|r| outlived(r.batch, r.release, r.process_type, r.name));
    (found.collect(), Some(error))
}
