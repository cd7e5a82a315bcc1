//! Supervision: the pure policy of an OTP supervisor, and the monitor that turns an actor's end into an [`Exit`].
//!
//! `child_spec`, `restart` and `backoff` are pure: `now` is given to them, they import neither actix nor tokio.

pub mod backoff;
pub mod child_ref;
pub mod child_spec;
pub mod jitter;
pub mod monitor;
pub mod parent;
pub mod restart;

pub use child_ref::ChildRef;
pub use child_spec::{ChildSpec, Exit, Generation, Restart, Strategy, Timeout};
pub use monitor::{Child, ExitReason, Shutdown};
pub use parent::{ChildEnded, Parent, Running};
