//! [`SettingsError`]: why the server cannot start with its settings.

use std::path::PathBuf;

use crate::account::AccountError;

/// `sun_path` of unix(7) has 108 bytes, one of them for the NUL.
pub(super) const LONGEST_SOCKET_PATH: usize = 107;

/// Why the server cannot start with these settings; the text names the file, the line and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}, line {line}, column {column}: {detail}")]
    Invalid {
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong and what is allowed.
        detail: String,
    },
    /// Not root, and no home to keep things in.
    #[error("there is no {0} to keep things in: set HOME, or pass --data-dir DIR")]
    NoHome(&'static str),
    /// The Unix socket's path does not fit.
    #[error(
        "the socket's path {0} has {1} bytes, and the kernel takes {LONGEST_SOCKET_PATH}: choose a shorter --runtime-dir"
    )]
    SocketPath(PathBuf, usize),
    /// Each app has a directory in both: one would take the other's for its own.
    #[error(
        "data_dir and runtime_dir are both {0}: give each a directory of its own, or name only --data-dir"
    )]
    OneDirectory(PathBuf),
    #[error("listen is empty: name at least one address, as in listen = [\"0.0.0.0:80\"]")]
    NoListener,
    #[error(
        "tls_listen names an address and there is no certificate: name one, as in certificates = [{{ cert = \
         \"/etc/ssl/a.pem\", key = \"/etc/ssl/a.key\" }}] under [tls]"
    )]
    NoCertificate,
    /// The API would be nowhere.
    #[error(
        "api is \"api_hosts\" and there are none: name one, as in api_hosts = [\"admin.example.org\"], or write \
         api = \"socket\""
    )]
    NoApiHost,
    /// `default_user`.
    #[error("default_user: {0}")]
    DefaultUser(#[from] AccountError),
    /// A directory's path has no absolute form.
    #[error("{path} is no usable path: {source}")]
    Path {
        path: PathBuf,
        source: std::io::Error,
    },
}
