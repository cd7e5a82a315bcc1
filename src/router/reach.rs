//! [`Reach`]: the ways by which the settings let requests come to apps and to the API.

/// Where the API answers over TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiPlace {
    /// On every host, by its paths, and on `api_hosts`.
    #[default]
    Everywhere,
    /// On `api_hosts` only.
    ApiHosts,
    /// Nowhere: only the Unix socket has it.
    Socket,
}

/// The apps that `X-App` reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum XApp {
    /// Those that are reachable by path. An app with `path: false` is not meant to be reached from any host.
    #[default]
    ByPath,
    /// None.
    Nobody,
    /// These, whatever their `path`.
    These(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub api: ApiPlace,
    /// Hosts that go straight to the API, in lower case.
    pub api_hosts: Vec<String>,
    pub x_app: XApp,
    /// The hosts, in lower case, on which apps are reached by path. `None` is all hosts.
    pub path_hosts: Option<Vec<String>>,
    /// The host, without its port, at which nodes of a swarm fetch images of this server.
    pub images_host: Option<String>,
}

pub(super) static ANY: Reach = Reach {
    api: ApiPlace::Everywhere,
    api_hosts: Vec::new(),
    x_app: XApp::ByPath,
    path_hosts: None,
    images_host: None,
};

impl Reach {
    /// Whether a host goes straight to the API, or to nobody.
    #[must_use]
    pub fn is_api_host(&self, host: &str) -> bool {
        self.api_hosts.iter().any(|own| own == host)
    }

    /// Whether it is for images, which nodes send a password for: no app gets that, whatever its `domain` matches.
    #[must_use]
    pub fn is_for_images(&self, host: &str, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or(path);
        let is_path = path == "/v2" || path.starts_with("/v2/");
        is_path && self.images_host.as_deref() == Some(host)
    }

    /// Whether apps are reached by path on this host.
    #[must_use]
    pub fn by_path(&self, host: &str) -> bool {
        let Some(hosts) = &self.path_hosts else {
            return true;
        };
        hosts.iter().any(|own| own == host)
    }
}
