//! What the integration tests stand on: a real server on a port of its own, a raw HTTP client, real git repositories,
//! a small application, and waiting for conditions.

pub(crate) mod command;
pub(crate) mod control_groups;
pub(crate) mod fixture;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod machine;
pub(crate) mod own_users;
pub(crate) mod pebble;
pub(crate) mod repo;
pub(crate) mod runs;
pub(crate) mod server;
pub(crate) mod service_manager;
pub(crate) mod setup;
pub(crate) mod wait;
