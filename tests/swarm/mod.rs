//! The second engine: real engines of Debian's docker.io as one swarm.

mod base_image;
mod cut_off;
mod demo;
mod doctor;
mod echo;
pub(crate) mod engines;
mod failures;
mod faults;
mod fixture;
mod images;
mod jobs;
pub(crate) mod kept_base;
mod kernel;
mod life;
mod load;
mod measured;
mod own_authority;
mod shared;
mod shortage;
mod slow_fetch;
mod volumes;
