//! Which app, and which of its processes, answers a request.
//!
//! `address`, `table`, `patterns`, `path`, `reach` and `balancer` are pure. [`router::Router`] is the only writer of the table; each front worker
//! has a [`replica::Replica`] on its own thread that answers from the latest snapshot.

pub mod address;
pub mod backend;
pub mod balancer;
pub mod path;
pub mod patterns;
pub mod reach;
pub mod replica;
#[allow(clippy::module_inception)]
pub mod router;
pub mod socket_file;
pub mod table;
