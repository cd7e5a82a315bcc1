//! The front end, seen from both ends: hand-made bytes in front, an origin that records behind.

mod changes;
mod client_ends;
pub(crate) mod corpus;
pub(crate) mod fixture;
mod forwarding;
mod interim;
pub(crate) mod origin;
mod proxied;
mod reach;
mod requests;
mod responses;
mod slow_clients;
mod upgrades;
mod visitors;
