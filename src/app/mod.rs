//! The application at work: its operations, its releases, its processes, and the two actors that own them.
//!
//! Begin with [`supervisor::App`], the actor of one application, and [`apps::Apps`], the dynamic supervisor of all. An
//! App has a [`deployer::Deployer`], which decides what becomes of requests, by the [`lifecycle`] (pure), and
//! [`batches::Batches`] of processes. To follow a deploy, read `deployer/requests`, `lifecycle/deploy` and
//! `supervisor/deploy`. The other files are parts of the state of these.

pub mod apps;
pub mod batch;
pub mod batches;
pub mod config_dir;
pub mod context;
pub mod cron;
pub mod deployer;
pub mod deployments;
pub mod documents;
pub mod engine;
pub mod finished;
pub mod journal;
pub mod lifecycle;
pub mod one_offs;
pub mod operations;
pub mod publisher;
pub mod pushed_commits;
pub mod releases;
pub mod remembered;
pub mod removal;
pub mod runnable;
pub mod sandbox;
pub mod sleep;
pub mod status;
pub mod supervisor;
