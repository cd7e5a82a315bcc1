//! Which program listens on a port, from `/proc`.

use std::fmt;
use std::fs;

use super::procfs;

/// A program that listens on a port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pid: u32,
    name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.name)
    }
}

/// The program that listens on `port`, on any address. `None` when there is none, or we may not see whose it is.
/// Blocks: it reads the descriptors of all processes.
pub(super) fn find(port: u16) -> Option<Holder> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let pid = procfs::pids().find(|pid| holds_any(*pid, &sockets))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Holder {
        pid,
        name: name.trim_end().escape_debug().to_string(),
    })
}

/// The inodes of the sockets that listen on `port`, from a table as proc_pid_net(5) has them: local address in the
/// second column, state (`0A`: LISTEN) in the fourth, inode in the tenth.
fn listeners(table: &str, port: u16) -> Vec<u64> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_ascii_whitespace().collect();
            let is_wanted = columns.get(1)?.ends_with(&suffix) && *columns.get(3)? == "0A";
            is_wanted.then(|| columns.get(9)?.parse().ok()).flatten()
        })
        .collect()
}

fn holds_any(pid: u32, sockets: &[String]) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| {
            sockets
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_and_a_free_port_has_none() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let holder = find(port).expect("found");
        assert_eq!(holder.pid, std::process::id());
        assert!(
            holder
                .to_string()
                .starts_with(&format!("pid {} (", holder.pid))
        );
        assert_eq!(find(1), None);
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
            1: 0100007F:1F41 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
            2: 0100007F:1F42 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n\
            garbage\n";
        assert_eq!(listeners(table, 8001), [111]);
    }
}
