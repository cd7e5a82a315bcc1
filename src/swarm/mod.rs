//! The second engine: a Docker Swarm runs the processes of an application.
//!
//! [`service::Service`] stands where the Process actors do: it owns one service of the swarm, which is all processes of
//! one type of a batch; [`job`] has what runs once. `life` (pure) tells it what is next; `observer` lists the swarm for all
//! of them. What an engine is told of a service is in [`spec`], what is read of its listings in `listing`. [`image`] makes
//! what its machines run.
//! What no manager knows, containers tell among what they print ([`meter`]); what no manager does, a global service
//! does on each machine ([`chore`]).

pub mod about;
pub mod chore;
mod client;
pub mod constraint;
pub mod image;
pub mod job;
pub mod known;
mod labels;
mod leftovers;
mod life;
mod listing;
mod logs;
pub mod meter;
mod observer;
mod printed;
mod seen;
pub mod service;
pub mod settings;
pub mod spec;
#[allow(clippy::module_inception)]
pub mod swarm;
mod sweep;
pub mod volume_notes;

pub use client::{Client, EngineError};
