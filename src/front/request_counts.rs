//! [`RequestCounts`]: how many requests each app had, what came of them, and how long they took.
//!
//! Each worker writes to a [`Table`] of its own. Its numbers are atomic, so that they can be read at any time; no other
//! thread writes to them, and no request takes a lock but the first of an app. A table outlives its worker: the numbers
//! go on where a fresh one counts. [`RequestCounts::totals`] adds the tables up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use foldhash::HashMap;

use crate::router::table::{Route, Rule, Table as Routes};

/// Upper bounds of the durations that are counted together, microseconds. What takes longer is counted behind the last.
pub const BOUNDS: [u64; 13] = [
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// Classes of status codes, 1xx to 5xx.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The rules by which requests are found, in the order in which they are counted.
pub const RULES: [Rule; 4] = [Rule::Port, Rule::XApp, Rule::Host, Rule::Path];

/// Where connections come from, in the order in which they are counted.
pub const LISTENERS: [&str; 3] = ["http", "https", "app_port"];

/// The status of a response that switches protocols.
const SWITCHING: u16 = 101;

/// A request that ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub status: u16,
    pub took: Duration,
    /// The bytes of body that came from the client and went to it.
    pub bytes: (u64, u64),
    /// A policy of the app's document answered in the app's place.
    pub is_refused: bool,
}

/// Who answered a request.
#[derive(Clone, Copy, Debug)]
pub enum Answered<'a> {
    App(&'a Route, Rule),
    Api,
    /// No app was found, or nothing that could be read came.
    Nobody,
}

type Numbers<const N: usize> = [AtomicU64; N];

/// Requests that were found by one rule.
#[derive(Debug, Default)]
struct OfRule {
    by_class: Numbers<{ CLASSES.len() }>,
    durations: Numbers<{ BOUNDS.len() + 1 }>,
    micros: AtomicU64,
}

#[derive(Debug, Default)]
struct OfApp {
    /// [`Route::created`]: another app may have the name later.
    created: u64,
    by_rule: [OfRule; RULES.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// The requests that were not refused.
    asked: AtomicU64,
}

/// What one worker has counted.
#[derive(Debug, Default)]
pub struct Table {
    apps: Mutex<HashMap<Arc<str>, Arc<OfApp>>>,
    api: Numbers<{ CLASSES.len() }>,
    nobody: Numbers<{ CLASSES.len() }>,
    accepted: Numbers<{ LISTENERS.len() }>,
}

/// The tables of all workers. Clones are of the same ones.
#[derive(Clone, Debug, Default)]
pub struct RequestCounts(Arc<Mutex<Vec<Arc<Table>>>>);

/// Counts the requests of one worker.
#[derive(Debug)]
pub struct Counter {
    table: Arc<Table>,
    /// The apps of the table, without its lock.
    known: RefCell<HashMap<Arc<str>, Arc<OfApp>>>,
}

fn add(number: &AtomicU64, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}

fn class_of(status: u16) -> usize {
    usize::from(status / 100).clamp(1, CLASSES.len()) - 1
}

/// Where a duration is counted.
fn bucket_of(micros: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < micros)
}

impl Table {
    fn apps(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<OfApp>>> {
        self.apps.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl OfApp {
    fn is_of(&self, route: &Route) -> bool {
        self.created == route.created
    }

    fn count(&self, rule: Rule, ended: &Ended) {
        let at = RULES.iter().position(|known| *known == rule);
        let Some(of_rule) = at.and_then(|at| self.by_rule.get(at)) else {
            return;
        };
        add(&of_rule.by_class[class_of(ended.status)], 1);
        add(&self.bytes_in, ended.bytes.0);
        add(&self.bytes_out, ended.bytes.1);
        if !ended.is_refused {
            add(&self.asked, 1);
        }
        // How long a tunnel lasted says nothing of how fast an answer came.
        if ended.status != SWITCHING {
            let micros = u64::try_from(ended.took.as_micros()).unwrap_or(u64::MAX);
            add(&of_rule.durations[bucket_of(micros)], 1);
            add(&of_rule.micros, micros);
        }
    }
}

impl Counter {
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        let known = table.apps().clone();
        Self {
            table,
            known: RefCell::new(known),
        }
    }

    /// Counts a request that ended.
    pub fn count(&self, answered: Answered<'_>, ended: &Ended) {
        match answered {
            Answered::Api => add(&self.table.api[class_of(ended.status)], 1),
            Answered::Nobody => add(&self.table.nobody[class_of(ended.status)], 1),
            Answered::App(route, rule) => {
                match self.known.borrow().get(&*route.app) {
                    Some(app) if app.is_of(route) => return app.count(rule, ended),
                    // The request outlived its app.
                    Some(app) if app.created > route.created => return,
                    _ => {}
                }
                self.enter(route).count(rule, ended);
            }
        }
    }

    /// Counts a connection that was accepted.
    pub fn count_accepted(&self, is_secure: bool, is_of_app: bool) {
        let at = match (is_secure, is_of_app) {
            (_, true) => 2,
            (true, false) => 1,
            (false, false) => 0,
        };
        add(&self.table.accepted[at], 1);
    }

    fn enter(&self, route: &Route) -> Arc<OfApp> {
        let fresh = Arc::new(OfApp {
            created: route.created,
            ..OfApp::default()
        });
        let name = Arc::clone(&route.app);
        self.table.apps().insert(Arc::clone(&name), fresh.clone());
        self.known.borrow_mut().insert(name, fresh.clone());
        fresh
    }

    /// Forgets the apps that are gone.
    pub fn keep_only(&self, routes: &Routes) {
        let is_there =
            |app: &Arc<str>, of: &mut Arc<OfApp>| routes.route(app).is_some_and(|r| of.is_of(r));
        let mut known = self.known.borrow_mut();
        let before = known.len();
        known.retain(is_there);
        if known.len() < before {
            self.table.apps().retain(is_there);
        }
    }
}

/// What all workers have counted for one rule of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleTotals {
    /// By [`CLASSES`].
    pub by_class: [u64; CLASSES.len()],
    /// By [`BOUNDS`], and one more for what took longer.
    pub durations: [u64; BOUNDS.len() + 1],
    /// The sum of all durations.
    pub micros: u64,
}

/// What all workers have counted for an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppTotals {
    /// By [`RULES`].
    pub by_rule: [RuleTotals; RULES.len()],
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// What all workers have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub apps: BTreeMap<Arc<str>, AppTotals>,
    /// By [`CLASSES`].
    pub api: [u64; CLASSES.len()],
    /// By [`CLASSES`].
    pub nobody: [u64; CLASSES.len()],
    /// By [`LISTENERS`].
    pub accepted: [u64; LISTENERS.len()],
}

impl RequestCounts {
    /// The table of the worker with this number, from 1 on.
    #[must_use]
    pub fn of_worker(&self, number: usize) -> Arc<Table> {
        let mut tables = self.tables();
        if tables.len() < number {
            tables.resize_with(number, Arc::default);
        }
        Arc::clone(&tables[number.saturating_sub(1)])
    }

    /// What was counted until now, for the apps that `routes` has.
    #[must_use]
    pub fn totals(&self, routes: &Routes) -> Totals {
        let tables = self.tables().clone();
        let mut totals = Totals::default();
        for table in &tables {
            sum(&mut totals.api, &table.api);
            sum(&mut totals.nobody, &table.nobody);
            sum(&mut totals.accepted, &table.accepted);
            let apps = table.apps().clone();
            for route in routes.routes() {
                if let Some(app) = apps.get(&route.app).filter(|app| app.is_of(route)) {
                    let total = totals.apps.entry(Arc::clone(&route.app)).or_default();
                    total.add(app);
                }
            }
        }
        totals
    }

    /// How many requests for `app` have ended, but for those that a policy of its document refused.
    #[must_use]
    pub fn asked_of(&self, app: &Arc<str>) -> u64 {
        let tables = self.tables().clone();
        let of_worker = |table: &Arc<Table>| {
            let of_app = table.apps().get(app).cloned();
            of_app.map_or(0, |of_app| of_app.asked.load(Ordering::Relaxed))
        };
        tables.iter().map(of_worker).sum()
    }

    fn tables(&self) -> MutexGuard<'_, Vec<Arc<Table>>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl AppTotals {
    fn add(&mut self, app: &OfApp) {
        for (total, of_rule) in self.by_rule.iter_mut().zip(&app.by_rule) {
            sum(&mut total.by_class, &of_rule.by_class);
            sum(&mut total.durations, &of_rule.durations);
            total.micros += of_rule.micros.load(Ordering::Relaxed);
        }
        self.bytes_in += app.bytes_in.load(Ordering::Relaxed);
        self.bytes_out += app.bytes_out.load(Ordering::Relaxed);
    }
}

fn sum<const N: usize>(totals: &mut [u64; N], numbers: &Numbers<N>) {
    for (total, number) in totals.iter_mut().zip(numbers) {
        *total += number.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::router::table::Availability;

    fn route(app: &str, created: u64) -> Arc<Route> {
        Arc::new(Route {
            app: app.into(),
            created,
            hosts: Vec::new(),
            domain: Vec::new(),
            path: true,
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
        })
    }

    fn ended(status: u16, millis: u64) -> Ended {
        Ended {
            status,
            took: Duration::from_millis(millis),
            bytes: (3, 5),
            is_refused: false,
        }
    }

    #[test]
    fn what_a_policy_refused_was_not_asked_of_the_app() {
        let all = RequestCounts::default();
        let blog = route("blog", 1);
        for worker in 1..3 {
            let counter = Counter::new(all.of_worker(worker));
            let refused = Ended {
                is_refused: true,
                ..ended(401, 1)
            };
            for ended in [&refused, &refused, &ended(401, 1)] {
                counter.count(Answered::App(&blog, Rule::Host), ended);
            }
        }
        assert_eq!(all.asked_of(&"blog".into()), 2);
        assert_eq!(all.asked_of(&"shop".into()), 0);
        let totals = all.totals(&Routes::new(vec![blog]));
        assert_eq!(totals.apps["blog"].by_rule[2].by_class[3], 6);
    }

    #[test]
    fn an_app_that_is_gone_and_one_that_has_its_name_later_begin_at_nothing() {
        let all = RequestCounts::default();
        let counter = Counter::new(all.of_worker(1));
        let (old, new) = (route("blog", 1), route("blog", 2));
        counter.count(Answered::App(&old, Rule::Host), &ended(200, 1));
        let routes = Routes::new(vec![Arc::clone(&old)]);
        assert_eq!(all.totals(&routes).apps["blog"].bytes_in, 3);
        // Before any worker has seen the new table.
        assert!(all.totals(&Routes::default()).apps.is_empty());
        let routes = Routes::new(vec![Arc::clone(&new)]);
        assert!(all.totals(&routes).apps.is_empty());
        counter.count(Answered::App(&new, Rule::Host), &ended(200, 1));
        counter.count(Answered::App(&new, Rule::Host), &ended(200, 1));
        assert_eq!(all.totals(&routes).apps["blog"].bytes_in, 6);
        counter.count(Answered::App(&old, Rule::Host), &ended(200, 1));
        assert_eq!(
            all.totals(&routes).apps["blog"].bytes_in,
            6,
            "it came too late"
        );
        counter.keep_only(&Routes::default());
        assert!(all.of_worker(1).apps().is_empty() && counter.known.borrow().is_empty());
    }

    #[test]
    fn a_tunnel_is_counted_and_its_time_is_not() {
        let all = RequestCounts::default();
        let counter = Counter::new(all.of_worker(1));
        let blog = route("blog", 1);
        counter.count(Answered::App(&blog, Rule::Path), &ended(101, 3_600_000));
        counter.count(Answered::Api, &ended(404, 1));
        counter.count(Answered::Nobody, &ended(0, 1));
        counter.count_accepted(true, true);
        let totals = all.totals(&Routes::new(vec![blog]));
        let of_path = &totals.apps["blog"].by_rule[3];
        assert_eq!(of_path.by_class, [1, 0, 0, 0, 0]);
        assert_eq!((of_path.micros, of_path.durations.iter().sum()), (0, 0u64));
        assert_eq!(totals.api, [0, 0, 0, 1, 0]);
        assert_eq!((totals.nobody[0], totals.accepted), (1, [0, 0, 1]));
    }

    #[test]
    fn numbers_go_on_where_a_fresh_worker_counts() {
        let (all, blog) = (RequestCounts::default(), route("blog", 1));
        for _ in 0..2 {
            let counter = Counter::new(all.of_worker(2));
            counter.count(Answered::App(&blog, Rule::Port), &ended(503, 1));
        }
        let totals = all.totals(&Routes::new(vec![blog]));
        assert_eq!(totals.apps["blog"].by_rule[0].by_class[4], 2);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_counted_twice(
            requests in proptest::collection::vec(
                (1usize..4, 0usize..4, 100u16..600, 0u64..100_000_000), 0..100),
        ) {
            let (all, blog) = (RequestCounts::default(), route("blog", 1));
            let counters: Vec<_> = (1..4).map(|n| Counter::new(all.of_worker(n))).collect();
            for (worker, rule, status, micros) in &requests {
                let ended = Ended {
                    status: *status,
                    took: Duration::from_micros(*micros),
                    bytes: (1, 2),
                    is_refused: false,
                };
                counters[worker - 1].count(Answered::App(&blog, RULES[*rule]), &ended);
            }
            let totals = all.totals(&Routes::new(vec![blog]));
            let app = totals.apps.get("blog").cloned().unwrap_or_default();
            let count = requests.len() as u64;
            prop_assert_eq!((app.bytes_in, app.bytes_out), (count, 2 * count));
            for (at, of_rule) in app.by_rule.iter().enumerate() {
                let own = || requests.iter().filter(|(_, rule, ..)| *rule == at);
                let timed = || own().filter(|(_, _, status, _)| *status != SWITCHING);
                for (class, number) in of_rule.by_class.iter().enumerate() {
                    let of_class = own().filter(|r| usize::from(r.2 / 100) == class + 1);
                    prop_assert_eq!(*number, of_class.count() as u64);
                }
                let mut upto = 0;
                for (bucket, number) in of_rule.durations.iter().enumerate() {
                    upto += number;
                    let bound = BOUNDS.get(bucket).copied().unwrap_or(u64::MAX);
                    prop_assert_eq!(upto, timed().filter(|r| r.3 <= bound).count() as u64);
                }
                prop_assert_eq!(of_rule.micros, timed().map(|r| r.3).sum::<u64>());
            }
        }
    }
}
