//! The one integration binary: the real program, real git repositories, real processes, raw sockets.

mod conformance;
mod install;
mod process;
mod process_actor;
