//! The application at work: its operations, its releases, its processes, and the two actors that own them.
//!
//! Begin with [`supervisor::App`], the actor of one application, and [`apps::Apps`], the dynamic supervisor of all.
//! What an App does next is decided by [`lifecycle`] (pure). The other files are parts of an App's state.

pub mod apps;
pub mod batch;
pub mod batches;
pub mod config_dir;
pub mod context;
pub mod deployer;
pub mod deployments;
pub mod documents;
pub mod finished;
pub mod journal;
pub mod lifecycle;
pub mod operations;
pub mod publisher;
pub mod releases;
pub mod remembered;
pub mod removal;
pub mod runnable;
pub mod status;
pub mod supervisor;
