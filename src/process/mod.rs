//! One OS process under supervision: spawned through `procserver exec`, watched, stopped, re-adopted.
//!
//! `state` and `exit` are pure. Only `worker.rs` owns an OS process.

pub mod exec;
pub mod exit;
pub mod identity;
mod instance;
pub mod ports;
mod procfs;
mod readiness;
pub mod running;
pub mod spawn;
pub mod state;
pub mod stop;
pub mod usage;
pub mod worker;
