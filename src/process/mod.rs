//! One OS process under supervision: spawned through `procserver exec`, watched, stopped, re-adopted.
//!
//! Begin with [`worker::Process`], the actor. It takes a process this way: [`spec`] → [`ports`], `socket` → [`spawn`] →
//! [`exec`] (in the new process) → [`running`] (what the daemon holds of it) → [`stop`]. [`state`] tells it what is next,
//! [`identity`] is what a later server knows of the process, [`survivors`] what it does with those it finds.
//!
//! `state` and `health` decide and do nothing themselves: they are given the time. The files on `/proc`, control groups
//! and sockets block.

mod by_itself;
pub mod cgroup;
pub mod diagnosis;
pub mod ends;
pub mod environment;
pub mod exec;
pub mod exec_spec;
pub mod fixed_project;
pub mod former_children;
pub mod health;
pub mod held;
pub mod identity;
mod instance;
pub mod lack;
pub mod landlock;
pub mod lent;
mod listeners;
pub mod mounts;
pub mod one_off;
pub mod out_of_memory;
mod owner;
pub mod phase;
pub mod port_holder;
pub mod ports;
pub mod probe;
pub(crate) mod procfs;
pub mod readiness;
mod rlimit_mark;
mod rlimits;
pub mod running;
pub mod shm;
pub mod snapshot;
pub(crate) mod sock_diag;
mod socket;
pub mod spawn;
pub mod spec;
pub mod start_permits;
mod state;
pub mod stop;
pub mod survivors;
pub mod usage;
pub mod users;
pub mod worker;
