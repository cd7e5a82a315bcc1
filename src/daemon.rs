//! The composition root: builds the tree, in order, and takes it down in reverse.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What a daemon that serves has to say.
#[derive(Debug)]
pub struct Ready {
    /// The bound addresses.
    pub listen: Vec<SocketAddr>,
    /// The Unix socket of the API.
    pub socket: PathBuf,
    /// The bearer token of the API.
    pub token: Arc<str>,
}

/// Why a daemon ended other than by request.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {}

/// Runs until SIGTERM or SIGINT was handled and everything is stopped.
///
/// # Errors
/// [`DaemonError`].
pub fn run(
    settings: crate::settings::Settings,
    ready: impl FnOnce(&Ready),
) -> Result<(), DaemonError> {
    let _ = (settings, &ready);
    todo!()
}
