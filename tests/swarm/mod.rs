//! The second engine: real engines of Debian's docker.io as one swarm.

pub(crate) mod engines;
mod fixture;
mod images;
pub(crate) mod kept_base;
mod life;
