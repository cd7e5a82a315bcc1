//! The front end: acceptor → connection → head → router → pool → exchange, on one worker thread from accept to close.
//!
//! It sees the routing table and never an app. It parses hostile bytes as root: no unsafe code, every buffer bounded.
//!
//! | what | where |
//! |---|---|
//! | the actor, its workers, their sockets | [`front`], [`worker`], [`listener`], `acceptor`, [`room`], [`visitors`], `drain` |
//! | what a client may send (pure) | [`head`], [`field`], [`fields`], `request_rules`, [`host`], [`framing`], `upgrade` |
//! | what is sent on (pure) | [`forwarded`], [`trusted`], [`own_token`], `by_path`, [`error_page`]; [`http_date`] |
//! | a connection, its requests, where they go | [`connection`], [`facts`], `routing`, `route_cache`, [`pool`], [`upstream`], [`in_process`] |
//! | what is told of each request | [`request_id`], [`access_line`] (pure), [`access_log`] |
//! | files served before an app is asked | [`static_path`] (pure), [`static_files`], [`file_server`], [`compressed`] |
//! | bytes both ways | [`exchange`], [`sides`], [`end`], `switched`, [`tunnel`], [`flow`], [`buffer`], [`deadline`], [`pace`], [`client_end`] |
//! | slow clients | `collect`, [`body_end`], [`stored`], [`spool`], `spool_file`, [`spool_space`], [`delivery`] |

mod acceptor;
pub mod access;
pub mod asking;
mod by_path;
pub mod capacity;
pub mod connection;
pub mod connection_limit;
mod drain;
pub mod exchange;
#[allow(clippy::module_inception)]
pub mod front;
pub mod http;
pub mod listener;
pub mod own_token;
mod route_cache;
mod routing;
pub mod static_files;
pub mod upstream;
pub mod worker;
