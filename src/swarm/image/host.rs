//! Where the nodes of a swarm reach this server, and registries (pure).

use std::net::SocketAddr;

use crate::document::target_url::TargetUrl;

/// What the settings say of how this server is reached.
#[derive(Clone, Copy, Debug)]
pub struct Reached<'a> {
    /// Hosts that are the API's alone.
    pub api_hosts: &'a [String],
    /// Listeners with TLS, and without.
    pub tls_listen: &'a [SocketAddr],
    pub listen: &'a [SocketAddr],
}

impl Reached<'_> {
    /// The host and port in the references of images; `None`: nodes reach it nowhere.
    ///
    /// An engine believes a certificate that its machine trusts, and takes plain HTTP only from its own machine and from
    /// what `insecure-registries` of its daemon.json names. The port is always there: without one, an engine takes a name
    /// without dots for a part of a path at Docker's hub.
    #[must_use]
    pub fn host(self) -> Option<String> {
        // References outlive a server that listens on some port that is free.
        let is_known = |listener: &&SocketAddr| listener.port() != 0;
        let tls = self.tls_listen.iter().find(is_known).map(SocketAddr::port);
        let plain = self.listen.iter().find(is_known);
        match (self.api_hosts.first(), tls.or(plain.map(SocketAddr::port))) {
            (Some(name), Some(port)) => Some(format!("{name}:{port}")),
            (None, Some(_)) => plain.map(own),
            (_, None) => None,
        }
    }
}

/// The host and port of a registry, as references of images have them: see [`Reached::host`].
#[must_use]
pub fn of(registry: &TargetUrl) -> String {
    let usual = if registry.scheme == "http" { 80 } else { 443 };
    let port = registry.port.unwrap_or(usual);
    format!("{}:{port}", registry.host)
}

/// An address at which this machine reaches its own listener. An engine takes no IPv6 address for a host.
fn own(listener: &SocketAddr) -> String {
    let (address, port) = (listener.ip(), listener.port());
    match address.is_unspecified() || address.is_loopback() || address.is_ipv6() {
        true => format!("127.0.0.1:{port}"),
        false => format!("{address}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(names: &[&str], tls: &[&str], plain: &[&str]) -> Option<String> {
        let addresses = |all: &[&str]| -> Vec<SocketAddr> {
            all.iter().map(|address| address.parse().unwrap()).collect()
        };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Reached {
            api_hosts: &names,
            tls_listen: &addresses(tls),
            listen: &addresses(plain),
        }
        .host()
    }

    #[test]
    fn nodes_come_by_a_name_with_tls_where_there_is_one() {
        let both = (&["[::]:443"][..], &["[::]:80"][..]);
        assert_eq!(
            host(&["ps.example.org", "other"], both.0, both.1),
            Some("ps.example.org:443".into())
        );
        assert_eq!(host(&["nas"], &[], both.1), Some("nas:80".into()));
    }

    #[test]
    fn an_engine_on_this_machine_comes_by_its_own_address() {
        assert_eq!(host(&[], &[], &["[::]:80"]), Some("127.0.0.1:80".into()));
        assert_eq!(
            host(&[], &[], &["127.0.0.1:8080"]),
            Some("127.0.0.1:8080".into())
        );
        assert_eq!(
            host(&[], &[], &["10.0.0.1:8080"]),
            Some("10.0.0.1:8080".into())
        );
        assert_eq!(host(&[], &["[::]:443"], &[]), None);
        assert_eq!(host(&["a.b"], &[], &[]), None);
        assert_eq!(host(&["a.b"], &[], &["10.0.0.1:0"]), None);
        assert_eq!(host(&[], &[], &["10.0.0.1:0"]), None);
    }
}
