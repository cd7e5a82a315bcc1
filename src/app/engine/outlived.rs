//! [`Outlived`]: what outlived the server before, whichever engine runs it.

use super::super::context::AppContext;
use super::one_off::OutlivedOneOff;
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

/// What other engines than this server run of an app.
#[derive(Debug, Default)]
pub struct Elsewhere {
    pub units: Vec<Outlived>,
    pub one_offs: Vec<OutlivedOneOff>,
    /// Why that is only what was known last, if it is.
    pub error: Option<EngineError>,
}

/// What other engines than this server run of an app. One that is not there, and was not, is not looked for.
pub async fn elsewhere(app: String, is_there: bool, context: &AppContext) -> Elsewhere {
    let Some(swarm) = &context.swarm else {
        return Elsewhere::default();
    };
    let (records, notes, name) = (swarm.known.clone(), swarm.jobs.clone(), app.clone());
    let read = move || (records.of_app(&name), notes.of_app(&name));
    let known = actix_rt::task::spawn_blocking(read).await;
    let (known, noted) = known.unwrap_or_default();
    if !is_there && known.is_empty() && noted.is_empty() {
        return Elsewhere::default();
    }
    let one_off = |number, id, name| OutlivedOneOff {
        number,
        id,
        is_present: true,
        left: Left::Service(swarm.clone(), name),
    };
    let outlived = |batch, release, unit, name| Outlived {
        batch,
        release,
        unit,
        is_present: true,
        left: Left::Service(swarm.clone(), name),
    };
    let mut found = Elsewhere::default();
    match swarm.left_of(&app).await {
        Ok((services, jobs)) => {
            for note in noted {
                // The call of the server before to make it may be under way still.
                if jobs.iter().all(|job| job.name != note.name) {
                    let swarm = swarm.clone();
                    actix_rt::spawn(async move { swarm.remove_late(&note.name).await });
                }
            }
            let units = services.into_iter();
            let units = units.map(|s| outlived(s.batch, s.release, s.process_type, s.name));
            found.units.extend(units);
            let one_offs = jobs.into_iter();
            let one_offs = one_offs.map(|job| one_off(job.number, job.process, job.name));
            found.one_offs.extend(one_offs);
        }
        Err(error) => {
            let units = known.into_iter();
            let units = units.map(|r| outlived(r.batch, r.release, r.process_type, r.name));
            found.units.extend(units);
            let one_offs = noted.into_iter();
            let one_offs = one_offs.map(|note| one_off(note.number, note.process, note.name));
            found.one_offs.extend(one_offs);
            found.error = Some(error);
        }
    }
    found
}
