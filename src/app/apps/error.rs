use crate::app::deployer::AppError;
use crate::document::host_name::HostName;
use crate::document::name::AppName;
use crate::document::preview::MOST;

/// Why [`Apps`](super::Apps) refuses a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppsError {
    #[error(
        "there is no application \"{0}\": GET /applications, or \"procserver apps\", lists them"
    )]
    NoSuchApp(String),
    #[error(
        "there is an application \"{0}\" already: PUT /applications/{0}, or \"procserver update\", replaces its document"
    )]
    Exists(AppName),
    #[error("\"{0}\" is being removed")]
    BeingRemoved(AppName),
    /// As [`Self::BeingRemoved`], for one who adds an application of that name.
    #[error("\"{0}\" is being removed: try again when it is gone")]
    NotGoneYet(AppName),
    #[error("\"{0}\" is being restarted: try again in a moment")]
    Restarting(AppName),
    #[error("port {port} belongs to \"{owner}\": choose another")]
    PortOfApp { port: u16, owner: AppName },
    #[error("port {0} is the server's own: choose another")]
    PortOfServer(u16),
    #[error(
        "port {port} is in the range {first}-{last} that processes are given: choose one outside it"
    )]
    PortOfProcesses { port: u16, first: u16, last: u16 },
    #[error(
        "the host \"{host}\" belongs to \"{owner}\": choose another, or free it with \"procserver domains rm {owner} {host}\""
    )]
    HostOfApp { host: HostName, owner: AppName },
    /// As one of those above, for somebody who is not told of that app.
    #[error("{0} is taken: choose another")]
    Taken(String),
    #[error("the host \"{0}\" is the API's own, by the setting api_hosts: choose another")]
    HostOfServer(HostName),
    #[error(
        "there is no orphan \"{0}\": GET /applications?orphans=true, or \"procserver orphans\", lists them"
    )]
    NoSuchOrphan(AppName),
    #[error("\"{0}\" is an application, or is being removed: no orphan")]
    NoOrphan(AppName),
    #[error(
        "\"{0}\" has a document, {1}, that is not taken (\"procserver status\" says why): mend it, or remove that file first"
    )]
    HasDocument(AppName, String),
    #[error(
        "\"{app}\" has as many previews as there may be, {MOST}: remove one first{}",
        named(.previews)
    )]
    TooManyPreviews {
        app: AppName,
        previews: Vec<AppName>,
    },
    #[error(
        "the document of \"{app}\" would have {size} KiB, of {most} at most: make it shorter, or keep what is large, as \
         values of `env` are, in a file of the repository or in $STORAGE_DIR; nothing is changed"
    )]
    TooLarge {
        app: AppName,
        /// KiB, as it is written.
        size: usize,
        most: usize,
    },
    /// Somebody else changed the document meanwhile.
    #[error("the configuration of \"{0}\" is being changed by others as well: try again")]
    Stale(AppName),
    /// The old configuration is intact.
    #[error("the configuration could not be {change}, nothing is changed: {reason}")]
    NotStored {
        /// `written` or `removed`.
        change: &'static str,
        reason: String,
    },
    #[error("not all of it could be removed: {0}")]
    NotRemoved(String),
    #[error("the data directory could not be read: {0}")]
    NotListed(String),
    #[error(transparent)]
    App(#[from] AppError),
}

/// Names of applications behind a text; none may be known.
fn named(apps: &[AppName]) -> String {
    let names: Vec<&str> = apps.iter().map(AppName::as_str).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" ({})", names.join(", ")),
    }
}
