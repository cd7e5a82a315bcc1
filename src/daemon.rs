//! The composition root: builds the tree in order, waits for a signal, and takes the tree down in reverse.
//!
//! ```text
//! run ── lock, directories, token, listeners ── Root (rest_for_one) ── Router · Apps · Front
//!                                            └─ the API on the Unix socket
//! ```

mod lock;
mod root;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_rt::{Arbiter, System};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::api::state::ApiState;
use crate::api::{in_process, socket, token};
use crate::app::apps::{Apps, Rescan};
use crate::app::host::Host;
use crate::process::ports::Ports;
use crate::router::table::Table;
use crate::settings::Settings;
use crate::supervision::{ChildRef, Exit, Shutdown, monitor};

use lock::Lock;
use root::{Root, RootSpec};

/// What is true once the server serves.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The public listeners as bound: a port 0 has become a real one.
    pub listen: Vec<SocketAddr>,
    /// The Unix socket of the API.
    pub socket: PathBuf,
    /// The bearer token of the API.
    pub token: Arc<str>,
}

/// Why the server cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another server uses the data directory.
    #[error(
        "{directory} is in use by procserver with pid {pid}: stop that one, or give this one another --data-dir"
    )]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// The other's process id, as it wrote it.
        pid: String,
    },
    /// A public address cannot be listened on.
    #[error("cannot listen on {address}: {source}{hint}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
        /// What to do, with leading punctuation.
        hint: &'static str,
    },
    /// A file or directory of the server.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The runtime or a part of the tree could not be started.
    #[error("cannot start: {0}")]
    Start(String),
    /// The root supervisor gave up.
    #[error("the supervision tree ended: {0:?}")]
    Ended(Exit),
}

/// Runs the server until SIGTERM or SIGINT; `ready` is called once it serves.
///
/// # Errors
/// [`DaemonError`].
pub fn run(settings: Settings, ready: impl FnOnce(&Ready)) -> Result<(), DaemonError> {
    make_directories(&settings)?;
    let _lock = Lock::acquire(&settings.data_dir)?;
    let listeners = settings
        .listen
        .iter()
        .map(|address| bind(*address))
        .collect::<Result<Vec<_>, _>>()?;
    System::new().block_on(serve(Arc::new(settings), listeners, ready))
}

async fn serve(
    settings: Arc<Settings>,
    listeners: Vec<(SocketAddr, TcpListener)>,
    ready: impl FnOnce(&Ready),
) -> Result<(), DaemonError> {
    // Before anything runs, so that no signal is missed.
    let start = |e: std::io::Error| DaemonError::Start(e.to_string());
    let hangup = signal(SignalKind::hangup()).map_err(start)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(start)?;

    let token_path = settings.data_dir.join("token");
    let token = token::load_or_create_token(&token_path).map_err(|e| io_error(&token_path, e))?;
    let logs = Arbiter::new();
    let host = Host {
        ports: Ports::new(settings.ports.0, settings.ports.1),
        router: ChildRef::default(),
        control: Arbiter::current(),
        logs: logs.handle(),
        can_switch: nix::unistd::geteuid().is_root(),
        settings: Arc::clone(&settings),
    };
    let api = ApiState {
        apps: ChildRef::default(),
        rules: host.rules(),
        default_user: settings.default_user.clone(),
        can_switch: host.can_switch,
        token: Arc::clone(&token),
    };
    let listen = listeners.iter().map(|(address, _)| *address).collect();
    let (booted, mut is_booted) = watch::channel(false);
    let (table, _) = watch::channel(Arc::new(Table::default()));
    let spec = RootSpec {
        listeners,
        table: Arc::new(table),
        apps: api.apps.clone(),
        connector: in_process::connector(api.clone()),
        booted,
        host,
    };
    let (ended, mut exit) = watch::channel(None);
    let root = monitor::start(
        &Arbiter::current(),
        move |_, exit| Root::new(spec, exit),
        move |exit| {
            ended.send_replace(Some(exit));
        },
    );

    tokio::select! {
        booted = is_booted.wait_for(|booted| *booted) => { drop(booted); }
        exit = exit.wait_for(Option::is_some) => return Err(failed(exit)),
    }
    let path = settings.runtime_dir.join("procserver.sock");
    let unix = bind_unix(&path)?;
    actix_rt::spawn(rescan_on(hangup, api.apps.clone()));
    let server = socket::serve(unix, api).map_err(|e| io_error(&path, e))?;
    let socket_handle = server.handle();
    let socket_task = actix_rt::spawn(server);
    ready(&Ready {
        listen,
        socket: path.clone(),
        token,
    });
    notify(&[sd_notify::NotifyState::Ready]);

    let failure = tokio::select! {
        _ = terminate.recv() => { log::info!("SIGTERM: stopping"); None }
        _ = interrupt.recv() => { log::info!("SIGINT: stopping"); None }
        exit = exit.wait_for(Option::is_some) => Some(failed(exit)),
    };
    notify(&[sd_notify::NotifyState::Stopping]);
    root.addr.do_send(Shutdown);
    // It ends with its last child, or has ended already.
    let _ended = exit.wait_for(Option::is_some).await;
    socket_handle.stop(true).await;
    let _stopped = socket_task.await;
    // A socket that is gone already is as good.
    let _gone = std::fs::remove_file(&path);
    logs.stop();
    failure.map_or(Ok(()), Err)
}

/// SIGHUP: the config directory is read again.
async fn rescan_on(mut hangup: Signal, apps: ChildRef<Apps>) {
    while hangup.recv().await.is_some() {
        log::info!("SIGHUP: the config directory is read again");
        if let Some(apps) = apps.get() {
            apps.do_send(Rescan);
        }
    }
}

fn failed(exit: Result<watch::Ref<'_, Option<Exit>>, watch::error::RecvError>) -> DaemonError {
    let exit = exit.ok().and_then(|exit| exit.clone());
    DaemonError::Ended(exit.unwrap_or(Exit::Killed))
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

/// Apps' users pass through the data and runtime directories, but only root reads the documents.
fn make_directories(settings: &Settings) -> Result<(), DaemonError> {
    let data = &settings.data_dir;
    let runtime = &settings.runtime_dir;
    let all = [
        (data.clone(), 0o755),
        (data.join("apps"), 0o755),
        (runtime.clone(), 0o755),
        (runtime.join("apps"), 0o755),
        (settings.config_dir.clone(), 0o700),
    ];
    for (path, mode) in all {
        make_directory(&path, mode).map_err(|e| io_error(&path, e))?;
    }
    Ok(())
}

fn make_directory(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn bind(address: SocketAddr) -> Result<(SocketAddr, TcpListener), DaemonError> {
    let open = || -> std::io::Result<(SocketAddr, TcpListener)> {
        use socket2::{Domain, Protocol, Socket, Type};
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restart must not wait for connections of the previous server in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        let listener = TcpListener::from(socket);
        Ok((listener.local_addr()?, listener))
    };
    open().map_err(|source| DaemonError::Listen {
        address,
        hint: match source.kind() {
            std::io::ErrorKind::AddrInUse => ": another program listens there (ss -ltnp shows which); stop it, or choose another with --listen",
            std::io::ErrorKind::PermissionDenied => ": ports below 1024 need root; choose another with --listen 127.0.0.1:8080",
            _ => "",
        },
        source,
    })
}

/// A socket file of a server that died is replaced: the lock says that none lives.
fn bind_unix(path: &Path) -> Result<UnixListener, DaemonError> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error(path, e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(|e| io_error(path, e))?;
    // Everybody may knock: who may speak is decided by the credentials of the peer (`api::auth`).
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
        .map_err(|e| io_error(path, e))?;
    listener
        .set_nonblocking(true)
        .map_err(|e| io_error(path, e))?;
    Ok(listener)
}
