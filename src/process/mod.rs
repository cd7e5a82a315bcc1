//! One OS process under supervision: spawned through `procserver exec`, watched, stopped, re-adopted.
//!
//! The way of one process: [`spec`] → [`ports`], `socket` → [`spawn`] → [`exec`] (in the new process) → [`running`] (what the
//! daemon holds of it) → [`stop`]. [`worker::Process`] goes it, over and over, as [`state`] tells it; [`identity`] is
//! what a later daemon knows of it. `spec`, `state`, `health`, `snapshot` and `exit` are pure. Only `worker.rs` owns an OS process.

pub mod cgroup;
pub mod diagnosis;
pub mod environment;
pub mod exec;
pub mod health;
pub mod held;
pub mod identity;
mod instance;
pub mod landlock;
pub mod lent;
mod listeners;
mod owner;
pub mod phase;
pub mod port_holder;
pub mod ports;
pub(crate) mod procfs;
pub mod readiness;
mod rlimit_mark;
pub mod running;
pub mod snapshot;
mod sock_diag;
mod socket;
pub mod spawn;
pub mod spec;
pub mod start_permits;
mod state;
pub mod stop;
pub mod usage;
pub mod users;
pub mod worker;
