//! The one integration binary: the real program, real git repositories, real processes, raw sockets.

mod support;

mod access_log;
mod changes;
mod cli;
mod clients;
mod config_directory;
mod conformance;
mod crash_safety;
mod daemon_restart;
mod demo;
mod deploys;
mod documents;
mod faults;
mod front;
mod fuzz_seeds;
mod health;
mod hints;
mod install;
mod lifecycle;
mod logs;
mod packages;
mod process;
mod process_actor;
mod races;
mod reach;
mod readiness;
mod redeploys;
mod removals;
mod routes;
mod socket;
mod squatters;
mod static_files;
mod stops;
mod storm;

mod supervision;
mod tasks;
mod tickets;
mod told;
mod tunnels;
mod unix_sockets;
mod verbs;
