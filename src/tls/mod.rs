//! Certificates and handshakes: what clients on the internet see before their first request.
//!
//! It starts at [`server_config`], which makes the one rustls configuration that all workers share. The certificate of
//! a handshake is chosen by [`certificates`], an immutable snapshot that is replaced whole, as the routing table is. A
//! certificate comes from PEM text ([`certificate`]); [`files`] reads those of the settings again when they change.
//!
//! Nothing here knows of applications, requests or the CA.

pub mod certificate;
pub mod certificates;
pub mod files;
pub mod server_config;
pub mod snapshot;
pub mod store;
pub mod trust;
