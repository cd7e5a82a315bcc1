//! The REST API: an actix-web App that the front end reaches in process ([`in_process`]), and that the Unix socket
//! serves directly ([`socket`]).
//!
//! [`resources`] has the routes, [`app`] puts them together, and `gate` lets a request in: from no page of another site
//! (`browsers`), by somebody whom [`auth`] knows, who has what the route needs ([`needs`]); it also tells the audit log.
//! Then one file per resource. A resource reads its request (`body`, `query`, `prefer`), asks an actor ([`state`]), and answers with a document, a
//! [`problem`], or the `outcome` of what it set going. [`git`] is the one that git itself calls, and [`ui`] has the pages
//! for people, which call the others. `errors` gives each error of the other folders its status.
//! `openapi` describes all of it to programs. Nothing here owns state.

pub mod about;
mod actions;
pub mod app;
mod app_url;
mod applications;
mod attach;
mod audit;
pub mod auth;
pub mod backup_turn;
mod backups;
mod body;
mod browsers;
mod call;
mod caller;
mod certificates;
mod comments;
mod cron;
mod deploy_key;
mod deployments;
mod disk;
mod engine_changes;
mod errors;
mod events;
mod failed_logins;
mod gate;
mod git;
mod health;
mod history;
mod hook;
mod hook_body;
mod hooks;
pub mod in_process;
mod log_format;
mod logs;
mod masking;
pub mod metrics;
pub mod needs;
mod notify;
mod on_disk;
mod openapi;
mod orphans;
mod outcome;
mod overlaps;
mod pause;
mod precondition;
mod prefer;
mod previews;
mod previews_of;
pub mod problem;
mod query;
mod registry;
mod releases;
mod reload;
pub mod reload_status;
pub mod resources;
mod routes;
mod run;
mod server_judgement;
mod server_state;
mod server_status;
pub mod socket;
mod source;
mod ssh_keys;
pub mod state;
mod status;
mod tokens;
pub mod ui;
pub mod upload_turn;
mod whole_machine;
