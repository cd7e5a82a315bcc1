//! [`Service`] and [`Exchange`]: what a client of git asks for, and by which way (pure).

/// What a client of git asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// To fetch: git-upload-pack(1).
    Upload,
    /// To push: git-receive-pack(1).
    Receive,
}

impl Service {
    /// By the name that it has in requests.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Upload, Self::Receive]
            .into_iter()
            .find(|service| service.name() == name)
    }

    /// `git-upload-pack`, `git-receive-pack`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "git-upload-pack",
            Self::Receive => "git-receive-pack",
        }
    }
}

/// How much of git's protocol one git speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// It tells the refs, for HTTP (gitprotocol-http(5)).
    Advertisement,
    /// It answers one request of HTTP.
    Request,
    /// It speaks with the client from begin to end, as over ssh (gitprotocol-pack(5)).
    Whole,
}

impl Exchange {
    /// As git is told.
    pub(super) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Advertisement => &["--stateless-rpc", "--advertise-refs"],
            Self::Request => &["--stateless-rpc"],
            Self::Whole => &[],
        }
    }
}
