//! Certificates from a certificate authority (RFC 8555).
//!
//! ```text
//! acme         the actor: a certificate for every name that is wanted
//!  ├ wish, name, schedule   what is wanted of a name, and when it is due
//!  └ authority        the CA: account, order, hook, precheck
//!     ├ storage       files, from which a daemon that was killed goes on
//!     └ challenges    what the front answers meanwhile
//! ```

mod account;
#[allow(clippy::module_inception)]
pub mod acme;
pub mod authority;
pub mod challenges;
pub mod error;
mod hook;
mod name;
mod order;
pub mod precheck;
pub mod schedule;
pub mod settings;
pub mod status;
pub mod storage;
pub mod wish;
