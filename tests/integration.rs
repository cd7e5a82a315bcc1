//! The one integration binary: the real program, real git repositories, real processes, raw sockets.

mod process;
mod process_actor;
