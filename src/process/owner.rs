//! [`Owner`]: whether a socket that listens belongs to an instance, or to another program that took its port.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use super::cgroup::Cgroup;
use super::exec_spec::MARKER;
use super::listeners::Tables;
use super::port_holder::Holder;
use super::procfs;
use super::rlimit_mark::RlimitMark;
use super::running::Running;
use super::sock_diag::Listener;

/// How far up a process' parents are followed.
const GENERATIONS: usize = 64;

/// An instance as the owner of sockets: all of its processes, whichever of them listens.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    leader: u32,
    start_time: u64,
    uid: u32,
    marker: String,
    rlimit_mark: RlimitMark,
    cgroup: Option<Cgroup>,
}

impl Owner {
    /// The instance that `running` leads.
    pub(super) fn of(running: &Running) -> Self {
        Self {
            leader: running.pid(),
            start_time: running.start_time(),
            uid: running.uid(),
            marker: running.marker().to_owned(),
            rlimit_mark: RlimitMark::of(running.instance()),
            cgroup: running.cgroup().cloned(),
        }
    }

    /// The instance of a directory, which the session `leader` runs. Blocks.
    pub(super) fn of_session(leader: u32, directory: &Path) -> Self {
        let instance = directory.to_string_lossy();
        Self {
            leader,
            start_time: procfs::stat(leader).map_or(0, |stat| stat.start_time),
            uid: procfs::uid_or_own(leader),
            marker: format!("{MARKER}={instance}"),
            rlimit_mark: RlimitMark::of(&instance),
            cgroup: Cgroup::of_process(leader, &instance),
        }
    }

    /// Checks that every socket that may accept a connection to `address` is the instance's, and returns their inodes.
    /// Blocks.
    ///
    /// # Errors
    /// Another program that has such a socket; `None`: nobody listens there (any more).
    pub(super) fn verify(
        &self,
        tables: &Tables,
        address: SocketAddr,
    ) -> Result<BTreeSet<u64>, Option<Holder>> {
        if !tables.is_known() {
            // Without /proc/net nobody can tell.
            return Ok(BTreeSet::new());
        }
        let listeners = tables.accepting(address);
        if listeners.is_empty() {
            return Err(None);
        }
        let wanted: BTreeSet<u64> = listeners.iter().map(|l| l.inode).collect();
        match self.stranger_among(&listeners, wanted.clone()) {
            None => Ok(wanted),
            Some(stranger) => Err(Some(stranger)),
        }
    }

    /// Finds a program that has one of the `wanted` sockets where no process of the instance has it.
    fn stranger_among(&self, listeners: &[Listener], mut wanted: BTreeSet<u64>) -> Option<Holder> {
        let members = self.cgroup.iter().flat_map(Cgroup::members);
        for pid in std::iter::once(self.leader).chain(members) {
            if wanted.is_empty() {
                return None;
            }
            if self.is_member(pid) {
                forget_those_of(pid, &mut wanted);
            }
        }
        let mut stranger = None;
        for pid in procfs::pids() {
            if wanted.is_empty() {
                return None;
            }
            let held = procfs::sockets(pid).filter(|inode| wanted.contains(inode));
            let held: Vec<u64> = held.collect();
            match held.is_empty() {
                true => {}
                false if self.is_member(pid) => wanted.retain(|inode| !held.contains(inode)),
                false => stranger = stranger.or(Some(pid)),
            }
        }
        // A server that is not root cannot see the descriptors of other users' processes. The kernel tells the user of
        // each socket all the same.
        let unseen = |l: &&Listener| wanted.contains(&l.inode) && l.uid != self.uid;
        stranger
            .filter(|_| !wanted.is_empty())
            .map(Holder::of)
            .or_else(|| listeners.iter().find(unseen).map(|l| Holder::unseen(l.uid)))
    }

    /// Whether a process is of the instance. Session, control group and parents cannot be chosen by a stranger; marker
    /// and rlimit mark can, so that they count only for processes of the same user.
    fn is_member(&self, pid: u32) -> bool {
        let Some(stat) = procfs::stat(pid) else {
            return false;
        };
        let in_cgroup = || {
            let cgroup = self.cgroup.as_ref();
            cgroup.is_some_and(|cgroup| cgroup.members().contains(&pid))
        };
        self.has_in_session(pid, &stat)
            || in_cgroup()
            || self.is_descendant(&stat)
            || stat.start_time >= self.start_time
                && procfs::uid(pid) == Some(self.uid)
                && (self.rlimit_mark.is_on(pid) || procfs::has_variable(pid, &self.marker))
    }

    /// Whether it is in the leader's session, whose number no other session gets while it has members.
    fn has_in_session(&self, pid: u32, stat: &procfs::Stat) -> bool {
        if pid == self.leader {
            return stat.start_time == self.start_time;
        }
        let leader = procfs::stat(self.leader);
        stat.session == self.leader
            && stat.start_time >= self.start_time
            && leader.is_none_or(|leader| leader.start_time == self.start_time)
    }

    fn is_descendant(&self, stat: &procfs::Stat) -> bool {
        let mut parent = stat.parent;
        for _ in 0..GENERATIONS {
            let Some(stat) = procfs::stat(parent).filter(|_| parent > 1) else {
                return false;
            };
            if self.has_in_session(parent, &stat) {
                return true;
            }
            parent = stat.parent;
        }
        false
    }
}

fn forget_those_of(pid: u32, wanted: &mut BTreeSet<u64>) {
    for inode in procfs::sockets(pid) {
        wanted.remove(&inode);
    }
}
