//! [`Engine`]: what runs the processes of a batch. This folder alone asks which one it is.
//!
//! An engine runs processes in *units*: what one actor runs, and what is started and ended as one. Every unit tells of
//! each of its processes by [`ProcessChanged`](crate::process::worker::ProcessChanged). What a unit leaves running when
//! its actor ends before its time, or with the server, is a [`unit::Left`]: the next actor takes it over, or it is ended.
//! What runs once is in [`one_off`]. Before a release is started it is made ready for its engine ([`preparation`]), and
//! its [`release_phase`] is run there, if not by the installer. What a release leaves on other machines goes with it
//! ([`elsewhere`]).

pub mod elsewhere;
pub mod one_off;
pub mod outlived;
pub mod preparation;
pub mod release_phase;
pub mod unit;

use std::sync::Arc;

use super::context::AppContext;
use crate::document::engine::EngineKind;
use crate::document::formation::Slot;
use crate::swarm::image::Images;
use crate::swarm::swarm::Swarm;

/// What runs the processes of a batch.
#[derive(Clone, Debug)]
pub enum Engine {
    /// This server itself: a unit is one process.
    Local,
    /// A Docker Swarm: a unit is all processes of a type. Its machines get an image of the release.
    Swarm(Arc<Swarm>, Images),
}

impl Engine {
    /// The engine of a document; `None`: this server has none of that kind.
    #[must_use]
    pub fn of(kind: EngineKind, context: &AppContext) -> Option<Self> {
        match kind {
            EngineKind::Local => Some(Self::Local),
            EngineKind::Swarm => Some(Self::Swarm(context.swarm.clone()?, context.images.clone()?)),
        }
    }

    /// The unit that a process belongs to.
    #[must_use]
    pub fn unit<'s>(&self, slot: &'s Slot) -> &'s str {
        match self {
            Self::Local => &slot.id,
            Self::Swarm(..) => &slot.process_type,
        }
    }

    /// Whether it can end a process of our choice. A swarm chooses itself which of a service ends, so requests on it
    /// could not be drained before: fewer processes are a batch of its own there.
    #[must_use]
    pub fn chooses_who_ends(&self) -> bool {
        matches!(self, Self::Local)
    }

    /// Whether each process takes a port of this machine.
    #[must_use]
    pub fn takes_ports(&self) -> bool {
        matches!(self, Self::Local)
    }
}
