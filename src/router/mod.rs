//! Says which app, and which of its processes, answers a request.
//!
//! Begin with [`table`], which holds the rules; [`hosts`] finds names by hashes, [`patterns`] what no name matches.
//! [`held`] counts the requests that wait for an app, and [`burst`] says how many of them go on at a time.
//! [`router::Router`] is the only writer of the table. Each front worker has a [`snapshot::Snapshot`] of it, and a
//! [`replica::Replica`] on its own thread that answers from that. What a route says beside who answers is in
//! [`policies`].

pub mod address;
pub mod backend;
pub mod balancer;
pub mod burst;
pub mod held;
pub mod hosts;
pub mod path;
pub mod patterns;
pub mod policies;
pub mod reach;
pub mod replica;
#[allow(clippy::module_inception)]
pub mod router;
pub mod snapshot;
pub mod socket_file;
pub mod table;
