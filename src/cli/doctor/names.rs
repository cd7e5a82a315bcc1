//! Whether the `hosts` of applications lead to this machine, as far as it can be known from here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::thread;

use serde_json::Value;

use super::bounded;
use super::report::Finding;
use super::running::Running;
use crate::app::config_dir;
use crate::document::config::Rules;
use crate::settings::Settings;

/// Names that are looked up at the most: each takes a thread for a moment.
const MOST: usize = 64;

/// What a wildcard is looked up with.
const LABEL: &str = "procserver-doctor";

/// What a look-up gave; `None`: it took too long.
type LookedUp = Option<Result<Vec<(IpAddr, bool)>, String>>;

#[must_use]
pub fn checks(settings: &Settings, running: Option<&Running>) -> Vec<Finding> {
    let hosts = match running {
        Some(Running::Answers { routes, .. }) => of_routes(routes),
        // Nobody can be asked: then its files are the only source.
        _ => match of_documents(settings) {
            Some(hosts) => hosts,
            None => {
                return vec![Finding::unseen(
                    "hosts of applications",
                    format!("{} cannot be read", settings.config_dir.display()),
                    "run \"sudo procserver doctor\"",
                )];
            }
        },
    };
    let looked = hosts.keys().take(MOST).cloned().map(|host| {
        let name = host.replacen('*', LABEL, 1);
        (
            host,
            thread::spawn(move || bounded::work(move || look_up(&name))),
        )
    });
    let looked: Vec<_> = looked.collect();
    let mut found: Vec<Finding> = looked
        .into_iter()
        .map(|(host, thread)| judge(&host, &hosts[&host], &thread.join().unwrap_or(None)))
        .collect();
    if hosts.len() > MOST {
        let rest = format!("{} more are not looked up", hosts.len() - MOST);
        found.push(Finding::unseen(
            "hosts of applications",
            rest,
            "\"procserver domains NAME\" lists them",
        ));
    }
    found
}

/// Host → application.
fn of_routes(routes: &Value) -> BTreeMap<String, String> {
    let mut hosts = BTreeMap::new();
    for route in routes.as_array().into_iter().flatten() {
        let app = route["app"].as_str().unwrap_or_default();
        for host in route["hosts"].as_array().into_iter().flatten() {
            let name = host.as_str().or_else(|| host["name"].as_str());
            hosts.extend(name.map(|name| (name.to_owned(), app.to_owned())));
        }
    }
    hosts
}

fn of_documents(settings: &Settings) -> Option<BTreeMap<String, String>> {
    let rules = Rules {
        allow_root_apps: true,
        allow_file_repos: true,
        has_swarm: true,
    };
    if !settings.config_dir.exists() {
        return Some(BTreeMap::new());
    }
    let mut hosts = BTreeMap::new();
    for document in config_dir::look(&settings.config_dir, &rules).ok()? {
        let Ok(config) = document.config else {
            continue;
        };
        for host in &config.hosts {
            hosts.insert(host.name.to_string(), config.name.to_string());
        }
    }
    Some(hosts)
}

/// The addresses of a name, each with whether it is one of this machine's. Blocks.
fn look_up(name: &str) -> Result<Vec<(IpAddr, bool)>, String> {
    let found = (name, 80).to_socket_addrs().map_err(|e| e.to_string())?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses.into_iter().map(|a| (a, is_own(a))).collect())
}

/// Whether an address is one of this machine's: to itself the kernel sends from that very address. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(SocketAddr::new(address, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

fn judge(host: &str, app: &str, looked: &LookedUp) -> Finding {
    let check = format!("{host} of {app}");
    let set = "set an A or AAAA record for it that leads here";
    match looked {
        None => Finding::unseen(
            check,
            "the look-up took too long",
            "look at /etc/resolv.conf",
        ),
        Some(Err(why)) => Finding::warning(check, format!("it has no address here ({why})"), set),
        Some(Ok(addresses)) if addresses.is_empty() => {
            Finding::warning(check, "it has no address", set)
        }
        Some(Ok(addresses)) => {
            let list = |all: Vec<&(IpAddr, bool)>| {
                let all: Vec<_> = all.iter().map(|(address, _)| address.to_string()).collect();
                all.join(" ")
            };
            let foreign: Vec<_> = addresses.iter().filter(|(_, own)| !own).collect();
            if foreign.is_empty() {
                let own = list(addresses.iter().collect());
                return Finding::good(check, format!("it leads here ({own})"));
            }
            Finding::warning(
                check,
                format!(
                    "it leads to {}, which is no address of this machine",
                    list(foreign)
                ),
                "behind a router (NAT) or a balancer that is as it should be, if that sends ports 80 and 443 here; else \
                 correct its A and AAAA records",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Level;
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_told_from_others() {
        assert!(is_own([127, 0, 0, 1].into()));
        // TEST-NET-1 (RFC 5737) is nobody's.
        assert!(!is_own([192, 0, 2, 1].into()));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_a_warning_that_knows_of_nat() {
        let here = || (IpAddr::from([127, 0, 0, 1]), true);
        let there = || (IpAddr::from([192, 0, 2, 1]), false);
        let judged = |looked: LookedUp| judge("a.b", "app", &looked);
        assert_eq!(judged(Some(Ok(vec![here()]))).level, Level::Ok);
        let half = judged(Some(Ok(vec![here(), there()])));
        assert_eq!(half.level, Level::Warning);
        assert!(half.line().contains("192.0.2.1") && half.line().contains("NAT"));
        assert!(!half.found.contains("127.0.0.1"), "{half:?}");
        assert_eq!(judged(Some(Err("no".into()))).level, Level::Warning);
        assert_eq!(judged(Some(Ok(vec![]))).level, Level::Warning);
        assert_eq!(judged(None).level, Level::Unseen);
    }

    #[test]
    fn hosts_come_from_routes_of_both_forms() {
        let routes = json!([{"app": "a", "hosts": ["x.y", {"name": "ws.y", "process": "cable"}]}]);
        let hosts = of_routes(&routes);
        assert_eq!(hosts.len(), 2);
        assert_eq!(hosts["ws.y"], "a");
    }
}
