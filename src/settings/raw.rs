//! [`RawSettings`]: the settings as typed. One description of each is the flag of `serve`, its variable and the key of
//! the file, so that none can have a setting that another lacks.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::de::{directory, list, variables, x_app};
use super::error::SettingsError;
use super::reach_value::{ApiHost, ApiPlace, XApp};
use super::receiver_value::{MailEncryption, RawDrain, RawNotify};
use super::swarm_value::{BaseImageValue, Constraint, EngineSocket, RegistryUrl, VolumesValue};
use super::tls_value::{CertificatePair, Challenge, Email, ExternalAccount, TlsVersion};
use super::traces_value::{CollectorUrl, Share};
use super::value::{Count, Listen, Network, Period, PortRange, Size, Variable};

/// What `self` says, and what `fallback` says where it is silent.
pub trait Or {
    #[must_use]
    fn or(self, fallback: Self) -> Self;
}

impl Or for Vec<Variable> {
    /// Those of both are kept; `self`'s win, since they come later.
    fn or(self, mut fallback: Self) -> Self {
        fallback.extend(self);
        fallback
    }
}

/// A struct of settings whose fields are each merged by [`Or`].
macro_rules! merged {
    (
        $(#[$meta:meta])* pub struct $name:ident {
            $($(#[$about:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$about])* pub $field: $type,)*
        }

        impl Or for $name {
            fn or(self, fallback: Self) -> Self {
                Self { $($field: self.$field.or(fallback.$field),)* }
            }
        }
    };
}

/// A table of the file: what it looks like in an error, then its keys, each with flag, variable and value's name.
macro_rules! table {
    (
        $(#[$meta:meta])* $name:ident, $expecting:literal {
            $($(#[$about:meta])* $field:ident: $type:ty = $flag:literal, $env:literal, $value:literal;)*
        }
    ) => {
        merged! {
            $(#[$meta])*
            #[derive(Args, Clone, Debug, Default, Deserialize)]
            #[serde(default, deny_unknown_fields, expecting = $expecting)]
            pub struct $name {
                $(
                    $(#[$about])*
                    #[arg(id = $flag, long = $flag, env = $env, value_name = $value)]
                    pub $field: Option<$type>,
                )*
            }
        }
    };
}

merged! {
    /// The settings as typed; `None` where nothing was said.
    #[derive(Args, Clone, Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct RawSettings {
        /// Address to listen on; may be repeated [default: [::]:80 as root, which is IPv4 too, else
        /// 127.0.0.1:8080]
        #[arg(long, env = "PROCSERVER_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
        #[serde(deserialize_with = "list")]
        pub listen: Option<Vec<Listen>>,
        /// Address to listen on with TLS; may be repeated [default: [::]:443 as root once a certificate is
        /// named, else none]
        #[arg(long, env = "PROCSERVER_TLS_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
        #[serde(deserialize_with = "list")]
        pub tls_listen: Option<Vec<Listen>>,
        /// Address where GET /metrics, and nothing else, is answered without a token; may be repeated [default: none]
        #[arg(long, env = "PROCSERVER_METRICS_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
        #[serde(deserialize_with = "list")]
        pub metrics_listen: Option<Vec<Listen>>,
        /// Host that always reaches the API, never an app; may be repeated
        #[arg(long, env = "PROCSERVER_API_HOSTS", value_name = "HOST", value_delimiter = ',')]
        #[serde(deserialize_with = "list")]
        pub api_hosts: Option<Vec<ApiHost>>,
        /// Where the API answers over TCP: everywhere, api_hosts (only on those) or socket (nowhere)
        /// [default: everywhere]
        #[arg(long, env = "PROCSERVER_API", value_name = "PLACE")]
        pub api: Option<ApiPlace>,
        /// Applications that X-App reaches: true (those that are reachable by path), false (none), or names with commas
        /// [default: true]
        #[arg(long, env = "PROCSERVER_X_APP", value_name = "BOOL|NAMES")]
        #[serde(deserialize_with = "x_app")]
        pub x_app: Option<XApp>,
        /// Host on which applications are reached by path; may be repeated [default: any]
        #[arg(long, env = "PROCSERVER_PATH_HOSTS", value_name = "HOST", value_delimiter = ',')]
        #[serde(deserialize_with = "list")]
        pub path_hosts: Option<Vec<ApiHost>>,
        /// Directory of the applications' documents [default: /etc/procserver/config as root]
        #[arg(long, env = "PROCSERVER_CONFIG_DIR", value_name = "DIR")]
        #[serde(deserialize_with = "directory")]
        pub config_dir: Option<PathBuf>,
        /// Directory of code, logs and storage [default: /var/lib/procserver as root]. Given as flag or variable,
        /// it also makes DIR/config and DIR/run the defaults of --config-dir and --runtime-dir: a private
        /// instance in one flag
        #[arg(long, env = "PROCSERVER_DATA_DIR", value_name = "DIR")]
        #[serde(deserialize_with = "directory")]
        pub data_dir: Option<PathBuf>,
        /// Directory of the Unix socket and of what a reboot may lose [default: /run/procserver as root]
        #[arg(long, env = "PROCSERVER_RUNTIME_DIR", value_name = "DIR")]
        #[serde(deserialize_with = "directory")]
        pub runtime_dir: Option<PathBuf>,
        /// Range of ports that processes are given [default: 8001-8999]
        #[arg(long, env = "PROCSERVER_PORTS", value_name = "FIRST-LAST")]
        pub ports: Option<PortRange>,
        /// User of applications that name none [default: per-app, a system user for each, as root; else
        /// yourself]
        #[arg(long, env = "PROCSERVER_DEFAULT_USER", value_name = "USER")]
        pub default_user: Option<String>,
        /// User as which sshd lets those in who push over ssh [default: procserver]
        #[arg(long, env = "PROCSERVER_SSH_USER", value_name = "USER")]
        pub ssh_user: Option<String>,
        /// Variable of every application's environment; may be repeated, and adds to the
        /// file's (PROCSERVER_ENV: one a line)
        #[arg(long, env = "PROCSERVER_ENV", value_name = "NAME=VALUE", value_delimiter = '\n', hide_env_values = true)]
        #[serde(deserialize_with = "variables")]
        pub env: Vec<Variable>,
        /// Worker threads of the front end [default: one per core]
        #[arg(long, env = "PROCSERVER_WORKERS", value_name = "N")]
        pub workers: Option<Count<1, 256>>,
        /// Network whose X-Forwarded-* fields are believed; may be repeated
        #[arg(long, env = "PROCSERVER_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',')]
        #[serde(deserialize_with = "list")]
        pub trusted_proxies: Option<Vec<Network>>,
        /// Connections from trusted_proxies begin with a PROXY header, version 1 or 2, which names the client
        /// [default: false]
        #[arg(long, env = "PROCSERVER_PROXY_PROTOCOL", value_name = "BOOL")]
        #[arg(num_args = 0..=1, default_missing_value = "true")]
        pub proxy_protocol: Option<bool>,
        /// How long a request waits for an application that is starting [default: 30s]
        #[arg(long, env = "PROCSERVER_HOLD", value_name = "TIME")]
        pub hold: Option<Period>,
        /// Write an access log [default: true]
        #[arg(long, env = "PROCSERVER_ACCESS_LOG", value_name = "BOOL")]
        #[arg(num_args = 0..=1, default_missing_value = "true")]
        pub access_log: Option<bool>,
        /// Let applications run as root [default: false]
        #[arg(long, env = "PROCSERVER_ALLOW_ROOT_APPS", value_name = "BOOL")]
        #[arg(num_args = 0..=1, default_missing_value = "true")]
        pub allow_root_apps: Option<bool>,
        /// Let repositories be on this machine's own disk [default: false as root, else true]
        #[arg(long, env = "PROCSERVER_ALLOW_FILE_REPOS", value_name = "BOOL")]
        #[arg(num_args = 0..=1, default_missing_value = "true")]
        pub allow_file_repos: Option<bool>,
        /// Size at which a log goes on in a new file [default: 10M]
        #[arg(long, env = "PROCSERVER_LOG_SIZE", value_name = "SIZE")]
        pub log_size: Option<Size<4096, { 1 << 40 }>>,
        /// Files kept per log [default: 5]
        #[arg(long, env = "PROCSERVER_LOG_FILES", value_name = "N")]
        pub log_files: Option<Count<1, 1000>>,
        #[arg(skip)]
        #[serde(deserialize_with = "list")]
        pub drains: Option<Vec<RawDrain>>,
        #[arg(skip)]
        #[serde(deserialize_with = "list")]
        pub notify: Option<Vec<RawNotify>>,
        /// `[smtp]`: the mail server by which notices are sent.
        #[command(flatten)]
        pub smtp: RawSmtp,
        /// `[tls]`.
        #[command(flatten)]
        pub tls: RawTls,
        /// `[acme]`.
        #[command(flatten)]
        pub acme: RawAcme,
        /// `[timeouts]`.
        #[command(flatten)]
        pub timeouts: RawTimeouts,
        /// `[limits]`.
        #[command(flatten)]
        pub limits: RawLimits,
        /// `[step_timeouts]`.
        #[command(flatten)]
        pub step_timeouts: RawStepTimeouts,
        /// `[traces]`.
        #[command(flatten)]
        pub traces: RawTraces,
        /// `[engine]`.
        #[command(flatten)]
        pub engine: RawEngine,
    }
}

merged! {
    /// `[tls]` of the front end.
    #[derive(Args, Clone, Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields, expecting = "a table, as in { min_version = \"1.3\" }")]
    pub struct RawTls {
        /// The oldest version that clients may speak: 1.2 or 1.3 [default: 1.2]
        #[arg(id = "tls-min-version", long = "tls-min-version", env = "PROCSERVER_TLS_MIN_VERSION")]
        #[arg(value_name = "VERSION")]
        pub min_version: Option<TlsVersion>,
        /// Files of a certificate chain and its key, PEM; may be repeated. They are read again when they
        /// change. Which one answers, the name says that a client asks for
        #[arg(id = "tls-certificate", long = "tls-certificate", env = "PROCSERVER_TLS_CERTIFICATES")]
        #[arg(value_name = "CERT,KEY", value_delimiter = ' ')]
        #[serde(deserialize_with = "list")]
        pub certificates: Option<Vec<CertificatePair>>,
        /// Files of the certificate for clients that ask for a name without one, or for none [default: they
        /// are refused]
        #[arg(id = "tls-default-certificate", long = "tls-default-certificate")]
        #[arg(env = "PROCSERVER_TLS_DEFAULT_CERTIFICATE", value_name = "CERT,KEY")]
        pub default_certificate: Option<CertificatePair>,
    }
}

merged! {
    /// `[acme]`: certificates by a certificate authority.
    #[derive(Args, Clone, Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields, expecting = "a table, as in { agree_terms = true }")]
    pub struct RawAcme {
        /// You agree to the terms of the certificate authority: with true, a certificate is asked for each name in
        /// `hosts` and for api_hosts
        #[arg(id = "acme-agree-terms", long = "acme-agree-terms", env = "PROCSERVER_ACME_AGREE_TERMS")]
        #[arg(value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        pub agree_terms: Option<bool>,
        /// Where the authority writes to when something is wrong with a certificate
        #[arg(id = "acme-email", long = "acme-email", env = "PROCSERVER_ACME_EMAIL", value_name = "ADDRESS")]
        pub email: Option<Email>,
        /// The authority's directory [default: Let's Encrypt's]
        #[arg(id = "acme-directory", long = "acme-directory", env = "PROCSERVER_ACME_DIRECTORY")]
        #[arg(value_name = "URL")]
        pub directory: Option<String>,
        /// How it is shown that a name leads here: http-01, tls-alpn-01 or dns-01 [default: http-01; wildcards: dns-01]
        #[arg(id = "acme-challenge", long = "acme-challenge", env = "PROCSERVER_ACME_CHALLENGE")]
        #[arg(value_name = "KIND")]
        pub challenge: Option<Challenge>,
        /// Which of its kinds of certificates the authority makes
        #[arg(id = "acme-profile", long = "acme-profile", env = "PROCSERVER_ACME_PROFILE", value_name = "NAME")]
        pub profile: Option<String>,
        #[arg(skip)]
        pub eab: Option<ExternalAccount>,
        /// Program that makes and removes TXT records: called with present|cleanup NAME VALUE
        #[arg(id = "acme-dns-hook", long = "acme-dns-hook", env = "PROCSERVER_ACME_DNS_HOOK", value_name = "PROGRAM")]
        pub dns_hook: Option<PathBuf>,
        /// PEM file of the root by which the authority itself is trusted, for a private one
        #[arg(id = "acme-root-ca", long = "acme-root-ca", env = "PROCSERVER_ACME_ROOT_CA", value_name = "FILE")]
        pub root_ca: Option<PathBuf>,
        /// Before it is asked, look from here whether a name leads here; false where the server cannot reach itself by
        /// its public address [default: true]
        #[arg(id = "acme-check-first", long = "acme-check-first", env = "PROCSERVER_ACME_CHECK_FIRST")]
        #[arg(value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        pub check_first: Option<bool>,
    }
}

table! {
    /// `[smtp]`: the mail server by which notices are sent.
    RawSmtp, "a table, as in { host = \"mail.example.org\", from = \"procserver@example.org\" }" {
        /// Name of the mail server that sends notices
        host: String = "smtp-host", "PROCSERVER_SMTP_HOST", "HOST";
        /// Its port [default: 587; with smtp-tls \"tls\" 465, with \"none\" 25]
        port: Count<1, 65535> = "smtp-port", "PROCSERVER_SMTP_PORT", "PORT";
        /// Address that notices come from
        from: Email = "smtp-from", "PROCSERVER_SMTP_FROM", "ADDRESS";
        /// As whom to log in there [default: not at all]
        username: String = "smtp-username", "PROCSERVER_SMTP_USERNAME", "NAME";
        /// File that holds the password
        password_file: PathBuf = "smtp-password-file", "PROCSERVER_SMTP_PASSWORD_FILE", "FILE";
        /// How the way there is encrypted: starttls, tls or none [default: starttls]
        tls: MailEncryption = "smtp-tls", "PROCSERVER_SMTP_TLS", "WAY";
    }
}

table! {
    /// `[timeouts]` of the front end.
    RawTimeouts, "a table, as in { connect = \"5s\" }" {
        /// Connecting to a process [default: 5s]
        connect: Period = "timeouts-connect", "PROCSERVER_TIMEOUTS_CONNECT", "TIME";
        /// Receiving a request's head [default: 10s]
        head: Period = "timeouts-head", "PROCSERVER_TIMEOUTS_HEAD", "TIME";
        /// Until a process begins its response [default: 60s]
        response: Period = "timeouts-response", "PROCSERVER_TIMEOUTS_RESPONSE", "TIME";
        /// Between two requests of a connection, and between two pieces of a body [default: 75s]
        idle: Period = "timeouts-idle", "PROCSERVER_TIMEOUTS_IDLE", "TIME";
        /// Silence in a WebSocket or other tunnel [default: 1h]
        tunnel_idle: Period = "timeouts-tunnel-idle", "PROCSERVER_TIMEOUTS_TUNNEL_IDLE", "TIME";
        /// What requests and tunnels have when the server stops or is replaced [default: 30s]
        drain: Period = "timeouts-drain", "PROCSERVER_TIMEOUTS_DRAIN", "TIME";
    }
}

table! {
    /// `[limits]` of the front end.
    RawLimits, "a table, as in { body = \"1G\" }" {
        /// Bytes of a request's head [default: 64K]
        head: Size<1024, { 1 << 20 }> = "limits-head", "PROCSERVER_LIMITS_HEAD", "SIZE";
        /// Bytes of a request's body [default: 1G]
        body: Size<0, { 1 << 50 }> = "limits-body", "PROCSERVER_LIMITS_BODY", "SIZE";
        /// Bytes of a response on disk that its client has not taken yet; 0: none [default: 1G]
        buffer: Size<0, { 1 << 50 }> = "limits-buffer", "PROCSERVER_LIMITS_BUFFER", "SIZE";
        /// Fields of a request's head [default: 100]
        headers: Count<1, 1000> = "limits-headers", "PROCSERVER_LIMITS_HEADERS", "N";
        /// Connections per worker [default: 10000]
        connections: Count<1, 1_000_000> = "limits-connections", "PROCSERVER_LIMITS_CONNECTIONS", "N";
        /// Connections of one client address (an IPv6 network of 64 bits); trusted proxies have no
        /// limit [default: 10000]
        connections_per_address: Count<1, 1_000_000> = "limits-connections-per-address",
            "PROCSERVER_LIMITS_CONNECTIONS_PER_ADDRESS", "N";
    }
}

table! {
    /// `[traces]`: spans of requests for OpenTelemetry.
    RawTraces, "a table, as in { url = \"http://127.0.0.1:4318/v1/traces\" }" {
        /// Collector that spans of requests are sent to, as OTLP/HTTP [default: none are]
        url: CollectorUrl = "traces-url", "PROCSERVER_TRACES_URL", "URL";
        /// Part of the requests that have one, 0 to 1; a trusted proxy chooses itself [default: 0.01]
        sample: Share = "traces-sample", "PROCSERVER_TRACES_SAMPLE", "PART";
    }
}

merged! {
    /// `[engine]`: on what applications run beside this machine.
    #[derive(Args, Clone, Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields, expecting = "a table, as in { swarm = { socket = \"/var/run/docker.sock\" } }")]
    pub struct RawEngine {
        /// `[engine.swarm]`.
        #[command(flatten)]
        pub swarm: RawSwarm,
    }
}

merged! {
    /// `[engine.swarm]`: Docker Swarm.
    #[derive(Args, Clone, Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields, expecting = "a table, as in { socket = \"/var/run/docker.sock\" }")]
    pub struct RawSwarm {
        /// Socket of a swarm manager's engine, for applications with engine: "swarm". Who reaches it is root
        #[arg(id = "swarm-socket", long = "swarm-socket", env = "PROCSERVER_SWARM_SOCKET", value_name = "PATH")]
        pub socket: Option<EngineSocket>,
        // It may have a password in it.
        #[arg(skip)]
        pub registry: Option<RegistryUrl>,
        /// Certificates that the registry is believed by, PEM [default: those that this machine trusts]
        #[arg(id = "swarm-registry-ca", long = "swarm-registry-ca", env = "PROCSERVER_SWARM_REGISTRY_CA", value_name = "FILE")]
        pub registry_ca: Option<PathBuf>,
        // It may have a password in it.
        #[arg(skip)]
        pub base_image: Option<BaseImageValue>,
        #[arg(skip)]
        #[serde(deserialize_with = "list")]
        pub constraints: Option<Vec<Constraint>>,
        // Its options may have passwords in them.
        #[arg(skip)]
        pub volumes: Option<VolumesValue>,
    }
}

table! {
    /// `[step_timeouts]` of a deploy.
    RawStepTimeouts, "a table, as in { fetch = \"10m\" }" {
        /// Installing Debian packages [default: 30m]
        packages: Period = "step-timeouts-packages", "PROCSERVER_STEP_TIMEOUTS_PACKAGES", "TIME";
        /// Fetching from git [default: 10m]
        fetch: Period = "step-timeouts-fetch", "PROCSERVER_STEP_TIMEOUTS_FETCH", "TIME";
        /// All install commands together [default: 30m]
        install: Period = "step-timeouts-install", "PROCSERVER_STEP_TIMEOUTS_INSTALL", "TIME";
        /// The release phase [default: 1h]
        release: Period = "step-timeouts-release", "PROCSERVER_STEP_TIMEOUTS_RELEASE", "TIME";
    }
}

impl RawSettings {
    /// Reads `procserver.toml`'s text; `path` is for the error.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] with line and column.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, SettingsError> {
        toml::from_str(text).map_err(|error| {
            let before = error
                .span()
                .map_or("", |span| text.get(..span.start).unwrap_or(""));
            SettingsError::Invalid {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
                detail: mistakes::explained(error.message(), text, before.len()),
            }
        })
    }
}

mod mistakes;
#[cfg(test)]
mod tests;
