//! Which program listens on a port, from `/proc`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use super::listeners::Tables;
use super::procfs;

/// A program that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process and its name, where we may see which one it is.
    process: Option<Program>,
    user: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    pid: u32,
    name: String,
}

impl Holder {
    /// A process, which may be gone by now.
    pub(super) fn of(pid: u32) -> Self {
        Self {
            process: Some(Program {
                pid,
                name: program_name(pid).unwrap_or_else(|| "?".to_owned()),
            }),
            user: procfs::uid(pid).map_or_else(|| "?".to_owned(), user_name),
        }
    }

    /// The process id, where we may see it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|program| program.pid)
    }

    /// One of which no more is known than whose it is.
    pub(super) fn unseen(uid: u32) -> Self {
        Self {
            process: None,
            user: user_name(uid),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(Program { pid, name }) => write!(f, "pid {pid} ({name}) of user {}", self.user),
            None => write!(f, "a program of user {}", self.user),
        }
    }
}

/// The program that listens on `port`, on any address; `None` when there is none. Blocks: it reads the descriptors of
/// all processes.
#[must_use]
pub fn find(port: u16) -> Option<Holder> {
    let tables = Tables::read();
    let inodes: BTreeSet<u64> = tables.on(port).iter().map(|l| l.inode).collect();
    let first = tables.on(port).first()?;
    let mut pids = procfs::pids();
    let holder = pids.find(|pid| procfs::sockets(*pid).any(|inode| inodes.contains(&inode)));
    holder
        .map(Holder::of)
        .or_else(|| Some(Holder::unseen(first.uid)))
}

/// The name of a user, or the number of one that has none. Blocks.
fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    match user {
        Ok(Some(user)) => user.name.escape_debug().to_string(),
        _ => format!("uid {uid}"),
    }
}

/// The name that a process gave itself.
fn program_name(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let name = String::from_utf8_lossy(&name);
    Some(name.trim_end().escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_and_a_free_port_has_none() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let holder = find(port).expect("found").to_string();
        let own = format!("pid {} (", std::process::id());
        assert!(holder.starts_with(&own), "{holder}");
        assert!(holder.contains(") of user "), "{holder}");
        assert_eq!(find(1), None);
    }
}
