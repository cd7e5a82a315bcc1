//! Why a process that runs is not ready: what its port answers, and where else it listens.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::procfs;
use super::readiness::{self, Unready};
use super::spawn::MARKER;
use crate::app::config::HealthCheck;

/// A look is no further wait: it takes this long at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found of a process that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What the last check of its port met; `None`: this one went well.
    pub check: Option<Unready>,
    /// Where it, or what it has started, listens.
    pub listens: Vec<SocketAddr>,
}

/// Looks at the process with the session `pid`, which should be ready on `port`.
pub async fn diagnose(pid: u32, port: u16, health: &HealthCheck) -> Diagnosis {
    let check = readiness::check(port, health.path.as_deref(), health.timeout.min(PATIENCE));
    let listens = tokio::task::spawn_blocking(move || listening(pid));
    let (check, listens) = futures::join!(check, listens);
    Diagnosis {
        check: check.err(),
        // Without it the rest is still of use.
        listens: listens.unwrap_or_default(),
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.listens[..] {
            [] => f.write_str("it listens on no port"),
            listens => {
                let shown: Vec<_> = listens.iter().take(8).map(ToString::to_string).collect();
                write!(f, "it listens on {}", shown.join(", "))
            }
        }
    }
}

/// Where the processes of a session listen, and those that left it but carry the mark of the same instance. Blocks.
fn listening(session: u32) -> Vec<SocketAddr> {
    let mark = procfs::variable(session, MARKER).map(|value| format!("{MARKER}={value}"));
    let is_member = |pid: u32| {
        procfs::stat(pid).is_some_and(|s| s.session == session)
            || mark.as_ref().is_some_and(|m| procfs::has_variable(pid, m))
    };
    let members = procfs::pids().filter(|pid| is_member(*pid));
    let inodes: BTreeSet<u64> = members.flat_map(sockets).collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok());
    let mut found: Vec<_> = tables
        .flat_map(|table| listeners(&table, &inodes))
        .collect();
    found.sort_unstable();
    found
}

/// The inodes of the sockets that a process holds: its descriptors are links to `socket:[INODE]`.
fn sockets(pid: u32) -> Vec<u64> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let inode = |link: std::path::PathBuf| {
        let text = link.to_str()?.strip_prefix("socket:[")?;
        text.strip_suffix(']')?.parse().ok()
    };
    links.filter_map(inode).collect()
}

/// The addresses of those of `inodes` that listen, from a table as proc_pid_net(5) has them: local address in the
/// second column, state (`0A`: LISTEN) in the fourth, inode in the tenth.
fn listeners(table: &str, inodes: &BTreeSet<u64>) -> Vec<SocketAddr> {
    let read = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let inode = columns.get(9)?.parse().ok()?;
        let is_wanted = *columns.get(3)? == "0A" && inodes.contains(&inode);
        is_wanted.then(|| address(columns[1])).flatten()
    };
    table.lines().skip(1).filter_map(read).collect()
}

/// `0100007F:1F41`: the address in words of 32 bits in the machine's own order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = address.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.concat();
    let ip = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(four) => IpAddr::from(Ipv4Addr::from(four)),
        Err(_) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:1F41"), "127.0.0.1:8001".parse().ok());
            let v6 = "00000000000000000000000001000000:0050";
            assert_eq!(address(v6), "[::1]:80".parse().ok());
        }
        for garbage in [
            "",
            ":",
            "0100007F",
            "01:zz",
            "ä100007F:1F41",
            "0100007F0100007F:1",
        ] {
            assert_eq!(address(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn what_this_session_listens_on_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = procfs::stat(std::process::id()).unwrap().session;
        assert!(listening(own).contains(&listener.local_addr().unwrap()));
    }

    #[actix::test]
    async fn a_port_that_nobody_has_is_refused() {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        // No process leads session 4194304, the first number above all pids.
        let found = diagnose(4_194_304, port, &HealthCheck::default()).await;
        assert_eq!(found.check, Some(Unready::NotListening));
        assert_eq!(found.to_string(), "it listens on no port");
    }
}
