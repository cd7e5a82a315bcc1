//! The second engine: what an application runs on where it outgrows one machine. Docker Swarm schedules; this server makes
//! the images ([`image`]).

pub mod image;
pub mod settings;
