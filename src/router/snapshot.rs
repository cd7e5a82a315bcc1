//! [`Snapshot`]: the newest routing table as one thread sees it, with the app of each host that was asked for.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use foldhash::HashMap;
use tokio::sync::watch;

use super::address::Address;
use super::backend::{Backend, Lease};
use super::balancer::{self, next_random, random_seed};
use super::hosts::{Owner, ProcessType};
use super::table::{Availability, Decision, Match, Route, Rule, Table, View};

/// Hosts remembered. When there are more it starts anew, so that made-up hosts cost nothing but a match each, and those
/// that are made up to be slow to find are found among so many at most.
const HOSTS: usize = 4096;

/// The app that a request is for.
#[derive(Clone, Debug)]
pub struct Found {
    pub route: Arc<Route>,
    pub process_type: ProcessType,
    /// The rule it was found by.
    pub rule: Rule,
    /// Bytes at the front of the path that name the app, where the rule is by path.
    pub prefix: usize,
    /// Bytes at the front of the path to remove before forwarding.
    pub strip: usize,
}

impl Found {
    /// The backends that it may go to, and what to say where there are none.
    #[must_use]
    pub fn pool(&self) -> (&[Backend], Availability) {
        self.route.pool(self.process_type)
    }

    /// The name of the process type that it goes to.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.route.name_of(self.process_type)
    }
}

impl From<Match<'_>> for Found {
    fn from(matched: Match<'_>) -> Self {
        Self {
            route: Arc::clone(matched.route),
            process_type: matched.process_type,
            rule: matched.rule,
            prefix: matched.prefix,
            strip: matched.strip,
        }
    }
}

/// The newest table on one thread. Whatever is asked, it takes the newest published table first, so what was published
/// before a request came is true for it. As long as there is no newer one it touches nothing that other threads touch.
#[derive(Debug)]
pub struct Snapshot {
    published: RefCell<watch::Receiver<Arc<Table>>>,
    newest: RefCell<Newest>,
    random: Cell<u64>,
}

#[derive(Debug)]
struct Newest {
    table: Arc<Table>,
    /// What [`Table::first_by_host`] said. It stays true as long as tables have the same hosts.
    first_by_host: HashMap<Box<str>, Option<Owner>>,
}

impl Snapshot {
    /// A snapshot of what is published.
    #[must_use]
    pub fn new(mut published: watch::Receiver<Arc<Table>>) -> Self {
        let table = Arc::clone(&published.borrow_and_update());
        Self {
            published: RefCell::new(published),
            newest: RefCell::new(Newest {
                table,
                first_by_host: HashMap::default(),
            }),
            random: Cell::new(random_seed()),
        }
    }

    /// Decides by the newest table, and remembers the app of the host where the decision is by host.
    pub fn decide<T>(&self, view: &View<'_>, then: impl FnOnce(Decision<'_>) -> T) -> T {
        self.update();
        let Newest {
            table,
            first_by_host,
        } = &mut *self.newest.borrow_mut();
        then(table.decide_with(view, |host| owner(table, first_by_host, host)))
    }

    /// The app of `host`, whatever else a request may say.
    #[must_use]
    pub fn by_host(&self, host: &str) -> Option<Arc<Route>> {
        self.update();
        let Newest {
            table,
            first_by_host,
        } = &mut *self.newest.borrow_mut();
        let owner = owner(table, first_by_host, host)?;
        Some(Arc::clone(table.matched_by_host(owner).route))
    }

    /// The app of `host`, if that was asked before. The rules before the one by host are the caller's to look at.
    #[must_use]
    pub fn known(&self, host: &str) -> Option<Found> {
        self.update();
        let newest = self.newest.borrow();
        let owner = (*newest.first_by_host.get(host)?)?;
        Some(newest.table.matched_by_host(owner).into())
    }

    /// Chooses one of `backends`, but for those to `avoid`, and counts the request on it; `None` if all of them drain.
    #[must_use]
    pub fn choose(&self, backends: &[Backend], avoid: Vec<Address>) -> Option<(Backend, Lease)> {
        let random = self.random.get();
        self.random.set(next_random(random));
        balancer::take(backends, avoid, random)
    }

    /// Chooses another backend of an app that was found, to which the same head can be sent.
    #[must_use]
    pub fn another(&self, found: &Found, avoid: Vec<Address>) -> Option<(Backend, Lease)> {
        self.update();
        let newest = self.newest.borrow();
        let route = newest.table.route(&found.route.app)?;
        let is_rewritten_alike = route.strip_path == found.route.strip_path;
        let is_of_type = route.name_of(found.process_type) == found.type_name();
        let (backends, _) = route.pool(found.process_type);
        (is_rewritten_alike && is_of_type).then_some(())?;
        self.choose(backends, avoid)
    }

    /// Shows when there is a newer table than the one that was asked last.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Table>> {
        self.published.borrow().clone()
    }

    fn update(&self) {
        if !self.published.borrow().has_changed().unwrap_or(false) {
            return;
        }
        let table = Arc::clone(&self.published.borrow_mut().borrow_and_update());
        let mut newest = self.newest.borrow_mut();
        if !table.has_hosts_of(&newest.table) {
            newest.first_by_host.clear();
        }
        newest.table = table;
    }
}

/// Finds the owner of a host, and remembers it.
fn owner(table: &Table, known: &mut HashMap<Box<str>, Option<Owner>>, host: &str) -> Option<Owner> {
    if let Some(known) = known.get(host) {
        return *known;
    }
    let first = table.first_by_host(host);
    if known.len() >= HOSTS {
        known.clear();
    }
    known.insert(host.into(), first);
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::table::Availability;

    fn route(app: &str, path: bool) -> Route {
        Route {
            app: app.into(),
            created: 1,
            hosts: Vec::new(),
            domain: vec![format!("^{app}\\.local$")],
            path,
            strip_path: true,
            port: None,
            static_files: None,
            buffer: Default::default(),
            policies: None,
            tls: Default::default(),
            has_deployed: true,
            availability: Availability::Starting,
            backends: Vec::new(),
            others: Vec::new(),
        }
    }

    fn decide(snapshot: &Snapshot, host: &str) -> Option<String> {
        let view = View {
            host,
            path: "/",
            ..View::default()
        };
        snapshot.decide(&view, |decision| match decision {
            Decision::App(matched) => Some(matched.route.app.to_string()),
            _ => None,
        })
    }

    #[test]
    fn a_host_is_known_once_it_was_decided_on_until_hosts_change() {
        let table = Table::new(vec![Arc::new(route("blog", true))]);
        let (sender, receiver) = watch::channel(Arc::new(table));
        let snapshot = Snapshot::new(receiver);
        let known = |host: &str| snapshot.known(host).map(|found| found.route);
        assert!(known("blog.local").is_none());
        assert_eq!(decide(&snapshot, "blog.local").as_deref(), Some("blog"));
        assert_eq!(decide(&snapshot, "other.local"), None);
        assert!(known("blog.local").is_some_and(|route| route.path));
        assert!(known("BLOG.local").is_none() && known("other.local").is_none());

        let next = sender.borrow().with(route("blog", false));
        sender.send_replace(Arc::new(next));
        assert!(known("blog.local").is_some_and(|route| !route.path));

        let next = sender.borrow().with(route("other", true));
        sender.send_replace(Arc::new(next));
        assert!(known("blog.local").is_none());
        assert_eq!(decide(&snapshot, "other.local").as_deref(), Some("other"));
        assert!(known("other.local").is_some());
    }

    #[test]
    fn made_up_hosts_take_bounded_memory() {
        let table = Table::new(vec![Arc::new(route("blog", true))]);
        let snapshot = Snapshot::new(watch::channel(Arc::new(table)).1);
        for n in 0..2 * HOSTS {
            decide(&snapshot, &format!("made-up-{n}"));
        }
        assert!(snapshot.newest.borrow().first_by_host.len() <= HOSTS);
    }
}
