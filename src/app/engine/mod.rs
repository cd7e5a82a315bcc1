//! [`Engine`]: what runs the processes of a batch. This folder alone asks which one it is.
//!
//! An engine runs processes in *units*: what one actor runs, and what is started and ended as one. Every unit tells of
//! each of its processes by [`ProcessChanged`](crate::process::worker::ProcessChanged). What a unit leaves running when
//! its actor ends before its time, or with the server, is a [`unit::Left`]: the next actor takes it over, or it is ended.

pub mod unit;

use crate::document::formation::Slot;

/// What runs the processes of a batch.
#[derive(Clone, Debug, Default)]
pub enum Engine {
    /// This server itself: a unit is one process.
    #[default]
    Local,
}

impl Engine {
    /// The unit that a process belongs to.
    #[must_use]
    pub fn unit<'s>(&self, slot: &'s Slot) -> &'s str {
        match self {
            Self::Local => &slot.id,
        }
    }
}
