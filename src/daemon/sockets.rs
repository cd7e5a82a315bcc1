//! The sockets that the server listens on.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::{DaemonError, io_error};
use crate::api::auth::GROUP;
use crate::front::listener::Bound;
use crate::settings::Settings;
use crate::tls::server_config::Tls;
use crate::tls::store::Published;

/// Binds the public listeners; those of `tls_listen` shake hands with the certificates that are published.
pub(super) fn bind_all(
    settings: &Settings,
    published: &Published,
) -> Result<Vec<Bound>, DaemonError> {
    let plain = settings.listen.iter().map(|address| bind(*address, None));
    if settings.tls_listen.is_empty() {
        return plain.collect();
    }
    let certificates = published.certificates.subscribe();
    let tls = Tls::new(certificates, settings.tls.min_version)
        .map_err(|error| DaemonError::Start(format!("TLS: {error}")))?;
    let secure = settings.tls_listen.iter();
    let secure = secure.map(|address| bind(*address, Some(tls.clone())));
    plain.chain(secure).collect()
}

fn bind(address: SocketAddr, tls: Option<Tls>) -> Result<Bound, DaemonError> {
    let is_secure = tls.is_some();
    let open = move || -> std::io::Result<Bound> {
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
        let socket = TcpListener::from(socket);
        Ok(Bound {
            address: socket.local_addr()?,
            socket,
            tls,
        })
    };
    open().map_err(|source| DaemonError::Listen {
        address,
        hint: match source.kind() {
            std::io::ErrorKind::AddrInUse if is_secure => ": another program listens there (ss -ltnp shows which); stop it, or choose another with --tls-listen",
            std::io::ErrorKind::AddrInUse => ": another program listens there (ss -ltnp shows which); stop it, or choose another with --listen",
            std::io::ErrorKind::PermissionDenied => ": ports below 1024 need root; choose another with --listen 127.0.0.1:8080",
            _ => "",
        },
        source,
    })
}

/// Binds the socket and replaces the file that a dead server left: the lock proves that no other server lives.
pub(super) fn bind_unix(path: &Path) -> Result<UnixListener, DaemonError> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error(path, e)),
        _ => {}
    }
    // The umask leaves it to its owner: only they can write to it, which connecting is (unix(7)).
    let listener = UnixListener::bind(path).map_err(|e| io_error(path, e))?;
    let mode = if is_given_to_group(path) {
        0o660
    } else {
        0o600
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|e| io_error(path, e))?;
    listener
        .set_nonblocking(true)
        .map_err(|e| io_error(path, e))?;
    Ok(listener)
}

/// Gives the socket to group `procserver`. Where there is none, or this user is not in it, it stays its owner's.
fn is_given_to_group(path: &Path) -> bool {
    let group = nix::unistd::Group::from_name(GROUP).ok().flatten();
    let given = group.map(|group| std::os::unix::fs::chown(path, None, Some(group.gid.as_raw())));
    matches!(given, Some(Ok(())))
}
