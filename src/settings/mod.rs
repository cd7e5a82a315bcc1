//! Server settings: flags, environment and `procserver.toml`, first as typed ([`raw::RawSettings`]), then resolved
//! ([`Settings`]). All are checked before anything is bound.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::account::PER_APP;
use crate::document::drain::DrainConfig;
use crate::document::notify::NotifyConfig;
use crate::front::settings::{FrontSettings, Limits, Timeouts};
use crate::install::spec::StepTimeouts;
use crate::notices::smtp::Smtp;
use crate::router::reach::{ApiPlace, Reach, XApp};
use crate::swarm::image::host::Reached;
use crate::swarm::settings::SwarmSettings;

mod de;
pub mod default_user;
mod directories;
pub mod environment;
pub mod error;
#[cfg(test)]
mod example;
pub mod raw;
pub mod reach_value;
pub mod receiver_value;
mod receivers;
mod smtp;
mod swarm;
pub mod swarm_value;
pub mod tls;
mod tls_files;
pub mod tls_value;
pub mod traces_value;
pub mod value;

use default_user::DefaultUser;
use directories::Directories;
use environment::Environment;
use error::SettingsError;
use raw::{Or, RawSettings, RawStepTimeouts, RawTraces};
use reach_value::ApiHost;
use tls::TlsSettings;
use value::{Listen, Period, PortRange};

/// How long a client may take before it has to send 500 bytes of a body in each second.
const BODY: Duration = Duration::from_secs(10);
/// How many seconds requests in flight may take when the daemon stops.
const DRAIN: u64 = 30;

const SSH_USER: &str = "procserver";

const PORTS: PortRange = PortRange {
    first: 8001,
    last: 8999,
};

/// Validated settings of the server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses of the public listeners.
    pub listen: Vec<std::net::SocketAddr>,
    /// Receivers of the logs of all applications.
    pub drains: Vec<DrainConfig>,
    /// Who is told of what goes wrong.
    pub notify: Vec<NotifyConfig>,
    /// How mail is sent, if it is.
    pub smtp: Option<Smtp>,
    /// Where they were read from, or would have been.
    pub file: Option<PathBuf>,
    /// Addresses of the public listeners with TLS.
    pub tls_listen: Vec<std::net::SocketAddr>,
    /// Addresses where `GET /metrics` is answered without a token.
    pub metrics_listen: Vec<std::net::SocketAddr>,
    pub tls: TlsSettings,
    pub config_dir: PathBuf,
    /// Everything that outlives a reboot.
    pub data_dir: PathBuf,
    /// Sockets, FIFOs and identity records.
    pub runtime_dir: PathBuf,
    /// For processes.
    pub ports: PortRange,
    /// Account of apps that name none.
    pub default_user: DefaultUser,
    /// The user as which sshd(8) lets those in who push over ssh.
    pub ssh_user: String,
    pub env: BTreeMap<String, String>,
    /// `user: "root"` is allowed.
    pub allow_root_apps: bool,
    /// Repositories on this machine's own disk are allowed.
    pub allow_file_repos: bool,
    /// Whether an access log is written.
    pub access_log: bool,
    /// Bytes of a log segment.
    pub log_size: u64,
    pub log_files: usize,
    pub step_timeouts: StepTimeouts,
    /// Where spans of requests are sent, if anywhere.
    pub traces: Option<crate::traces::settings::Settings>,
    /// The swarm that applications may run on, if there is one.
    pub swarm: Option<SwarmSettings>,
    pub front: Arc<FrontSettings>,
}

impl Settings {
    /// The settings of `flags` (and their variables), over `file`, over defaults. Without `file` the usual one is
    /// read if it is there. Blocks.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn load(flags: RawSettings, file: Option<&Path>) -> Result<Self, SettingsError> {
        let around = Environment::detect();
        let fallback = match file {
            Some(path) => read(path)?,
            None => match Self::usual_file(&around).map(|path| read_usual(&path)) {
                None => RawSettings::default(),
                Some(Err(SettingsError::Read { source, .. }))
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    RawSettings::default()
                }
                Some(result) => result?,
            },
        };
        let named_user = flags
            .default_user
            .clone()
            .or_else(|| fallback.default_user.clone());
        if let Some(user) = named_user.filter(|user| user != PER_APP) {
            let account = crate::account::Account::look_up(&user, None)?;
            let allowed = flags.allow_root_apps.or(fallback.allow_root_apps);
            if around.root && allowed != Some(true) {
                account.is_not_root()?;
            }
        }
        let mut settings = Self::resolve(flags, fallback, &around)?;
        settings.file = file
            .map(Path::to_owned)
            .or_else(|| Self::usual_file(&around));
        tls_files::check(&settings.tls)?;
        receivers::read_ca(&mut settings.drains)?;
        swarm::read_ca(&mut settings.swarm)?;
        if let Some(smtp) = &mut settings.smtp {
            smtp::read_password(smtp)?;
        }
        Ok(settings)
    }

    /// Resolves settings without any look at the machine (pure).
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn resolve(
        flags: RawSettings,
        file: RawSettings,
        around: &Environment,
    ) -> Result<Self, SettingsError> {
        let private = flags.data_dir.clone();
        let mut raw = flags.or(file);
        let directories = Directories::of(&raw, private, around)?;
        let listen = match &raw.listen {
            Some(listen) => addresses(listen),
            None if around.root => vec![(Ipv6Addr::UNSPECIFIED, 80).into()],
            None => vec![([127, 0, 0, 1], 8080).into()],
        };
        if listen.is_empty() {
            return Err(SettingsError::NoListener);
        }
        refuse_half(&raw)?;
        let tls = tls::resolve(&raw)?;
        let tls_listen = tls::listen(&raw, &tls, around.root)?;
        let metrics_listen = addresses(raw.metrics_listen.as_deref().unwrap_or_default());
        each_of_its_own([
            ("listen", &listen),
            ("tls_listen", &tls_listen),
            ("metrics_listen", &metrics_listen),
        ])?;
        let drains = receivers::drains(&raw)?;
        let smtp = smtp::resolve(&raw.smtp)?;
        let notify = receivers::notify(&raw, smtp.is_some())?;
        let mut reach = reach(&raw);
        let reached = Reached {
            api_hosts: &reach.api_hosts,
            tls_listen: &tls_listen,
            listen: &listen,
        };
        let is_reached = reach.api != ApiPlace::Socket;
        let of_swarm = std::mem::take(&mut raw.engine.swarm);
        let swarm = swarm::resolve(of_swarm, is_reached.then_some(reached))?;
        reach.images_host = swarm.as_ref().and_then(|swarm| swarm.images.own_host());
        let front = front(&raw, around, &directories.data, reach);
        Ok(Self {
            file: None,
            swarm,
            listen,
            tls_listen,
            metrics_listen,
            tls,
            config_dir: directories.config,
            data_dir: directories.data,
            runtime_dir: directories.runtime,
            ports: raw.ports.unwrap_or(PORTS),
            default_user: DefaultUser::new(
                raw.default_user.as_deref(),
                around.root,
                &around.default_user,
            ),
            ssh_user: raw.ssh_user.unwrap_or_else(|| SSH_USER.to_owned()),
            allow_root_apps: raw.allow_root_apps.unwrap_or(false),
            allow_file_repos: raw.allow_file_repos.unwrap_or(!around.root),
            access_log: raw.access_log.unwrap_or(true),
            log_size: raw.log_size.map_or(10 << 20, |size| size.0),
            log_files: raw.log_files.map_or(5, |count| count.0),
            step_timeouts: step_timeouts(&raw.step_timeouts),
            traces: traces(raw.traces)?,
            front: Arc::new(front),
            drains,
            notify,
            smtp,
            env: raw.env.into_iter().map(|v| (v.name, v.value)).collect(),
        })
    }

    /// `/etc/procserver/procserver.toml` as root, else `procserver/procserver.toml` of the configuration home.
    #[must_use]
    pub fn usual_file(around: &Environment) -> Option<PathBuf> {
        if around.root {
            return Some("/etc/procserver/procserver.toml".into());
        }
        let home = around.config_home.as_ref();
        home.map(|home| home.join("procserver/procserver.toml"))
    }

    /// The Unix socket that the API answers on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime_dir.join("procserver.sock")
    }

    /// The file of the API's bearer token.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.data_dir.join("token")
    }
}

fn addresses(listen: &[Listen]) -> Vec<std::net::SocketAddr> {
    listen.iter().map(|Listen(address)| *address).collect()
}

fn read(path: &Path) -> Result<RawSettings, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    RawSettings::from_toml(&text, path)
}

/// Reads the usual file, which nobody named and which may be anything.
fn read_usual(path: &Path) -> Result<RawSettings, SettingsError> {
    crate::regular::open(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    read(path)
}

fn or_seconds(period: Option<Period>, seconds: u64) -> Duration {
    period.map_or(Duration::from_secs(seconds), |Period(duration)| duration)
}

fn traces(raw: RawTraces) -> Result<Option<crate::traces::settings::Settings>, SettingsError> {
    let Some(url) = raw.url else {
        return match raw.sample {
            Some(_) => Err(SettingsError::TracesUrl),
            None => Ok(None),
        };
    };
    let sample = raw.sample.map_or(0.01, |share| share.0);
    Ok(Some(crate::traces::settings::Settings {
        url: url.0,
        sample,
    }))
}

fn step_timeouts(raw: &RawStepTimeouts) -> StepTimeouts {
    StepTimeouts {
        packages: or_seconds(raw.packages, 30 * 60),
        fetch: or_seconds(raw.fetch, 10 * 60),
        install: or_seconds(raw.install, 30 * 60),
        release: or_seconds(raw.release, 60 * 60),
    }
}

/// The ways by which requests come to apps and to the API.
fn reach(raw: &RawSettings) -> Reach {
    let hosts = |hosts: &[ApiHost]| hosts.iter().map(|host| host.0.clone()).collect();
    Reach {
        api: raw.api.map_or_else(ApiPlace::default, |api| api.0),
        api_hosts: hosts(raw.api_hosts.as_deref().unwrap_or_default()),
        x_app: raw
            .x_app
            .clone()
            .map_or_else(XApp::default, |x_app| x_app.0),
        path_hosts: raw.path_hosts.as_deref().map(hosts),
        // Known once the swarm is.
        images_host: None,
    }
}

fn front(raw: &RawSettings, around: &Environment, data: &Path, reach: Reach) -> FrontSettings {
    let head = raw.limits.head.map_or(64 << 10, |size| size.0);
    FrontSettings {
        workers: raw.workers.map_or(around.cores, |count| count.0),
        reach: Arc::new(reach),
        trusted_proxies: raw
            .trusted_proxies
            .iter()
            .flatten()
            .map(|network| network.0)
            .collect(),
        proxy_protocol: raw.proxy_protocol.unwrap_or(false),
        hold: or_seconds(raw.hold, 30),
        drain: or_seconds(raw.timeouts.drain, DRAIN),
        buffers: data.to_owned(),
        timeouts: Timeouts {
            connect: or_seconds(raw.timeouts.connect, 5),
            head: or_seconds(raw.timeouts.head, 10),
            response: or_seconds(raw.timeouts.response, 60),
            idle: or_seconds(raw.timeouts.idle, 75),
            tunnel_idle: or_seconds(raw.timeouts.tunnel_idle, 60 * 60),
            body: BODY,
        },
        limits: Limits {
            head: usize::try_from(head).unwrap_or(usize::MAX),
            body: raw.limits.body.map_or(1 << 30, |size| size.0),
            buffer: raw.limits.buffer.map_or(1 << 30, |size| size.0),
            headers: raw.limits.headers.map_or(100, |count| count.0),
            connections: raw.limits.connections.map_or(10_000, |count| count.0),
            connections_per_address: raw
                .limits
                .connections_per_address
                .map_or(10_000, |count| count.0),
        },
    }
}

/// Refuses settings that need another one, which is not there.
fn refuse_half(raw: &RawSettings) -> Result<(), SettingsError> {
    let has_api_hosts = raw
        .api_hosts
        .as_ref()
        .is_some_and(|hosts| !hosts.is_empty());
    if raw.api.is_some_and(|api| api.0 == ApiPlace::ApiHosts) && !has_api_hosts {
        return Err(SettingsError::NoApiHost);
    }
    let trusts = raw
        .trusted_proxies
        .as_ref()
        .is_some_and(|networks| !networks.is_empty());
    if raw.proxy_protocol == Some(true) && !trusts {
        return Err(SettingsError::NoTrustedProxy);
    }
    Ok(())
}

/// Refuses an address that stands in two lists. Port 0 is another one each time.
fn each_of_its_own(
    lists: [(&'static str, &Vec<std::net::SocketAddr>); 3],
) -> Result<(), SettingsError> {
    for (place, (name, list)) in lists.iter().enumerate() {
        for (other, others) in &lists[place + 1..] {
            let shared =
                |address: &&std::net::SocketAddr| address.port() != 0 && others.contains(address);
            if let Some(address) = list.iter().find(shared) {
                return Err(SettingsError::SharedAddress(*address, name, other));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_others_have_the_documented_defaults() {
        let resolve = |root| {
            Settings::resolve(
                RawSettings::default(),
                RawSettings::default(),
                &Environment::example(root),
            )
            .unwrap()
        };
        let root = resolve(true);
        assert_eq!(root.listen, ["[::]:80".parse().unwrap()]);
        assert_eq!(root.config_dir, Path::new("/etc/procserver/config"));
        assert_eq!(root.socket(), Path::new("/run/procserver/procserver.sock"));
        assert_eq!(root.token_file(), Path::new("/var/lib/procserver/token"));
        assert!(!root.allow_file_repos && !root.allow_root_apps && root.access_log);
        assert_eq!(
            (root.ports, root.log_size, root.log_files),
            (PORTS, 10 << 20, 5)
        );
        assert_eq!(root.front.limits.body, 1 << 30);
        let other = resolve(false);
        assert_eq!(other.listen[0].to_string(), "127.0.0.1:8080");
        assert_eq!(other.data_dir, Path::new("/home/u/.local/share/procserver"));
        assert_eq!(other.runtime_dir, Path::new("/run/user/1000/procserver"));
        assert!(other.allow_file_repos);
    }

    #[test]
    fn where_nodes_fetch_images_is_known_to_the_front() {
        let of = |text: &str| {
            let raw: RawSettings = toml::from_str(text).unwrap();
            let around = Environment::example(true);
            let settings = Settings::resolve(raw, RawSettings::default(), &around).unwrap();
            settings.front.reach.images_host.clone()
        };
        let swarm = "[engine.swarm]\nsocket = \"/run/docker.sock\"\n";
        let listen = "listen = [\"192.0.2.1:8070\"]\n";
        assert_eq!(of(listen), None);
        let own = of(&format!("{listen}{swarm}"));
        assert_eq!(own.as_deref(), Some("192.0.2.1"));
        let named = of(&format!("{listen}api_hosts = [\"nas.local\"]\n{swarm}"));
        assert_eq!(named.as_deref(), Some("nas.local"));
        let other = format!("{listen}{swarm}registry = \"https://registry.local\"\n");
        assert_eq!(of(&other), None);
    }

    #[test]
    fn an_api_that_would_be_nowhere_is_refused() {
        let resolve = |api: &str, hosts: &[&str]| {
            let raw = RawSettings {
                api: Some(api.parse().unwrap()),
                api_hosts: Some(hosts.iter().map(|h| h.parse().unwrap()).collect()),
                ..RawSettings::default()
            };
            Settings::resolve(raw, RawSettings::default(), &Environment::example(true))
        };
        let error = resolve("api_hosts", &[]).unwrap_err();
        assert!(error.to_string().contains("admin.example.org"), "{error}");
        let reach = |settings: Settings| settings.front.reach.api;
        assert_eq!(
            resolve("api_hosts", &["a.b"]).map(reach).ok(),
            Some(ApiPlace::ApiHosts)
        );
        assert_eq!(
            resolve("socket", &[]).map(reach).ok(),
            Some(ApiPlace::Socket)
        );
    }

    #[test]
    fn a_header_that_nobody_may_send_is_refused_and_told() {
        let resolve = |text: &str| {
            let raw = RawSettings::from_toml(text, Path::new("x")).unwrap();
            Settings::resolve(raw, RawSettings::default(), &Environment::example(true))
        };
        for text in [
            "proxy_protocol = true",
            "proxy_protocol = true\ntrusted_proxies = []",
        ] {
            let error = resolve(text).unwrap_err().to_string();
            assert!(error.contains("trusted_proxies = ["), "{error}");
        }
        let both = "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.5\"]";
        assert!(resolve(both).unwrap().front.proxy_protocol);
        assert!(!resolve("").unwrap().front.proxy_protocol);
    }

    #[test]
    fn no_two_listeners_have_one_address() {
        let resolve = |text: &str| {
            let raw = RawSettings::from_toml(text, Path::new("x")).unwrap();
            Settings::resolve(raw, RawSettings::default(), &Environment::example(true))
        };
        let text =
            "listen = [\"127.0.0.1:19\"]\nmetrics_listen = [\"127.0.0.1:18\", \"127.0.0.1:19\"]";
        let error = resolve(text).unwrap_err().to_string();
        assert!(
            error.starts_with("127.0.0.1:19 stands in listen and in metrics_listen"),
            "{error}"
        );
        for text in [
            "listen = [\"127.0.0.1:0\"]\nmetrics_listen = [\"127.0.0.1:0\"]",
            "listen = [\"127.0.0.1:19\"]\nmetrics_listen = [\"127.0.0.2:19\"]",
        ] {
            assert!(resolve(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error_only_when_it_was_named() {
        let error =
            Settings::load(RawSettings::default(), Some(Path::new("/nowhere/p.toml"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/p.toml"), "{error}");
    }
}
