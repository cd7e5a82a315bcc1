use std::io;

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(
        "it is no archive that is known here: send a tar, a tar in gzip, or a zip (tar czf source.tar.gz -C DIR .)"
    )]
    Unknown,
    #[error("there is no file in it")]
    Empty,
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("{path} {why}")]
    Refused { path: String, why: String },
    #[error("{0}")]
    TooMuch(String),
    /// What takes its content has failed.
    #[error("{0}")]
    Sink(io::Error),
}

impl ArchiveError {
    pub(super) fn refused(path: &[u8], why: impl Into<String>) -> Self {
        let path = String::from_utf8_lossy(path);
        let shown = path.chars().map(|c| if c.is_control() { '?' } else { c });
        Self::Refused {
            path: shown.take(200).collect(),
            why: why.into(),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(super) fn damaged(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(TooMuch(what)) => Self::TooMuch(what.clone()),
            None => Self::Damaged(error.to_string()),
        }
    }
}

/// More comes out of an archive than may.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct TooMuch(pub(super) String);
