//! The second engine: real engines of Debian's docker.io as one swarm.

mod echo;
pub(crate) mod engines;
mod failures;
mod faults;
mod fixture;
mod images;
mod jobs;
pub(crate) mod kept_base;
mod life;
