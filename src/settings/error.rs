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
    #[error("listen is empty: name at least one address, as in listen = [\"[::]:80\"]")]
    NoListener,
    /// The kernel would give each connection to either of them.
    #[error(
        "{0} stands in {1} and in {2}: each of them needs an address of its own, for instance another port"
    )]
    SharedAddress(std::net::SocketAddr, &'static str, &'static str),
    #[error(
        "tls_listen names an address and there is no certificate: write agree_terms = true under [acme] for certificates of \
         Let's Encrypt, or name files, as in certificates = [{{ cert = \
         \"/etc/ssl/a.pem\", key = \"/etc/ssl/a.key\" }}] under [tls]"
    )]
    NoCertificate,
    #[error(
        "acme.challenge is \"tls-alpn-01\", for which the certificate authority shakes hands with this server at port 443, \
         and tls_listen names no address: write tls_listen = [\"[::]:443\"], or challenge = \"http-01\" under [acme]"
    )]
    NoTlsListener,
    /// No handshake could be answered.
    #[error(
        "none of the certificates in the settings can be used: {}; mend one of them, or take them and tls_listen out of \
         the settings",
        .0.join("; ")
    )]
    NoUsableCertificate(Vec<String>),
    /// A program of the settings that the server will not run.
    #[error("acme.dns_hook: {path} {why}", path = .0.display(), why = .1)]
    DnsHook(PathBuf, String),
    #[error("acme.root_ca: {path} {why}", path = .0.display(), why = .1)]
    RootCa(PathBuf, String),
    #[error(
        "[acme] asks a certificate authority for certificates, which needs that you agree to its terms: read them (Let's \
         Encrypt's: https://letsencrypt.org/repository/) and write agree_terms = true under [acme]"
    )]
    TermsNotAgreed,
    #[error(
        "acme.directory is \"{0}\": write the https:// URL of the certificate authority's directory, or leave it out for \
         Let's Encrypt's"
    )]
    AcmeDirectory(String),
    #[error(
        "acme.challenge is \"dns-01\" and there is no dns_hook: name the program that makes TXT records, as in \
         dns_hook = \"/usr/local/bin/dns-hook\""
    )]
    NoDnsHook,
    #[error("the key of acme.eab is no base64url: write it as the certificate authority shows it")]
    AcmeKey,
    /// One that gets logs or notices.
    #[error("{list}: entry {place}: {detail}")]
    Receiver {
        list: &'static str,
        /// From 1.
        place: usize,
        detail: String,
    },
    #[error("[smtp] lacks {0}, without which no mail is sent")]
    Smtp(&'static str),
    #[error(
        "[smtp] has a username and tls = \"none\", so its password would go over the network as it is: write tls = \"starttls\" \
         or \"tls\", or take username and password_file out for a server that asks for none"
    )]
    MailPasswordInClear,
    #[error(
        "[traces] has a sample and no url, so no span would be sent: write url = \"http://127.0.0.1:4318/v1/traces\", or take \
         the sample out"
    )]
    TracesUrl,
    #[error(
        "[engine.swarm] has {0} and no socket, so no application would run on a swarm: write socket = \"/var/run/docker.sock\", \
         or take {0} out"
    )]
    SwarmSocket(&'static str),
    #[error(
        "[engine.swarm] has registry_ca and no registry: write registry = \"https://…\", or take registry_ca out"
    )]
    NoRegistry,
    #[error(
        "[engine.swarm] has registry_ca and a registry by http, which shows no certificate: write https, or take registry_ca out"
    )]
    RegistryByHttp,
    #[error("engine.swarm.registry_ca: {path}: {detail}")]
    RegistryCa { path: PathBuf, detail: String },
    #[error("smtp.password_file: {path}: {source}")]
    MailPassword {
        path: PathBuf,
        source: std::io::Error,
    },
    /// Nobody may send a header.
    #[error(
        "proxy_protocol is true and there are no trusted_proxies: name the addresses of the balancer, whose PROXY header is \
         believed, as in trusted_proxies = [\"10.0.0.5\"]"
    )]
    NoTrustedProxy,
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
