//! The sockets that the server listens on.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::{DaemonError, io_error};

/// A public listener and its address as bound.
pub(super) fn bind(address: SocketAddr) -> Result<(SocketAddr, TcpListener), DaemonError> {
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
pub(super) fn bind_unix(path: &Path) -> Result<UnixListener, DaemonError> {
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
