//! Which sockets listen on this machine. The kernel tells by sock_diag(7), or, where that is missing, by the tables of
//! proc_pid_net(5).

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::sock_diag::{self, Listener};

/// `LISTEN`, as the fourth column has it.
const LISTEN: &str = "0A";

/// All TCP sockets of one moment that listen, by port.
#[derive(Debug, Default)]
pub(super) struct Tables {
    listeners: HashMap<u16, Vec<Listener>>,
    is_known: bool,
}

/// Tables of all TCP sockets.
const FILES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The tables that were read last, and when.
static LAST: Mutex<Option<(Instant, Arc<Tables>)>> = Mutex::new(None);

impl Tables {
    pub(super) fn read() -> Arc<Self> {
        Self::recent(Duration::ZERO)
    }

    /// Returns the tables that were read within `age`, else reads new ones: a thousand processes that are checked in
    /// each second cost one reading. Blocks.
    pub(super) fn recent(age: Duration) -> Arc<Self> {
        // The reading that this waits for is new enough.
        let asked = Instant::now();
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((read, tables)) if *read + age >= asked => Arc::clone(tables),
            _ => {
                let (begun, tables) = (Instant::now(), Arc::new(Self::read_now()));
                *last = Some((begun, Arc::clone(&tables)));
                tables
            }
        }
    }

    /// Like [`Tables::recent`], but `None` where it would have to wait.
    pub(super) fn at_hand(age: Duration) -> Option<Arc<Self>> {
        let last = LAST.try_lock().ok()?;
        let (read, tables) = last.as_ref()?;
        (read.elapsed() <= age).then(|| Arc::clone(tables))
    }

    fn read_now() -> Self {
        if let Ok(listeners) = sock_diag::listeners() {
            return Self::of(listeners);
        }
        let files = files();
        Self {
            is_known: !files.is_empty(),
            ..Self::parse(&files)
        }
    }

    fn parse(files: &[String]) -> Self {
        let sockets = files.iter().flat_map(|file| sockets(file));
        let listening = sockets.filter(|(is_listening, _)| *is_listening);
        Self::of(listening.map(|(_, socket)| socket))
    }

    fn of(sockets: impl IntoIterator<Item = Listener>) -> Self {
        let mut listeners: HashMap<u16, Vec<Listener>> = HashMap::new();
        for socket in sockets {
            let port = socket.address.port();
            listeners.entry(port).or_default().push(socket);
        }
        Self {
            listeners,
            is_known: true,
        }
    }

    /// Whether there are such tables here at all.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.values().flatten()
    }

    /// What listens on `port`, on any address.
    pub(super) fn on(&self, port: u16) -> &[Listener] {
        self.listeners.get(&port).map_or(&[], Vec::as_slice)
    }

    /// The sockets that may be given a connection to `address`.
    pub(super) fn accepting(&self, address: SocketAddr) -> Vec<Listener> {
        let of = |is_wanted: &dyn Fn(IpAddr) -> bool| -> Vec<Listener> {
            let on = self.on(address.port()).iter();
            on.filter(|l| is_wanted(l.address.ip())).copied().collect()
        };
        let is_wildcard = |ip: IpAddr| ip.is_ipv4() == address.is_ipv4() && ip.is_unspecified();
        let found = of(&|ip| ip.to_canonical() == address.ip() || is_wildcard(ip));
        if !found.is_empty() || address.is_ipv6() {
            return found;
        }
        // A socket on [::] takes IPv4 too, unless it was told not to; then another one on 0.0.0.0 would be here.
        of(&|ip| ip == IpAddr::from(Ipv6Addr::UNSPECIFIED))
    }
}

fn files() -> Vec<String> {
    let texts = FILES.iter().map(fs::read_to_string);
    texts.filter_map(Result::ok).collect()
}

/// Whether there is a connection to or from `port`, including one that has just ended (TIME_WAIT). Blocks: the kernel
/// writes a line for each connection.
pub(super) fn has_connection(port: u16) -> bool {
    files().iter().any(|file| is_connected(port, file))
}

fn is_connected(port: u16, file: &str) -> bool {
    sockets(file).any(|(is_listening, socket)| !is_listening && socket.address.port() == port)
}

/// Each socket of a table: local address in the second column, state in the fourth, user in the eighth, inode in the
/// tenth.
fn sockets(table: &str) -> impl Iterator<Item = (bool, Listener)> + '_ {
    table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let address = address(columns.nth(1)?)?;
        let is_listening = columns.nth(1)? == LISTEN;
        let uid = columns.nth(3)?.parse().ok()?;
        let inode = columns.nth(1)?.parse().ok()?;
        let socket = Listener {
            address,
            uid,
            inode,
        };
        Some((is_listening, socket))
    })
}

/// `0100007F:1F41`: the address in words of 32 bits in the machine's own order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| -> Option<[u8; 4]> {
        let digits = address.get(8 * at..8 * at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn table(lines: &[&str]) -> Tables {
        Tables::parse(&[format!("{HEAD}{}\n", lines.join("\n"))])
    }

    fn line(local: &str, state: &str, uid: u32, inode: u64) -> String {
        format!(
            "0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1"
        )
    }

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
    fn listeners_and_connections_are_told_apart() {
        let lines = [
            line("0100007F:1F41", "0A", 33, 111),
            line("0100007F:1F41", "01", 0, 222),
            line("0100007F:1F42", "06", 0, 0),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let found = table(&[&lines[..], &["garbage"]].concat());
        let on: Vec<_> = found.on(8001).iter().map(|l| (l.uid, l.inode)).collect();
        assert_eq!(on, [(33, 111)]);
        assert!(found.on(8002).is_empty());
        let file = format!("{HEAD}{}\n", lines.join("\n"));
        assert!(is_connected(8002, &file) && !is_connected(8003, &file));
    }

    #[test]
    fn who_may_get_a_connection_is_who_the_kernel_would_choose_from() {
        let (any, any6) = ("00000000:1F41", "00000000000000000000000000000000:1F41");
        let one6 = "00000000000000000000000001000000:1F41";
        let all = [
            line("0100007F:1F41", "0A", 1, 1),
            line(any, "0A", 2, 2),
            line(any6, "0A", 3, 3),
            line(one6, "0A", 4, 4),
            line("0200007F:1F41", "0A", 5, 5),
        ];
        let accepting = |lines: &[usize], to: &str| {
            let lines: Vec<&str> = lines.iter().map(|at| all[*at - 1].as_str()).collect();
            let found = table(&lines).accepting(to.parse().unwrap());
            found.iter().map(|l| l.inode).collect::<Vec<_>>()
        };
        if cfg!(target_endian = "little") {
            assert_eq!(accepting(&[1, 2, 3, 4, 5], "127.0.0.1:8001"), [1, 2]);
            assert_eq!(accepting(&[1, 2, 3, 4, 5], "[::1]:8001"), [3, 4]);
            assert_eq!(accepting(&[3, 4, 5], "127.0.0.1:8001"), [3]);
            assert!(accepting(&[1, 2], "[::1]:8001").is_empty());
        }
    }

    #[test]
    fn an_own_listener_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let bound = listener.local_addr().expect("address");
        let tables = Tables::read();
        let found = tables.accepting(bound);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].uid, nix::unistd::geteuid().as_raw());
        drop(listener);
        assert_eq!(Tables::read().accepting(bound), []);
    }
}
