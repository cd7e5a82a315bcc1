//! The routing table: which app a request is for, by which rule (pure).

use std::path::PathBuf;
use std::sync::Arc;

use super::backend::Backend;

/// What the front knows of one app.
#[derive(Clone, Debug)]
pub struct Route {
    /// The app's name.
    pub app: Arc<str>,
    /// Order of creation: where several apps match, the lowest wins.
    pub created: u64,
    /// Patterns against the host, unanchored, known to compile.
    pub domain: Vec<String>,
    /// Reachable as `/NAME/…`.
    pub path: bool,
    /// `/NAME` is removed before forwarding.
    pub strip_path: bool,
    /// A listener of its own.
    pub port: Option<u16>,
    /// Files served before a backend is asked: the absolute directory of the current release, and the prefix.
    pub static_files: Option<(PathBuf, String)>,
    /// What to say while there is no backend.
    pub availability: Availability,
    /// Ready processes.
    pub backends: Vec<Backend>,
}

/// What to do with a request while an app has no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It has, or soon has again: hold the request.
    Starting,
    /// Stopped by request: 503 at once.
    Stopped,
    /// Its processes keep crashing: 503 at once (H10).
    Crashed,
    /// It has no routed process type, or it is scaled to 0: 503 at once (H14).
    NoWeb,
}

/// The routing table, immutable; a change makes a new one.
#[derive(Debug, Default)]
pub struct Table {
    #[allow(dead_code)]
    routes: Vec<Arc<Route>>,
}
