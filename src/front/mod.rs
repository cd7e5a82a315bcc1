//! The front end, from accept to close on one worker thread: acceptor → connection → routing → exchange.
//!
//! It sees the routing table and never an application. It parses hostile bytes as root: no unsafe code, every buffer
//! bounded.
//!
//! | what | where |
//! |---|---|
//! | the actor, its workers, their sockets | [`front`], [`worker`], [`listener`], `acceptor`, `drain` |
//! | how many connections there may be | [`capacity`], [`connection_limit`], [`asking`] |
//! | a connection and its requests | [`connection`] |
//! | what bytes mean | [`http`] (pure), `by_path`, [`own_token`], [`date`] |
//! | who a request is for | `routing`, `route_cache` |
//! | one request and its response | [`exchange`] |
//! | backends | [`upstream`] |
//! | files served before an application is asked | [`static_files`] |
//! | what is told of each request | [`access`] |

mod acceptor;
pub mod access;
pub mod asking;
mod by_path;
pub mod capacity;
pub mod connection;
pub mod connection_limit;
pub mod date;
mod drain;
pub mod exchange;
#[allow(clippy::module_inception)]
pub mod front;
pub mod http;
pub mod listener;
pub mod own_token;
mod route_cache;
mod routing;
pub mod settings;
pub mod static_files;
pub mod upstream;
pub mod worker;
