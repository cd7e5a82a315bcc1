//! What runs once on a swarm: a command of a person's, a run of a job, the release phase. Each is a service of its own,
//! with one task that is never run a second time.
//!
//! `life` (pure) says what is next; [`run`] carries that out until the end is known. [`actor::Job`] does it for an App,
//! and the release phase awaits it. Labels are the identity record, with [`notes`] for the time that no manager answers.

pub mod actor;
mod life;
pub mod notes;
pub mod output;
pub mod run;
pub mod spec;
