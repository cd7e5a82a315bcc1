//! The side of the backends. `chosen` is the process that a request goes to, [`connection`] the way to it or to the
//! API ([`in_process`]). [`pool`] keeps connections that are idle, `upkeep` drops those that are of no use, and
//! [`asking`] has them given up for a backend that serves one at a time.

pub mod asking;
pub(crate) mod chosen;
pub mod connection;
pub mod in_process;
pub mod pool;
pub(crate) mod upkeep;
