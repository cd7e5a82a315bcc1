//! Webhooks: a git service tells that somebody has pushed.
//!
//! [`secret`] is what an application and its service share, [`signature`] how a delivery shows that its sender knows it,
//! [`event`] what a delivery tells and what follows from that, [`store`] the file with the secret and with what was
//! delivered lately. The API (`api::hooks`) receives deliveries.

pub mod event;
pub mod secret;
pub mod signature;
pub mod store;
