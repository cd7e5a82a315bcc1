//! Why a process that runs is not ready: what its port answers, and where else it listens.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::exec_spec::MARKER;
use super::listeners::Tables;
use super::owner::Owner;
use super::procfs;
use super::readiness::{self, Target, Unready};
use super::socket::SocketDirectory;
use crate::document::config::HealthCheck;

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

/// Looks at the process with the session `pid` and its own `directory`, which should be ready on `port`.
pub async fn diagnose(pid: u32, directory: PathBuf, port: u16, health: &HealthCheck) -> Diagnosis {
    let health = HealthCheck {
        timeout: health.timeout.min(PATIENCE),
        ..health.clone()
    };
    let looked = tokio::task::spawn_blocking(move || {
        let owner = Owner::of_session(pid, &directory);
        let socket = SocketDirectory::of(&directory);
        let target = Target {
            port,
            socket,
            owner,
        };
        (target, listening(pid))
    });
    let (check, listens) = match looked.await {
        Ok((target, listens)) => (readiness::check(&target, &health).await.err(), Ok(listens)),
        Err(error) => (Some(Unready::NotListening), Err(error)),
    };
    Diagnosis {
        check,
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
    // Everybody can give that mark to his own processes.
    let user = procfs::uid(session);
    let is_marked = |pid: u32| {
        mark.as_ref().is_some_and(|m| procfs::has_variable(pid, m)) && procfs::uid(pid) == user
    };
    let is_member =
        |pid: u32| procfs::stat(pid).is_some_and(|s| s.session == session) || is_marked(pid);
    let members = procfs::pids().filter(|pid| is_member(*pid));
    let inodes: BTreeSet<u64> = members.flat_map(procfs::sockets).collect();
    let tables = Tables::read();
    let own = tables.listeners().filter(|l| inodes.contains(&l.inode));
    let mut found: Vec<_> = own.map(|l| l.address).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

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
        let found = diagnose(4_194_304, PathBuf::new(), port, &HealthCheck::default()).await;
        assert_eq!(found.check, Some(Unready::NotListening));
        assert_eq!(found.to_string(), "it listens on no port");
    }
}
