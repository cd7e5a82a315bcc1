//! [`Kept`]: the listening sockets that outlive this server.
//!
//! A client that connects while one server has ended and the next has not begun waits in the queue of a socket that
//! somebody holds open: systemd, which is given a copy of each (`FDSTORE=1`, sd_notify(3)), or this process over an
//! execve(2). The next server takes a socket for what it is bound to, as the kernel says it, and not for its name.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use socket2::SockRef;

/// Connections that the kernel makes before they are accepted.
pub const BACKLOG: i32 = 1024;

/// Whose socket it is. Only one of the settings may have been bound to port 0 and be known by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The settings name it.
    Server,
    /// An application has the port.
    App,
}

/// What whoever keeps copies is told.
#[derive(Debug)]
pub enum Told<'a> {
    /// There is a new socket.
    Keep(&'a str, BorrowedFd<'a>),
    /// One is wanted no more.
    Forget(&'a str),
}

type Tell = Box<dyn Fn(Told<'_>) + Send>;

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// One socket.
#[derive(Debug)]
struct Entry {
    name: String,
    socket: Listener,
    /// Who asked for it in this server; nobody did yet for one that was handed over.
    owner: Option<Owner>,
}

impl Entry {
    fn tcp(&self) -> Option<&TcpListener> {
        match &self.socket {
            Listener::Tcp(socket) => Some(socket),
            Listener::Unix(_) => None,
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok()
    }

    fn is_at(&self, address: SocketAddr, only_v6: bool) -> bool {
        self.address() == Some(address) && self.serves_family(address, only_v6)
    }

    /// `[::]` with IPv4 and without are two different sockets, and none can become the other once it is bound.
    fn serves_family(&self, address: SocketAddr, only_v6: bool) -> bool {
        let is_only_v6 = |socket| SockRef::from(socket).only_v6().ok() == Some(only_v6);
        !(address.is_ipv6() && address.ip().is_unspecified()) || self.tcp().is_some_and(is_only_v6)
    }
}

/// The listening sockets that outlive this server. Clones are of the same ones.
#[derive(Clone)]
pub struct Kept(Arc<Mutex<State>>);

struct State {
    entries: Vec<Entry>,
    tell: Tell,
}

impl Default for Kept {
    /// Nothing was handed over, and nobody is told.
    fn default() -> Self {
        Self::new(Vec::new(), |_| {})
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.state().entries).finish()
    }
}

impl Kept {
    /// Begins with what was handed over, each with its name. `tell` hears of changes.
    #[must_use]
    pub fn new(
        handed_over: Vec<(String, Listener)>,
        tell: impl Fn(Told<'_>) + Send + 'static,
    ) -> Self {
        let entries = handed_over.into_iter();
        let entries = entries.map(|(name, socket)| Entry {
            name,
            socket,
            owner: None,
        });
        Self(Arc::new(Mutex::new(State {
            entries: entries.collect(),
            tell: Box::new(tell),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The socket that listens on `address`: the one that is there, else what `open` makes. Blocks no longer than that.
    ///
    /// # Errors
    /// Those of `open`; no descriptor is left.
    pub fn tcp(
        &self,
        owner: Owner,
        address: SocketAddr,
        only_v6: bool,
        open: impl FnOnce() -> io::Result<TcpListener>,
    ) -> io::Result<TcpListener> {
        let mut state = self.state();
        let found = state.find(owner, address, only_v6);
        if let Some(entry) = found.map(|at| &mut state.entries[at])
            && let Some(socket) = entry.tcp()
        {
            let socket = socket.try_clone()?;
            SockRef::from(&socket).listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            entry.owner = Some(owner);
            return Ok(socket);
        }
        state.make_room(address);
        let socket = open()?;
        let copy = Listener::Tcp(socket.try_clone()?);
        let name = name(owner, socket.local_addr()?);
        state.add(name, copy, owner);
        Ok(socket)
    }

    /// The socket at `path`: the one that was handed over if `is_there` says that its file still is, else what `open`
    /// makes.
    ///
    /// # Errors
    /// Those of `open`; no descriptor is left.
    pub fn unix(
        &self,
        path: &Path,
        is_there: impl Fn(&UnixListener) -> bool,
        open: impl FnOnce() -> io::Result<UnixListener>,
    ) -> io::Result<UnixListener> {
        let mut state = self.state();
        let mut found = None;
        while let Some(at) = state.entries.iter().position(|entry| entry.tcp().is_none()) {
            // One of another path, one whose file is gone, or one that was served until that was seen.
            let entry = state.entries.remove(at);
            match &entry.socket {
                Listener::Unix(socket)
                    if entry.owner.is_none() && entry.is_of(path) && is_there(socket) =>
                {
                    found = Some(Entry {
                        owner: Some(Owner::Server),
                        socket: Listener::Unix(socket.try_clone()?),
                        name: entry.name,
                    });
                }
                _ => (state.tell)(Told::Forget(&entry.name)),
            }
        }
        if let Some(entry) = found
            && let Listener::Unix(socket) = &entry.socket
        {
            let socket = socket.try_clone()?;
            socket.set_nonblocking(true)?;
            state.entries.push(entry);
            return Ok(socket);
        }
        let socket = open()?;
        let copy = Listener::Unix(socket.try_clone()?);
        state.add("api".to_owned(), copy, Owner::Server);
        Ok(socket)
    }

    /// Closes what nobody wants: sockets that no setting names any more, and those of ports that no application has.
    pub fn keep_only(&self, is_named: impl Fn(u16) -> bool) {
        let is_unwanted = |entry: &Entry| match entry.owner {
            Some(Owner::Server) => false,
            Some(Owner::App) => !entry.address().is_some_and(|a| is_named(a.port())),
            // The Unix socket is asked for at another time.
            None => entry.tcp().is_some(),
        };
        let mut state = self.state();
        while let Some(at) = state.entries.iter().position(is_unwanted) {
            state.forget(at);
        }
    }

    /// Closes all, and leaves the copies to whoever has some.
    pub fn close(&self) {
        self.state().entries.clear();
    }

    /// The TCP ports of all of them.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let state = self.state();
        let addresses = state.entries.iter().filter_map(Entry::address);
        addresses.map(|address| address.port()).collect()
    }

    /// All of them, each with its name.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn all(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let state = self.state();
        let copy = |entry: &Entry| {
            let socket = entry.socket.as_fd().try_clone_to_owned()?;
            Ok((entry.name.clone(), socket))
        };
        state.entries.iter().map(copy).collect()
    }
}

impl Entry {
    fn is_of(&self, path: &Path) -> bool {
        let Listener::Unix(socket) = &self.socket else {
            return false;
        };
        let address = socket.local_addr();
        address.is_ok_and(|address| address.as_pathname() == Some(path))
    }
}

impl State {
    /// A port 0 is any that nobody asked for: the one that the server before was given.
    fn find(&self, owner: Owner, address: SocketAddr, only_v6: bool) -> Option<usize> {
        let is_it = |entry: &Entry| match address.port() {
            0 => {
                let bound = entry.address().map(|bound| bound.ip());
                let is_own = owner == Owner::Server && entry.name.starts_with(prefix(owner));
                is_own
                    && entry.owner.is_none()
                    && bound == Some(address.ip())
                    && entry.serves_family(address, only_v6)
            }
            _ => entry.is_at(address, only_v6),
        };
        self.entries.iter().position(is_it)
    }

    /// Closes what was handed over and would be in the way: `[::]` that takes IPv4, too, say.
    fn make_room(&mut self, address: SocketAddr) {
        let is_in_the_way = |entry: &Entry| {
            let overlaps = |bound: SocketAddr| {
                let (one, other) = (bound.ip(), address.ip());
                let share = one == other || one.is_unspecified() || other.is_unspecified();
                bound.port() == address.port() && share
            };
            entry.owner.is_none() && entry.address().is_some_and(overlaps)
        };
        while let Some(at) = self.entries.iter().position(is_in_the_way) {
            self.forget(at);
        }
    }

    fn add(&mut self, name: String, socket: Listener, owner: Owner) {
        (self.tell)(Told::Keep(&name, socket.as_fd()));
        self.entries.push(Entry {
            name,
            socket,
            owner: Some(owner),
        });
    }

    fn forget(&mut self, at: usize) {
        let entry = self.entries.remove(at);
        (self.tell)(Told::Forget(&entry.name));
    }
}

fn prefix(owner: Owner) -> &'static str {
    match owner {
        Owner::Server => "listen-",
        Owner::App => "app-",
    }
}

/// A name that no other socket has. A colon would end it (sd_notify(3), `FDNAME`).
fn name(owner: Owner, address: SocketAddr) -> String {
    let address = address.to_string().replace(':', ".");
    format!("{}{address}", prefix(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(address: &str) -> TcpListener {
        TcpListener::bind(address).unwrap()
    }

    fn handed_over(name: &str, socket: &TcpListener) -> (String, Listener) {
        let copy = socket.try_clone().unwrap();
        (name.to_owned(), Listener::Tcp(copy))
    }

    fn never() -> io::Result<TcpListener> {
        panic!("it is there")
    }

    #[test]
    fn a_socket_is_taken_for_what_it_is_bound_to_and_not_for_its_name() {
        let (one, other) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
        let [at, wrong] = [&one, &other].map(|socket| socket.local_addr().unwrap());
        let names = [
            handed_over(&name(Owner::Server, wrong), &one),
            handed_over("x", &other),
        ];
        let kept = Kept::new(names.into(), |_| {});
        let taken = kept.tcp(Owner::Server, at, false, never).unwrap();
        assert_eq!(taken.local_addr().unwrap(), at);
        // Once more, as a Front that is restarted asks.
        kept.tcp(Owner::Server, at, false, never).unwrap();
        assert_eq!(kept.all().unwrap().len(), 2);
        kept.keep_only(|_| true);
        assert_eq!(kept.all().unwrap().len(), 1);
    }

    #[test]
    fn port_0_is_the_one_that_the_settings_had_before() {
        let (own, apps) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
        let names = [handed_over("app-1", &apps), handed_over("listen-1", &own)];
        let kept = Kept::new(names.into(), |_| {});
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let taken = kept.tcp(Owner::Server, any, false, never).unwrap();
        assert_eq!(taken.local_addr().unwrap(), own.local_addr().unwrap());
        // A second one is a new one.
        let second = kept.tcp(Owner::Server, any, false, || Ok(bound("127.0.0.1:0")));
        assert_ne!(
            second.unwrap().local_addr().unwrap(),
            own.local_addr().unwrap()
        );
    }

    #[test]
    fn whoever_keeps_copies_hears_of_new_ones_and_of_those_that_go() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (ours, old) = (Arc::clone(&told), bound("127.0.0.1:0"));
        let kept = Kept::new(vec![handed_over("old", &old)], move |change| {
            ours.lock().unwrap().push(match change {
                Told::Keep(name, _) => format!("+{name}"),
                Told::Forget(name) => format!("-{name}"),
            });
        });
        let app = bound("127.0.0.1:0");
        let at = app.local_addr().unwrap();
        kept.tcp(Owner::App, at, false, || Ok(app)).unwrap();
        kept.keep_only(|port| port == at.port());
        kept.keep_only(|_| false);
        let name = name(Owner::App, at);
        assert!(!name.contains(':'), "{name}");
        let all = told.lock().unwrap().clone();
        assert_eq!(
            all,
            [format!("+{name}"), "-old".to_owned(), format!("-{name}")]
        );
    }

    #[test]
    fn a_socket_for_both_families_does_not_stand_for_one_of_ipv6_alone() {
        let Ok(both) = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)
        else {
            return crate::test_support::skip("sockets of IPv6", "there is no IPv6");
        };
        both.set_only_v6(false).unwrap();
        both.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into())
            .unwrap();
        both.listen(1).unwrap();
        let both: TcpListener = both.into();
        let at = both.local_addr().unwrap();
        let kept = Kept::new(vec![handed_over("x", &both)], |_| {});
        drop(both);
        let mut opened = false;
        let open = || {
            opened = true;
            Ok(bound("127.0.0.1:0"))
        };
        kept.tcp(Owner::Server, at, true, open).unwrap();
        assert!(
            opened,
            "IPV6_V6ONLY cannot be set any more once it is bound"
        );
    }

    #[test]
    fn a_unix_socket_is_taken_only_while_its_file_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        for is_there in [true, false] {
            let _gone = std::fs::remove_file(&path);
            let old = UnixListener::bind(&path).unwrap();
            let kept = Kept::new(vec![("x".to_owned(), Listener::Unix(old))], |_| {});
            let mut opened = false;
            let open = || {
                opened = true;
                std::fs::remove_file(&path)?;
                UnixListener::bind(&path)
            };
            kept.unix(&path, |_| is_there, open).unwrap();
            assert_eq!(opened, !is_there);
            assert_eq!(kept.all().unwrap().len(), 1);
        }
    }
}
