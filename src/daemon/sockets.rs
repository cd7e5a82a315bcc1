//! The sockets that the server listens on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

use super::DaemonError;
use crate::account::API_GROUP;
use crate::front::kept::{BACKLOG, Kept, Owner};
use crate::front::listener::Bound;
use crate::settings::Settings;
use crate::ssh_keys::user::SshUser;
use crate::tls::server_config::Tls;
use crate::tls::store::Published;

/// Which setting names an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Listen,
    Tls,
    Metrics,
}

/// All addresses of the settings.
fn addresses(settings: &Settings) -> impl Iterator<Item = (SocketAddr, Setting)> {
    let of = |all: &[SocketAddr], setting| {
        let all = all.iter().map(move |address| (*address, setting));
        all.collect::<Vec<_>>()
    };
    let plain = of(&settings.listen, Setting::Listen);
    let secure = of(&settings.tls_listen, Setting::Tls);
    let metrics = of(&settings.metrics_listen, Setting::Metrics);
    plain.into_iter().chain(secure).chain(metrics)
}

/// Binds the public listeners, and those for metrics, as far as they are not kept yet; those of `tls_listen` shake
/// hands with the certificates that are published.
pub(super) fn bind_all(
    settings: &Settings,
    published: &Published,
    kept: &Kept,
) -> Result<(Vec<Bound>, Vec<Bound>), DaemonError> {
    let all = || addresses(settings).map(|(address, _)| address);
    let has_ipv4 = |port| all().any(|other: SocketAddr| other.is_ipv4() && other.port() == port);
    let bind = |address: &SocketAddr, setting, tls: Option<Tls>| {
        // `[::]` takes IPv4 too, unless there is a socket for IPv4 beside it.
        let only_v6 = address.port() != 0 && has_ipv4(address.port());
        bind(*address, setting, only_v6, tls, kept)
    };
    let metrics = settings.metrics_listen.iter();
    let metrics = metrics.map(|address| bind(address, Setting::Metrics, None));
    let metrics = metrics.collect::<Result<_, _>>()?;
    let plain = settings.listen.iter();
    let plain = plain.map(|address| bind(address, Setting::Listen, None));
    if settings.tls_listen.is_empty() {
        return Ok((plain.collect::<Result<_, _>>()?, metrics));
    }
    let certificates = published.certificates.subscribe();
    let tls = Tls::new(certificates, settings.tls.min_version)
        .map_err(|error| DaemonError::Start(format!("TLS: {error}")))?;
    let secure = settings.tls_listen.iter();
    let secure = secure.map(|address| bind(address, Setting::Tls, Some(tls.clone())));
    Ok((plain.chain(secure).collect::<Result<_, _>>()?, metrics))
}

fn bind(
    address: SocketAddr,
    setting: Setting,
    only_v6: bool,
    tls: Option<Tls>,
    kept: &Kept,
) -> Result<Bound, DaemonError> {
    let open = |address| kept.tcp(Owner::Server, address, only_v6, || open(address, only_v6));
    let bound = on_this_machine(address, only_v6, open);
    let bound = bound.and_then(|socket| {
        Ok(Bound {
            address: socket.local_addr()?,
            socket,
            tls,
        })
    });
    bound.map_err(|source| not_bound(address, setting, source))
}

/// Whether all listeners could be bound, but for those with `ports` that are held already. None of them listens.
pub(super) fn could_be_bound(settings: &Settings, ports: &[u16]) -> Result<(), DaemonError> {
    let is_new = |(address, _): &(SocketAddr, Setting)| !ports.contains(&address.port());
    for (address, setting) in addresses(settings).filter(is_new) {
        // With IPv4 or without is tried by the server itself.
        let tried = on_this_machine(address, false, |address| bound(address, true));
        tried.map_err(|source| not_bound(address, setting, source))?;
    }
    Ok(())
}

fn not_bound(address: SocketAddr, setting: Setting, source: io::Error) -> DaemonError {
    DaemonError::Listen {
        address,
        hint: match source.kind() {
            io::ErrorKind::AddrInUse => match setting {
                Setting::Listen => {
                    ": another program listens there (ss -ltnp shows which); stop it, or choose another with --listen"
                }
                Setting::Tls => {
                    ": another program listens there (ss -ltnp shows which); stop it, or choose another with --tls-listen"
                }
                Setting::Metrics => {
                    ": another program listens there (ss -ltnp shows which); stop it, or choose another with --metrics-listen"
                }
            },
            io::ErrorKind::PermissionDenied => {
                ": ports below 1024 need root; choose another with --listen 127.0.0.1:8080"
            }
            _ => "",
        },
        source,
    }
}

/// Opens `address`, or all of IPv4 in place of `[::]` where the kernel has no IPv6 (`ipv6.disable=1`).
fn on_this_machine<T>(
    address: SocketAddr,
    only_v6: bool,
    open: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    const NO_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    match open(address) {
        Err(error)
            if error.raw_os_error() == Some(NO_FAMILY)
                && address.is_ipv6()
                && address.ip().is_unspecified()
                && !only_v6 =>
        {
            let instead = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            log::warn!(
                "{address}: there is no IPv6 on this machine: listening on {instead} instead"
            );
            open(instead)
        }
        result => result,
    }
}

fn open(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = bound(address, only_v6)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(only_v6)?;
    }
    // A restart must not wait for connections of the previous server in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Binds the socket and replaces the file that a dead server left: the lock proves that no other server lives.
pub(super) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // The umask leaves it to its owner: only they can write to it, which connecting is (unix(7)).
    let listener = UnixListener::bind(path)?;
    let mode = if is_given_to_group(path) {
        0o660
    } else {
        0o600
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Binds the socket of git over ssh, to which the user of ssh may write.
pub(super) fn bind_for(path: &Path, user: SshUser) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // The umask leaves it to its owner.
    let listener = UnixListener::bind(path)?;
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(path, None, Some(user.gid))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Gives the socket to group `procserver`. Where there is none, or this user is not in it, it stays its owner's.
fn is_given_to_group(path: &Path) -> bool {
    let group = nix::unistd::Group::from_name(API_GROUP).ok().flatten();
    let given = group.map(|group| std::os::unix::fs::chown(path, None, Some(group.gid.as_raw())));
    matches!(given, Some(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::skip;

    #[test]
    fn a_machine_without_ipv6_listens_on_ipv4() {
        let no_ipv6 = |address: SocketAddr| match address.is_ipv6() {
            true => Err(rustix::io::Errno::AFNOSUPPORT.into()),
            false => Ok(address.to_string()),
        };
        let at = |text: &str| on_this_machine(text.parse().unwrap(), false, no_ipv6);
        assert_eq!(at("[::]:80").unwrap(), "0.0.0.0:80");
        assert_eq!(at("127.0.0.1:80").unwrap(), "127.0.0.1:80");
        // Nobody else's address takes the place of the one that was named.
        at("[::1]:80").unwrap_err();
        let beside = on_this_machine("[::]:80".parse().unwrap(), true, no_ipv6);
        beside.unwrap_err();
        let taken = |_| Err::<(), _>(rustix::io::Errno::ADDRINUSE.into());
        let error = on_this_machine("[::]:80".parse().unwrap(), false, taken).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn both_families_reach_one_socket_or_one_each() {
        let both = match open("[::]:0".parse().unwrap(), false) {
            Ok(both) => both,
            Err(error) => return skip("both families reach one socket", &error.to_string()),
        };
        let port = both.local_addr().unwrap().port();
        let reaches = |address: &str| std::net::TcpStream::connect((address, port)).is_ok();
        assert!(reaches("127.0.0.1"));
        drop(both);
        let v6 = open(format!("[::]:{port}").parse().unwrap(), true).unwrap();
        assert!(!reaches("127.0.0.1"));
        let v4 = open(format!("0.0.0.0:{port}").parse().unwrap(), true).unwrap();
        assert!(reaches("127.0.0.1") && reaches("::1"));
        drop((v4, v6));
    }
}
