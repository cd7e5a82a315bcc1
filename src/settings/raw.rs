//! [`RawSettings`]: the settings as typed. One struct is both the flags of `serve` and the file, so that neither can
//! have a setting that the other lacks.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::SettingsError;
use super::de::{directory, list, variables, x_app};
use super::value::{
    ApiHost, ApiPlace, Count, Listen, Network, Period, PortRange, Size, Variable, XApp,
};

/// The settings as typed; `None` where nothing was said.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSettings {
    /// Address to listen on; may be repeated [default: 0.0.0.0:80 as root, else 127.0.0.1:8080]
    #[arg(
        long,
        env = "PROCSERVER_LISTEN",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "list")]
    pub listen: Option<Vec<Listen>>,
    /// Host that always reaches the API, never an app; may be repeated
    #[arg(
        long,
        env = "PROCSERVER_API_HOSTS",
        value_name = "HOST",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "list")]
    pub api_hosts: Option<Vec<ApiHost>>,
    /// Where the API answers over TCP: everywhere, api_hosts (only on those) or socket (nowhere) [default: everywhere]
    #[arg(long, env = "PROCSERVER_API", value_name = "PLACE")]
    pub api: Option<ApiPlace>,
    /// Applications that X-App reaches: true (those that are reachable by path), false (none), or names with commas
    /// [default: true]
    #[arg(long, env = "PROCSERVER_X_APP", value_name = "BOOL|NAMES")]
    #[serde(deserialize_with = "x_app")]
    pub x_app: Option<XApp>,
    /// Host on which applications are reached by path; may be repeated [default: any]
    #[arg(
        long,
        env = "PROCSERVER_PATH_HOSTS",
        value_name = "HOST",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "list")]
    pub path_hosts: Option<Vec<ApiHost>>,
    /// Directory of the applications' documents [default: /etc/procserver/config as root]
    #[arg(long, env = "PROCSERVER_CONFIG_DIR", value_name = "DIR")]
    #[serde(deserialize_with = "directory")]
    pub config_dir: Option<PathBuf>,
    /// Directory of code, logs and storage [default: /var/lib/procserver as root]. Given as flag or variable, it also
    /// makes DIR/config and DIR/run the defaults of --config-dir and --runtime-dir: a private instance in one flag
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
    /// User of applications that name none [default: www-data as root, else yourself]
    #[arg(long, env = "PROCSERVER_DEFAULT_USER", value_name = "USER")]
    pub default_user: Option<String>,
    /// Variable of every application's environment; may be repeated, and adds to the file's (PROCSERVER_ENV: one a line)
    #[arg(
        long,
        env = "PROCSERVER_ENV",
        value_name = "NAME=VALUE",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    #[serde(deserialize_with = "variables")]
    pub env: Vec<Variable>,
    /// Worker threads of the front end [default: one per core]
    #[arg(long, env = "PROCSERVER_WORKERS", value_name = "N")]
    pub workers: Option<Count<1, 256>>,
    /// Network whose X-Forwarded-* fields are believed; may be repeated
    #[arg(
        long,
        env = "PROCSERVER_TRUSTED_PROXIES",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "list")]
    pub trusted_proxies: Option<Vec<Network>>,
    /// How long a request waits for an application that is starting [default: 30s]
    #[arg(long, env = "PROCSERVER_HOLD", value_name = "TIME")]
    pub hold: Option<Period>,
    /// Write an access log [default: true]
    #[arg(long, env = "PROCSERVER_ACCESS_LOG", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub access_log: Option<bool>,
    /// Let applications run as root [default: false]
    #[arg(long, env = "PROCSERVER_ALLOW_ROOT_APPS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub allow_root_apps: Option<bool>,
    /// Let repositories be on this machine's own disk [default: false as root, else true]
    #[arg(long, env = "PROCSERVER_ALLOW_FILE_REPOS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub allow_file_repos: Option<bool>,
    /// Size at which a log goes on in a new file [default: 10M]
    #[arg(long, env = "PROCSERVER_LOG_SIZE", value_name = "SIZE")]
    pub log_size: Option<Size<4096, { 1 << 40 }>>,
    /// Files kept per log [default: 5]
    #[arg(long, env = "PROCSERVER_LOG_FILES", value_name = "N")]
    pub log_files: Option<Count<1, 1000>>,
    /// `[timeouts]`.
    #[command(flatten)]
    pub timeouts: RawTimeouts,
    /// `[limits]`.
    #[command(flatten)]
    pub limits: RawLimits,
    /// `[step_timeouts]`.
    #[command(flatten)]
    pub step_timeouts: RawStepTimeouts,
}

/// `[timeouts]` of the front end.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table, as in { connect = \"5s\" }"
)]
pub struct RawTimeouts {
    /// Connecting to a process [default: 5s]
    #[arg(
        id = "timeouts-connect",
        long = "timeouts-connect",
        env = "PROCSERVER_TIMEOUTS_CONNECT",
        value_name = "TIME"
    )]
    pub connect: Option<Period>,
    /// Receiving a request's head [default: 10s]
    #[arg(
        id = "timeouts-head",
        long = "timeouts-head",
        env = "PROCSERVER_TIMEOUTS_HEAD",
        value_name = "TIME"
    )]
    pub head: Option<Period>,
    /// Until a process begins its response [default: 60s]
    #[arg(
        id = "timeouts-response",
        long = "timeouts-response",
        env = "PROCSERVER_TIMEOUTS_RESPONSE",
        value_name = "TIME"
    )]
    pub response: Option<Period>,
    /// Between two requests of a connection, and between two pieces of a body [default: 75s]
    #[arg(
        id = "timeouts-idle",
        long = "timeouts-idle",
        env = "PROCSERVER_TIMEOUTS_IDLE",
        value_name = "TIME"
    )]
    pub idle: Option<Period>,
    /// Silence in a WebSocket or other tunnel [default: 1h]
    #[arg(
        id = "timeouts-tunnel-idle",
        long = "timeouts-tunnel-idle",
        env = "PROCSERVER_TIMEOUTS_TUNNEL_IDLE",
        value_name = "TIME"
    )]
    pub tunnel_idle: Option<Period>,
}

/// `[limits]` of the front end.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table, as in { body = \"1G\" }"
)]
pub struct RawLimits {
    /// Bytes of a request's head [default: 64K]
    #[arg(
        id = "limits-head",
        long = "limits-head",
        env = "PROCSERVER_LIMITS_HEAD",
        value_name = "SIZE"
    )]
    pub head: Option<Size<1024, { 1 << 20 }>>,
    /// Bytes of a request's body [default: 1G]
    #[arg(
        id = "limits-body",
        long = "limits-body",
        env = "PROCSERVER_LIMITS_BODY",
        value_name = "SIZE"
    )]
    pub body: Option<Size<0, { 1 << 50 }>>,
    /// Bytes of a response on disk that its client has not taken yet; 0: none [default: 1G]
    #[arg(
        id = "limits-buffer",
        long = "limits-buffer",
        env = "PROCSERVER_LIMITS_BUFFER",
        value_name = "SIZE"
    )]
    pub buffer: Option<Size<0, { 1 << 50 }>>,
    /// Fields of a request's head [default: 100]
    #[arg(
        id = "limits-headers",
        long = "limits-headers",
        env = "PROCSERVER_LIMITS_HEADERS",
        value_name = "N"
    )]
    pub headers: Option<Count<1, 1000>>,
    /// Connections per worker [default: 10000]
    #[arg(
        id = "limits-connections",
        long = "limits-connections",
        env = "PROCSERVER_LIMITS_CONNECTIONS",
        value_name = "N"
    )]
    pub connections: Option<Count<1, 1_000_000>>,
    /// Connections of one client address (an IPv6 network of 64 bits); trusted proxies have no limit [default: 10000]
    #[arg(
        id = "limits-connections-per-address",
        long = "limits-connections-per-address",
        env = "PROCSERVER_LIMITS_CONNECTIONS_PER_ADDRESS",
        value_name = "N"
    )]
    pub connections_per_address: Option<Count<1, 1_000_000>>,
}

/// `[step_timeouts]` of a deploy.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table, as in { fetch = \"10m\" }"
)]
pub struct RawStepTimeouts {
    /// Installing Debian packages [default: 30m]
    #[arg(
        id = "step-timeouts-packages",
        long = "step-timeouts-packages",
        env = "PROCSERVER_STEP_TIMEOUTS_PACKAGES",
        value_name = "TIME"
    )]
    pub packages: Option<Period>,
    /// Fetching from git [default: 10m]
    #[arg(
        id = "step-timeouts-fetch",
        long = "step-timeouts-fetch",
        env = "PROCSERVER_STEP_TIMEOUTS_FETCH",
        value_name = "TIME"
    )]
    pub fetch: Option<Period>,
    /// All install commands together [default: 30m]
    #[arg(
        id = "step-timeouts-install",
        long = "step-timeouts-install",
        env = "PROCSERVER_STEP_TIMEOUTS_INSTALL",
        value_name = "TIME"
    )]
    pub install: Option<Period>,
    /// The release phase [default: 1h]
    #[arg(
        id = "step-timeouts-release",
        long = "step-timeouts-release",
        env = "PROCSERVER_STEP_TIMEOUTS_RELEASE",
        value_name = "TIME"
    )]
    pub release: Option<Period>,
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
                detail: error.message().trim().replace('\n', "; "),
            }
        })
    }

    /// What `self` says, and what `fallback` says where it is silent. Variables of both are kept; `self`'s win.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        let mut env = fallback.env;
        env.extend(self.env);
        Self {
            listen: self.listen.or(fallback.listen),
            api_hosts: self.api_hosts.or(fallback.api_hosts),
            api: self.api.or(fallback.api),
            x_app: self.x_app.or(fallback.x_app),
            path_hosts: self.path_hosts.or(fallback.path_hosts),
            config_dir: self.config_dir.or(fallback.config_dir),
            data_dir: self.data_dir.or(fallback.data_dir),
            runtime_dir: self.runtime_dir.or(fallback.runtime_dir),
            ports: self.ports.or(fallback.ports),
            default_user: self.default_user.or(fallback.default_user),
            env,
            workers: self.workers.or(fallback.workers),
            trusted_proxies: self.trusted_proxies.or(fallback.trusted_proxies),
            hold: self.hold.or(fallback.hold),
            access_log: self.access_log.or(fallback.access_log),
            allow_root_apps: self.allow_root_apps.or(fallback.allow_root_apps),
            allow_file_repos: self.allow_file_repos.or(fallback.allow_file_repos),
            log_size: self.log_size.or(fallback.log_size),
            log_files: self.log_files.or(fallback.log_files),
            timeouts: self.timeouts.or(fallback.timeouts),
            limits: self.limits.or(fallback.limits),
            step_timeouts: self.step_timeouts.or(fallback.step_timeouts),
        }
    }
}

impl RawTimeouts {
    fn or(self, fallback: Self) -> Self {
        Self {
            connect: self.connect.or(fallback.connect),
            head: self.head.or(fallback.head),
            response: self.response.or(fallback.response),
            idle: self.idle.or(fallback.idle),
            tunnel_idle: self.tunnel_idle.or(fallback.tunnel_idle),
        }
    }
}

impl RawLimits {
    fn or(self, fallback: Self) -> Self {
        Self {
            head: self.head.or(fallback.head),
            body: self.body.or(fallback.body),
            buffer: self.buffer.or(fallback.buffer),
            headers: self.headers.or(fallback.headers),
            connections: self.connections.or(fallback.connections),
            connections_per_address: self
                .connections_per_address
                .or(fallback.connections_per_address),
        }
    }
}

impl RawStepTimeouts {
    fn or(self, fallback: Self) -> Self {
        Self {
            packages: self.packages.or(fallback.packages),
            fetch: self.fetch.or(fallback.fetch),
            install: self.install.or(fallback.install),
            release: self.release.or(fallback.release),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        RawSettings::from_toml(text, Path::new("/etc/procserver/procserver.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_setting_can_be_in_the_file() {
        let text = r#"
            listen = ["0.0.0.0:80", "[::]:80"]
            api_hosts = ["admin.example"]
            api = "api_hosts"
            x_app = ["blog"]
            path_hosts = ["apps.example"]
            config_dir = "/c"
            data_dir = "/d"
            runtime_dir = "/r"
            ports = "9000-9100"
            default_user = "apps"
            env = { RAILS_ENV = "production" }
            workers = 3
            trusted_proxies = ["10.0.0.0/8"]
            hold = "10s"
            access_log = false
            allow_root_apps = true
            allow_file_repos = true
            log_size = "1M"
            log_files = 2
            [timeouts]
            connect = "1s"
            tunnel_idle = "2h"
            [limits]
            head = "16K"
            connections = 5
            connections_per_address = 3
            [step_timeouts]
            install = "1h"
        "#;
        let raw = RawSettings::from_toml(text, Path::new("x")).unwrap();
        assert_eq!(raw.listen.unwrap().len(), 2);
        assert_eq!(raw.workers, Some(Count(3)));
        assert_eq!(raw.env[0].name, "RAILS_ENV");
        assert_eq!(raw.limits.head, Some(Size(16 << 10)));
        assert_eq!(raw.timeouts.head, None);
    }

    #[test]
    fn an_error_names_file_line_and_what_is_allowed() {
        let unknown = error("ports = \"1-2\"\nport = 3\n");
        assert!(
            unknown.starts_with("/etc/procserver/procserver.toml, line 2, column 1: "),
            "{unknown}"
        );
        assert!(
            unknown.contains("unknown field `port`") && unknown.contains("`ports`"),
            "{unknown}"
        );
        let nested = error("[timeouts]\nconnect = \"5 parsecs\"\n");
        assert!(
            nested.contains("line 2, column 11") && nested.contains("\"30s\""),
            "{nested}"
        );
        let broken = error("listen = [\n\n");
        assert!(broken.contains("line "), "{broken}");
        let number = error("\n\nlog_files = 0\n");
        assert!(
            number.contains("line 3") && number.contains("from 1 to 1000"),
            "{number}"
        );
        let variable = error("[env]\nA = \"x\"\n\"1B\" = \"y\"\n");
        assert!(variable.contains("1B"), "{variable}");
    }

    #[test]
    fn a_value_of_the_wrong_shape_is_refused_in_words() {
        for (text, place, wanted) in [
            ("listen = \":80\"", "column 10", "a list in brackets"),
            ("api = \"tcp\"", "column 7", "\"socket\""),
            ("x_app = 1", "column 9", "true, false or a list"),
            ("x_app = [\"A b\"]", "column 9", "no application"),
            ("timeouts = \"5s\"", "column 12", "a table, as in {"),
            ("config_dir = \"\"", "column 14", "\"/srv/procserver\""),
        ] {
            let told = error(text);
            assert!(
                told.contains(place) && told.contains(wanted) && !told.contains("Raw"),
                "{told}"
            );
        }
    }

    #[test]
    fn flags_win_over_the_file_and_variables_add_up() {
        let flags = RawSettings {
            ports: Some(PortRange(1, 2)),
            env: vec!["A=flag".parse().unwrap()],
            ..RawSettings::default()
        };
        let file = RawSettings {
            ports: Some(PortRange(3, 4)),
            log_files: Some(Count(7)),
            env: vec!["A=file".parse().unwrap(), "B=file".parse().unwrap()],
            ..RawSettings::default()
        };
        let merged = flags.or(file);
        assert_eq!(
            (merged.ports, merged.log_files),
            (Some(PortRange(1, 2)), Some(Count(7)))
        );
        let env: std::collections::BTreeMap<_, _> =
            merged.env.into_iter().map(|v| (v.name, v.value)).collect();
        assert_eq!((env["A"].as_str(), env["B"].as_str()), ("flag", "file"));
    }
}
