//! The application: its document, its Procfile, its environment, and the two actors that own it.
//!
//! Pure: `by_type`, `change`, `config` and the `document*` files, `merge_patch`, `procfile`, `dotenv`, `environment`, `formation`, `lifecycle`, `name`,
//! `secrets`, `status`. Actors: [`apps::Apps`], the dynamic supervisor of all [`supervisor::App`]s. The other files are parts of
//! an App's state.

pub mod advice;
pub mod apps;
pub mod batch;
pub mod config_dir;
pub mod context;
pub mod deployments;
pub mod journal;
pub mod lifecycle;
pub mod operations;
pub mod publisher;
pub mod runnable;
pub mod status;
pub mod supervisor;
