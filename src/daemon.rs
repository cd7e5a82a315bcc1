//! The composition root: builds the tree in order, waits for a signal, and takes the tree down in reverse.
//!
//! ```text
//! run ── lock, directories, token, listeners ── Root (one_for_one) ── CertificateStore · Router · Apps · Front · Acme
//!                                            └─ the API on the Unix socket
//! ```

mod api_socket;
mod descriptors;
mod directories;
mod git_socket;
mod handed_over;
pub mod init;
mod lock;
mod reload;
mod root;
mod signals;
mod sockets;
pub mod state_version;
mod tree;
mod wanted_names;
mod watchdog;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_rt::System;
use actix_web::dev::ServerHandle;
use futures::FutureExt as _;
use tokio::signal::unix::Signal;

use crate::api::metrics;
use crate::api::state::ApiState;
use crate::app::apps::{Apps, Rescan};
use crate::app::config_dir;
use crate::app_dirs::AppDirs;
use crate::audit::{AuditLog, Entry};
use crate::backup::{server_files, take};
use crate::document::config::Rules;
use crate::document::name::AppName;
use crate::failpoint;
use crate::front::kept::Kept;
use crate::front::listener::Bound;
use crate::install::quota;
use crate::process::stop::pause;
use crate::process::{cgroup, former_children, landlock, mounts};
use crate::settings::Settings;
use crate::settings::error::SettingsError;
use crate::ssh_keys::{self, SshKeys};
use crate::supervision::{ChildRef, Exit, monitor};
use crate::tls::store::Published;
use crate::tokens::{TokenStore, first_token};
use crate::{priority, threads};

use api_socket::ApiSocket;
use git_socket::GitSocket;
use lock::Lock;
use reload::handover::{self, Handover};
use reload::trial::Held;
use reload::{InFlight, Next, Reloads};
use signals::Signals;
use sockets::{bind_all, could_be_bound};
use tree::{Given, Tree};

/// What is true once the server serves.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The public listeners as bound: a port 0 has become a real one.
    pub listen: Vec<SocketAddr>,
    /// The same of those with TLS.
    pub tls_listen: Vec<SocketAddr>,
    /// Those where `GET /metrics` alone is answered.
    pub metrics_listen: Vec<SocketAddr>,
    /// The Unix socket of the API.
    pub socket: PathBuf,
    /// The bearer token of the API.
    pub token: Arc<str>,
}

/// Why the server cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another server uses the data or the runtime directory.
    #[error(
        "{directory} is in use by procserver with pid {pid}: stop that one, or give this one another --data-dir or --runtime-dir"
    )]
    InUse {
        directory: PathBuf,
        /// The other's process id, as it wrote it.
        pid: String,
    },
    /// What the settings say is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A newer server has written the data directory.
    #[error(
        "the data directory {directory} is of procserver {version} or newer, which this one ({}) cannot read: install that version \
         again, or give this one another --data-dir",
        env!("CARGO_PKG_VERSION")
    )]
    NewerState {
        directory: PathBuf,
        /// The version that wrote it.
        version: String,
    },
    /// A public address cannot be listened on.
    #[error("cannot listen on {address}: {source}{hint}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
        /// What to do, with leading punctuation.
        hint: &'static str,
    },
    /// A file or directory of the server.
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The runtime or a part of the tree could not be started.
    #[error("cannot start: {0}")]
    Start(String),
    /// The root supervisor gave up.
    #[error("the supervision tree ended: {0:?}")]
    Ended(Exit),
}

/// How a server ended that was asked to.
enum Ended {
    Stopped,
    /// Its tree is gone, and processes of applications are left for this one.
    LeftTo(Next),
}

/// Runs the server of these settings until SIGTERM or SIGINT; `ready` is called once it serves.
///
/// # Errors
/// [`DaemonError`].
pub fn run(
    settings: impl FnOnce() -> Result<Settings, SettingsError>,
    ready: impl FnOnce(&Ready),
) -> Result<(), DaemonError> {
    signals::unblock();
    let kept = handed_over::take();
    let handover = Handover::take(kept.clone());
    handover.limit();
    let served = || start(settings()?, &kept, &handover, ready);
    match catch_unwind(AssertUnwindSafe(served)) {
        Ok(Ok(Ended::Stopped)) => Ok(()),
        Ok(Ok(Ended::LeftTo(next))) => {
            let error = handover::exec(&next, &kept);
            Err(DaemonError::Start(format!("execve: {error}")))
        }
        Ok(Err(error)) => {
            handover.go_back(&error.to_string());
            Err(error)
        }
        Err(panic) => {
            handover.go_back(&format!("it panicked: {}", monitor::text_of(&*panic)));
            resume_unwind(panic)
        }
    }
}

/// Says whether a server of these settings could start, and changes nothing: it reads what that would read.
///
/// # Errors
/// [`DaemonError`].
pub fn try_out(
    settings: impl FnOnce() -> Result<Settings, SettingsError>,
) -> Result<String, DaemonError> {
    let settings = settings()?;
    let listeners = listeners_of(&settings);
    descriptors::raise_limit();
    descriptors::suffice(settings.front.workers, listeners)?;
    if let Some(held) = Held::told() {
        if held.data_dir != settings.data_dir {
            return Err(DaemonError::Start(format!(
                "data_dir is {} now, and what runs belongs to {}: stop the server and start it again for that",
                settings.data_dir.display(),
                held.data_dir.display()
            )));
        }
        could_be_bound(&settings, &held.ports)?;
    }
    state_version::check(&settings.data_dir)?;
    let directory = &settings.config_dir;
    let rules = Rules {
        allow_root_apps: settings.allow_root_apps,
        allow_file_repos: settings.allow_file_repos,
        has_swarm: settings.swarm.is_some(),
    };
    let documents = match config_dir::look(directory, &rules) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        documents => documents.map_err(|e| io_error(directory, e))?,
    };
    let bad = documents.iter().filter(|d| d.config.is_err()).count();
    let (version, all) = (env!("CARGO_PKG_VERSION"), documents.len());
    Ok(match bad {
        0 => format!("procserver {version}, {all} documents"),
        _ => format!("procserver {version}, {all} documents, {bad} of them damaged"),
    })
}

fn start(
    settings: Settings,
    kept: &Kept,
    handover: &Arc<Handover>,
    ready: impl FnOnce(&Ready),
) -> Result<Ended, DaemonError> {
    // Whatever umask is inherited: others may enter the directories that the server makes, and write to none.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    priority::come_first();
    descriptors::raise_limit();
    descriptors::suffice(settings.front.workers, listeners_of(&settings))?;
    directories::make(&settings)?;
    let _data = Lock::acquire(&settings.data_dir)?;
    let _runtime = Lock::acquire(&settings.runtime_dir)?;
    state_version::check(&settings.data_dir)?;
    state_version::write(&settings.data_dir)?;
    if rustix::process::geteuid().is_root() {
        let both = [&settings.data_dir, &settings.runtime_dir].into_iter();
        let closed: BTreeSet<_> = both
            .flat_map(|path| directories::impassable(path))
            .collect();
        closed
            .iter()
            .for_each(|path| directories::warn_of_impassable(path));
    }
    cgroup::prepare(&settings.data_dir);
    landlock::prepare(&[&settings.data_dir, &settings.runtime_dir]);
    quota::prepare(&settings.data_dir);
    mounts::prepare(&[
        &settings.data_dir,
        &settings.runtime_dir,
        &settings.config_dir,
    ]);
    backup_leftovers(&settings);
    let published = Arc::<Published>::default();
    published.read(&settings.tls.certificates);
    let (listeners, metrics) = bind_all(&settings, &published, kept)?;
    // A worker has one of its own and one for what blocks; so have the control actors, the logs and the API's socket.
    let needed = 2 * settings.front.workers + 8;
    threads::probe(needed).map_err(|e| DaemonError::Start(e.to_string()))?;
    let runtime = threads::runtime().map_err(|e| DaemonError::Start(e.to_string()))?;
    let sockets = (listeners, metrics, kept.clone());
    System::with_tokio_rt(|| runtime).block_on(serve(
        Arc::new(settings),
        sockets,
        published,
        handover,
        ready,
    ))
}

async fn serve(
    settings: Arc<Settings>,
    (listeners, metrics, kept): (Vec<Bound>, Vec<Bound>, Kept),
    published: Arc<Published>,
    handover: &Arc<Handover>,
    ready: impl FnOnce(&Ready),
) -> Result<Ended, DaemonError> {
    // Before anything runs, so that none is missed.
    let mut signals = Signals::listen()?;
    let hangup = signals::hangup()?;
    signals::default_for_children();
    failpoint::reach("before the tree");
    if handover.is_one() {
        let former = former_children::find(&settings.runtime_dir.join("apps"));
        actix_rt::spawn(former_children::wait_for(former));
    }
    let (token, tokens, ssh_keys) = credentials(&settings)?;
    let (secure, plain): (Vec<_>, Vec<_>) = listeners.iter().partition(|bound| bound.tls.is_some());
    let addresses = |of: Vec<&Bound>| of.into_iter().map(|bound| bound.address).collect();
    let (listen, tls_listen) = (addresses(plain), addresses(secure));

    let pulses = watchdog::pulses();
    let (mut reloads, reload) = Reloads::new(handover.status());
    let given = Given {
        listeners,
        kept: kept.clone(),
        pulses: pulses.clone(),
        published,
        first_token: Arc::clone(&token),
        tokens,
        ssh_keys,
        reload,
    };
    let (mut tree, api) = Tree::start(&settings, given)?;
    tree.booted().await?;
    let path = settings.runtime_dir.join("procserver.sock");
    actix_rt::spawn(rescan_on(hangup, api.apps.clone(), api.audit.clone()));
    let in_flight = InFlight {
        apps: api.apps.clone(),
        connections: Arc::clone(&api.about.connections),
        drain: settings.front.drain,
        data_dir: settings.data_dir.clone(),
        kept: kept.clone(),
    };
    if let Some(backups) = &api.backups {
        actix_rt::spawn(backups.carrier.clone().go_on());
    }
    let mut git_socket = GitSocket::new(api.clone());
    let metrics_listen = metrics.iter().map(|bound| bound.address).collect();
    let metrics = serve_metrics(metrics, &api)?;
    let mut socket = ApiSocket::open(path.clone(), api, kept).await?;
    let stops = handover.ready();
    ready(&Ready {
        listen,
        tls_listen,
        metrics_listen,
        socket: path,
        token,
    });
    notify(&[sd_notify::NotifyState::Ready]);
    watchdog::start(pulses);

    let departure = Arc::clone(tree.departure());
    let ended = tokio::select! {
        () = std::future::ready(()), if stops => Ok(Ended::Stopped),
        name = signals.next() => { log::info!("{name}: stopping"); Ok(Ended::Stopped) }
        failure = tree.ended() => Err(failure),
        () = socket.keep() => Ok(Ended::Stopped),
        () = git_socket.keep() => Ok(Ended::Stopped),
        next = reloads.next(&departure, &in_flight) => Ok(Ended::LeftTo(next)),
    };
    if let Some(metrics) = metrics {
        // Copies of its sockets are kept where another server follows.
        metrics.stop(true).await;
    }
    take_down(ended, tree, (socket, git_socket), signals).await
}

/// Takes the tree down, or leaves what the next server needs.
async fn take_down(
    ended: Result<Ended, DaemonError>,
    tree: Tree,
    (socket, git_socket): (ApiSocket, GitSocket),
    mut signals: Signals,
) -> Result<Ended, DaemonError> {
    let Ok(Ended::LeftTo(mut next)) = ended else {
        notify(&[sd_notify::NotifyState::Stopping]);
        tree.stop().await;
        git_socket.close().await;
        socket.close().await;
        return ended;
    };
    futures::future::join3(tree.hand_over(), socket.leave(), git_socket.leave()).await;
    // Who asked for a stop meanwhile gets it, from the server that has the processes then.
    next.stops = signals.next().now_or_never().is_some();
    Ok(Ended::LeftTo(next))
}

/// The first token, all tokens, and the keys of those who push over ssh.
fn credentials(settings: &Settings) -> Result<(Arc<str>, TokenStore, SshKeys), DaemonError> {
    let path = settings.data_dir.join("token");
    let first = first_token::load_or_create_token(&path).map_err(|e| io_error(&path, e))?;
    let tokens = TokenStore::open(&settings.data_dir, &first)
        .map_err(|e| DaemonError::Start(e.to_string()))?;
    let ssh_keys =
        SshKeys::open(place_of_keys(settings)?).map_err(|e| DaemonError::Start(e.to_string()))?;
    Ok((first, tokens, ssh_keys))
}

/// Where the keys are of those who push over ssh.
fn place_of_keys(settings: &Settings) -> Result<ssh_keys::store::Place, DaemonError> {
    let program = reload::program::path().map_err(|e| io_error(Path::new("/proc/self/exe"), e))?;
    Ok(ssh_keys::store::Place {
        data: settings.data_dir.clone(),
        runtime: settings.runtime_dir.clone(),
        user: settings.ssh_user.clone(),
        program,
    })
}

fn listeners_of(settings: &Settings) -> usize {
    settings.listen.len() + settings.tls_listen.len() + settings.metrics_listen.len()
}

/// Answers `GET /metrics` at these listeners, if there are any.
fn serve_metrics(
    listeners: Vec<Bound>,
    api: &ApiState,
) -> Result<Option<ServerHandle>, DaemonError> {
    if listeners.is_empty() {
        return Ok(None);
    }
    let sockets = listeners.into_iter().map(|bound| bound.socket).collect();
    let served = metrics::listener::serve(sockets, api);
    let served = served.map_err(|e| DaemonError::Start(format!("metrics_listen: {e}")))?;
    Ok(Some(served))
}

/// What a server that was killed during a backup or a restore has left: applications that are paused go on, and what a
/// restore has put aside is put in place before anything of it is read.
fn backup_leftovers(settings: &Settings) {
    let paused = std::fs::read_dir(settings.runtime_dir.join("apps"));
    for entry in paused.into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some(Ok(name)) = name.to_str().map(AppName::parse) {
            let dirs = AppDirs::new(&settings.data_dir, &settings.runtime_dir, &name);
            pause::go_on(&dirs, &|| take::all_instances(&dirs));
        }
    }
    let work = settings.data_dir.join(take::WORK);
    let cleared = take::clear(&work).and_then(|()| server_files::put_in_place(&settings.data_dir));
    // A server that serves with the token that it had is better than none.
    if let Err(error) = cleared {
        log::error!("what a backup or a restore has left stays: {error}");
    }
}

/// SIGHUP: the config directory is read again.
async fn rescan_on(mut hangup: Signal, apps: ChildRef<Apps>, audit: AuditLog) {
    while hangup.recv().await.is_some() {
        log::info!("SIGHUP: the config directory is read again");
        audit.tell(Entry::of_signal("SIGHUP", jiff::Timestamp::now()));
        if let Some(apps) = apps.get() {
            apps.do_send(Rescan);
        }
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        log::warn!("systemd could not be told: {e}");
    }
}

fn io_error(path: &Path, source: std::io::Error) -> DaemonError {
    DaemonError::Io {
        path: path.to_owned(),
        source,
    }
}
