//! HTTP/2 to clients: the `h2` crate as a client, and frames by hand from those who mean harm.

pub(crate) mod client;
mod foreign;
mod frames;
mod heads;
mod hostile;
mod messages;
mod servers;
