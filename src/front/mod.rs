//! The front end, from accept to close on one worker thread: acceptor → connection → routing → exchange → upstream.
//!
//! It sees the routing table and never an application. It parses hostile bytes as root: no unsafe code, every buffer
//! bounded. A request goes through the files in this order:
//!
//! | what | where |
//! |---|---|
//! | the actor that runs the workers | [`front`] |
//! | accepts connections, each on a task of its own | `acceptor`, `proxied`, `handshake` |
//! | reads a connection's requests, in order | [`connection`], `linger` |
//! | makes a connection of each stream of HTTP/2 | `http2` |
//! | says who answers: an app's process, a file, the API, the front end itself | `routing` |
//! | requests wait for an app, and go on a few at a time | `hold`, `held_here`, `turns`, `going` |
//! | refuses or redirects a request as the application's document says | [`policies`] |
//! | sends a request and passes the response on | [`exchange`] |
//! | chooses, connects and keeps connections to backends | [`upstream`] |
//! | files served before an application is asked | [`static_files`] |
//! | what connections of a thread share: the routing table, the pool, memory | [`worker`] |
//! | what is told of each request, and counted | [`access`], [`request_counts`] |
//! | sockets, and how many connections there may be | [`listener`], [`kept`], [`capacity`], [`connection_limit`], `drain` |
//! | what bytes mean | [`http`] (pure), [`proxy_header`], [`own_token`], [`own_cookie`] |
//!
//! A request whose host is known is routed by the [snapshot](crate::router::snapshot) that the thread's replica answers
//! from, without a message to it; both remember hosts in that one place.

mod acceptor;
pub mod access;
pub mod capacity;
pub mod connection;
pub mod connection_limit;
pub mod departure;
mod drain;
pub mod exchange;
#[allow(clippy::module_inception)]
pub mod front;
mod going;
mod handshake;
mod held_here;
mod hold;
pub mod http;
mod http2;
pub mod kept;
mod linger;
pub mod listener;
pub mod own_cookie;
pub mod own_token;
pub mod policies;
mod proxied;
pub mod proxy_header;
pub mod request_counts;
mod routing;
pub mod settings;
pub mod static_files;
mod turns;
pub mod upstream;
pub mod worker;
