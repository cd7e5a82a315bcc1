//! [`Table`]: the routing table, which says which app a request is for, and by which rule.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::backend::Backend;
use super::hosts::{Hosts, Owner, ProcessType};
use super::path::first_segment;
use super::patterns::Patterns;
use super::policies::Policies;
use super::reach::{self, ApiPlace, Reach, XApp};
use crate::document::buffering::Buffering;
use crate::document::formation::ROUTED;
use crate::document::host_entry::HostEntry;
use crate::document::host_name::HostName;
use crate::document::https::Https;

/// First path segments that belong to the API. `-` holds what came after applications had their names: none can be
/// called so, and each goes on having its path.
pub const API_SEGMENTS: [&str; 13] = [
    "-",
    "applications",
    "certificates",
    "routes",
    "events",
    "healthz",
    "metrics",
    "tokens",
    "audit",
    "hooks",
    "git",
    "v2",
    "openapi.json",
];

/// What the front end knows of one app.
#[derive(Clone, Debug)]
pub struct Route {
    pub app: Arc<str>,
    /// The order of creation. Where several apps match, the lowest wins.
    pub created: u64,
    /// Names, and wildcards for one label. They come before the patterns of any app.
    pub hosts: Vec<HostEntry>,
    /// Patterns against the host, unanchored, known to compile.
    pub domain: Vec<String>,
    /// Reachable as `/NAME/…`.
    pub path: bool,
    /// `/NAME` is removed before forwarding.
    pub strip_path: bool,
    /// A listener of its own.
    pub port: Option<u16>,
    /// Files served before a backend is asked.
    pub static_files: Option<Arc<StaticFiles>>,
    pub buffer: Buffering,
    /// What is done with requests beside passing them on, if anything is.
    pub policies: Option<Arc<Policies>>,
    pub tls: Https,
    /// Whether it was ever ready. Until then its names may still lead elsewhere.
    pub has_deployed: bool,
    /// What to say while `web` has no backend.
    pub availability: Availability,
    /// Of `web`.
    pub backends: Vec<Backend>,
    /// The other process types that `hosts` names.
    pub others: Vec<Pool>,
}

/// The backends of a process type.
#[derive(Clone, Debug)]
pub struct Pool {
    pub process_type: String,
    /// What to say while there is no backend.
    pub availability: Availability,
    pub backends: Vec<Backend>,
}

impl Route {
    /// The backends of a process type, and what to say where there are none.
    #[must_use]
    pub fn pool(&self, of: ProcessType) -> (&[Backend], Availability) {
        match of {
            ProcessType::Web => (&self.backends, self.availability),
            ProcessType::Other(at) => match self.others.get(at) {
                Some(pool) => (&pool.backends, pool.availability),
                None => (&[], Availability::NoWeb),
            },
        }
    }

    /// The name of a process type.
    #[must_use]
    pub fn name_of(&self, of: ProcessType) -> &str {
        match of {
            ProcessType::Web => ROUTED,
            ProcessType::Other(at) => self.others.get(at).map_or("such", |p| &p.process_type),
        }
    }

    /// The backends of all process types.
    pub fn all_backends(&self) -> impl Iterator<Item = &Backend> {
        let others = self.others.iter().flat_map(|pool| &pool.backends);
        self.backends.iter().chain(others)
    }

    /// The process type that the requests for one of its names go to.
    fn process_type(&self, host: &HostEntry) -> ProcessType {
        if host.is_of_web() {
            return ProcessType::Web;
        }
        let mut types = self.others.iter().map(|pool| &pool.process_type);
        let at = types.position(|process_type| *process_type == host.process);
        ProcessType::Other(at.unwrap_or(usize::MAX))
    }

    /// Whether requests find it and its process types as they find `other`.
    fn is_found_as(&self, other: &Self) -> bool {
        let types = |route: &Self| {
            route
                .others
                .iter()
                .map(|p| p.process_type.clone())
                .collect::<Vec<_>>()
        };
        (self.created, self.port) == (other.created, other.port)
            && (&self.hosts, &self.domain) == (&other.hosts, &other.domain)
            && types(self) == types(other)
    }
}

/// Files of a release that are served before a backend is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticFiles {
    /// The absolute directory of the release, which is ours.
    pub root: PathBuf,
    /// The directory of the files below it, whose every part is the app's making.
    pub dir: String,
    /// The path under which they appear.
    pub prefix: String,
    /// A browser that navigates to a name that is no file gets `index.html`.
    pub spa: bool,
    /// `Cache-Control` of all but HTML.
    pub cache_control: Option<String>,
}

/// What to do with a request while an app has no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// The app has a backend, or soon has one again: hold the request.
    Starting,
    /// It is paused until then at most: hold the request, whatever backends there are.
    Paused(std::time::Instant),
    /// It sleeps: hold the request, which wakes it.
    Asleep,
    /// Stopped by request: 503 at once.
    Stopped,
    /// Its processes keep crashing: 503 at once (H10).
    Crashed,
    /// Nothing of it was ever ready: 503 at once (H10).
    Undeployed,
    /// It has no routed process type, or it is scaled to 0: 503 at once (H14).
    NoWeb,
}

impl Availability {
    /// In the words of reports.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Paused(_) => "paused",
            Self::Asleep => "asleep",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Undeployed => "not deployed",
            Self::NoWeb => "no web process",
        }
    }
}

/// What routing looks at in a request.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The value of `X-App`.
    pub x_app: Option<&'a str>,
    /// The host in lower case, without the port.
    pub host: &'a str,
    /// The target's path; a query may follow.
    pub path: &'a str,
    /// The port of the app's own listener that the connection came in by.
    pub port: Option<u16>,
    /// By which ways requests come.
    pub reach: &'a Reach,
}

impl Default for View<'_> {
    fn default() -> Self {
        Self {
            x_app: None,
            host: "",
            path: "",
            port: None,
            reach: &reach::ANY,
        }
    }
}

/// The rule by which an app was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Port,
    /// `X-App`.
    XApp,
    /// A name in `hosts`, or a pattern of `domain`.
    Host,
    /// The first path segment.
    Path,
}

impl Rule {
    /// Returns its word in the access log and in `GET /routes`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::XApp => "x-app",
            Self::Host => "host",
            Self::Path => "path",
        }
    }
}

/// An app that a request is for.
#[derive(Clone, Copy, Debug)]
pub struct Match<'a> {
    pub route: &'a Arc<Route>,
    pub process_type: ProcessType,
    pub rule: Rule,
    /// Bytes at the front of the path that name the app, where the rule is by path.
    pub prefix: usize,
    /// Bytes at the front of the path to remove before forwarding: all of `prefix`, or none.
    pub strip: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    App(Match<'a>),
    Api,
    NotFound,
}

/// The routing table. It is immutable: a change makes a new one.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Arc<Route>>,
    names: Arc<HashMap<Arc<str>, usize>>,
    ports: Arc<HashMap<u16, usize>>,
    hosts: Arc<Hosts>,
    patterns: Arc<Patterns>,
}

/// The names of a route at a position, each with whose it is.
fn owners((at, route): (usize, &Arc<Route>)) -> impl Iterator<Item = (&HostName, Owner)> {
    route.hosts.iter().map(move |host| {
        let process_type = route.process_type(host);
        let owner = Owner {
            route: at,
            process_type,
        };
        (&host.name, owner)
    })
}

/// The key by which routes are sorted.
fn place(route: &Route) -> (u64, &str) {
    (route.created, &route.app)
}

impl Table {
    /// Makes a table of these routes. The later of two with the same name stays.
    #[must_use]
    pub fn new(given: Vec<Arc<Route>>) -> Self {
        let mut latest = HashMap::with_capacity(given.len());
        for route in given {
            latest.insert(Arc::clone(&route.app), route);
        }
        let mut routes: Vec<Arc<Route>> = latest.into_values().collect();
        routes.sort_by(|a, b| place(a).cmp(&place(b)));
        let table = Self::of(routes, None);
        table.patterns.join();
        table
    }

    /// Makes this table with `route` added, or in the place of the one of the same name.
    #[must_use]
    pub fn with(&self, route: Route) -> Self {
        let route = Arc::new(route);
        let mut routes = self.routes.clone();
        let present = self.names.get(&route.app).copied();
        if let Some(at) = present {
            let before = std::mem::replace(&mut routes[at], Arc::clone(&route));
            // Most changes are of backends that come and go.
            if before.is_found_as(&route) {
                return Self {
                    routes,
                    names: Arc::clone(&self.names),
                    ports: Arc::clone(&self.ports),
                    hosts: Arc::clone(&self.hosts),
                    patterns: Arc::clone(&self.patterns),
                };
            }
            routes.remove(at);
        }
        let at = routes.partition_point(|other| place(other) < place(&route));
        routes.insert(at, route);
        Self::of(routes, Some(&self.patterns))
    }

    /// Makes this table without the route of `app`.
    #[must_use]
    pub fn without(&self, app: &str) -> Self {
        let routes = self.routes.iter().filter(|r| &*r.app != app);
        Self::of(routes.cloned().collect(), Some(&self.patterns))
    }

    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    #[must_use]
    pub fn route(&self, app: &str) -> Option<&Arc<Route>> {
        self.routes.get(*self.names.get(app)?)
    }

    /// The compiled host patterns, for whoever has them joined.
    #[must_use]
    pub fn patterns(&self) -> &Arc<Patterns> {
        &self.patterns
    }

    /// Who has `host` by name, or else the first route with a pattern that matches.
    #[must_use]
    pub fn first_by_host(&self, host: &str) -> Option<Owner> {
        let by_name = self.hosts.find(host);
        by_name.or_else(|| self.patterns.first(host).map(Owner::web))
    }

    /// Whether `other` has the same [`Self::first_by_host`] for every host.
    #[must_use]
    pub fn has_hosts_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.hosts, &other.hosts) && Arc::ptr_eq(&self.patterns, &other.patterns)
    }

    /// Makes a table of sorted routes, each with another name. Compiling is most of the cost of a change, so the
    /// `compiled` patterns stay where no `domain` changed, and only a `domain` that changed is compiled.
    fn of(routes: Vec<Arc<Route>>, compiled: Option<&Arc<Patterns>>) -> Self {
        let mut ports = HashMap::new();
        for (at, route) in routes.iter().enumerate() {
            if let Some(port) = route.port {
                ports.entry(port).or_insert(at);
            }
        }
        let hosts = Hosts::of(routes.iter().enumerate().flat_map(owners));
        let domains = || routes.iter().map(|r| r.domain.as_slice());
        let patterns = match compiled {
            Some(patterns) if patterns.are_of(domains()) => Arc::clone(patterns),
            before => Arc::new(Patterns::compile(domains(), before.map(|b| &**b))),
        };
        let names = routes.iter().enumerate();
        let names = names.map(|(at, r)| (Arc::clone(&r.app), at)).collect();
        Self {
            routes,
            names: Arc::new(names),
            ports: Arc::new(ports),
            hosts: Arc::new(hosts),
            patterns,
        }
    }

    #[must_use]
    pub fn decide(&self, view: &View<'_>) -> Decision<'_> {
        self.decide_with(view, |host| self.first_by_host(host))
    }

    /// Who answers a request, with [`Self::first_by_host`] in the hands of a caller that remembers its answers.
    pub fn decide_with(
        &self,
        view: &View<'_>,
        first_by_host: impl FnOnce(&str) -> Option<Owner>,
    ) -> Decision<'_> {
        let found = |at: usize, rule| Decision::App(self.matched(at, rule));
        if let Some(port) = view.port {
            let own = self.ports.get(&port);
            return own.map_or(Decision::NotFound, |at| found(*at, Rule::Port));
        }
        if view.reach.is_api_host(view.host) {
            return match view.reach.api {
                ApiPlace::Everywhere | ApiPlace::ApiHosts => Decision::Api,
                ApiPlace::Socket => Decision::NotFound,
            };
        }
        if view.reach.is_for_images(view.host, view.path) {
            return Decision::Api;
        }
        if let Some(name) = view.x_app {
            let named = self.by_name(name, view.reach);
            return named.map_or(Decision::NotFound, Decision::App);
        }
        if let Some(owner) = first_by_host(view.host) {
            return Decision::App(self.matched_by_host(owner));
        }
        match first_segment(view.path) {
            None => Decision::NotFound,
            Some((segment, raw)) => match self.by_segment(&segment, raw, view) {
                Some(matched) => Decision::App(matched),
                None if view.reach.api == ApiPlace::Everywhere
                    && API_SEGMENTS.contains(&&*segment) =>
                {
                    Decision::Api
                }
                None => Decision::NotFound,
            },
        }
    }

    /// Returns all apps that a rule would give the request to, in the order of the rules. The first of them answers,
    /// unless the API does.
    #[must_use]
    pub fn matches(&self, view: &View<'_>) -> Vec<Match<'_>> {
        let mut all: Vec<Match<'_>> = Vec::new();
        if let Some(at) = view.port.and_then(|port| self.ports.get(&port)) {
            all.push(self.matched(*at, Rule::Port));
        }
        let named = view.x_app.and_then(|name| self.by_name(name, view.reach));
        all.extend(named);
        let names = self.hosts.all(view.host);
        let mut by_host: Vec<_> = names.map(|owner| self.matched_by_host(owner)).collect();
        let patterns = self.patterns.all(view.host).into_iter();
        by_host.extend(patterns.map(|at| self.matched_by_host(Owner::web(at))));
        let mut told = HashSet::new();
        by_host.retain(|found| told.insert(Arc::as_ptr(found.route)));
        all.extend(by_host);
        if let Some((segment, raw)) = first_segment(view.path) {
            all.extend(self.by_segment(&segment, raw, view));
        }
        all
    }

    fn by_name(&self, name: &str, reach: &Reach) -> Option<Match<'_>> {
        let at = *self.names.get(name)?;
        let route = &self.routes[at];
        let reached = match &reach.x_app {
            XApp::ByPath => route.path,
            XApp::Nobody => false,
            XApp::These(apps) => apps.iter().any(|app| **app == *route.app),
        };
        reached.then(|| self.matched(at, Rule::XApp))
    }

    fn by_segment(&self, segment: &str, raw: usize, view: &View<'_>) -> Option<Match<'_>> {
        let at = *self.names.get(segment)?;
        let route = &self.routes[at];
        let reached = route.path && view.reach.by_path(view.host);
        reached.then(|| Match {
            prefix: raw,
            strip: if route.strip_path { raw } else { 0 },
            ..self.matched(at, Rule::Path)
        })
    }

    /// The app that has a host.
    pub(super) fn matched_by_host(&self, owner: Owner) -> Match<'_> {
        Match {
            process_type: owner.process_type,
            ..self.matched(owner.route, Rule::Host)
        }
    }

    fn matched(&self, at: usize, rule: Rule) -> Match<'_> {
        Match {
            route: &self.routes[at],
            process_type: ProcessType::Web,
            rule,
            prefix: 0,
            strip: 0,
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
