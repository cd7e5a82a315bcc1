//! [`Replica`]: the router's copy on a worker's own thread.

use std::collections::HashMap;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::watch;

use super::address::Address;
use super::backend::{Backend, Lease};
use super::balancer::{self, next_random, random_seed};
use super::reach::Reach;
use super::table::{Availability, Decision, Route, Rule, Table, View};
use crate::failpoint;

/// Hosts remembered; when there are more it starts anew, so that made-up hosts cost nothing but a match each.
const HOSTS: usize = 4096;

/// Answers, on a worker's own thread, which app and which of its backends a request goes to. It looks at the newest
/// published table at each request, so what was published before a request came is true for it.
#[derive(Debug)]
pub struct Replica {
    published: watch::Receiver<Arc<Table>>,
    table: Arc<Table>,
    reach: Arc<Reach>,
    hosts: HashMap<Box<str>, Option<usize>>,
    random: u64,
}

impl Replica {
    /// A replica of what is published, to which requests come as `reach` says.
    #[must_use]
    pub fn new(mut published: watch::Receiver<Arc<Table>>, reach: Arc<Reach>) -> Self {
        let table = Arc::clone(&published.borrow_and_update());
        Self {
            published,
            table,
            reach,
            hosts: HashMap::new(),
            random: random_seed(),
        }
    }

    fn update(&mut self) {
        if !self.published.has_changed().unwrap_or(false) {
            return;
        }
        let newest = Arc::clone(&self.published.borrow_and_update());
        if !Arc::ptr_eq(newest.patterns(), self.table.patterns()) {
            self.hosts.clear();
        }
        self.table = newest;
    }

    fn random(&mut self) -> u64 {
        self.random = next_random(self.random);
        self.random
    }

    fn route(&mut self, wanted: &Wanted) -> Result<Found, Selection> {
        let view = View {
            x_app: wanted.x_app.as_deref(),
            host: &wanted.host,
            path: &wanted.path,
            port: wanted.port,
            reach: &self.reach,
        };
        let (table, hosts) = (&self.table, &mut self.hosts);
        let decision = table.decide_with(&view, |host| {
            if let Some(known) = hosts.get(host) {
                return *known;
            }
            let first = table.patterns().first(host);
            if hosts.len() >= HOSTS {
                hosts.clear();
            }
            hosts.insert(host.into(), first);
            first
        });
        match decision {
            Decision::Api => Err(Selection::Api),
            Decision::NotFound => Err(Selection::NotFound),
            Decision::App(matched) => Ok(Found {
                route: Arc::clone(matched.route),
                rule: matched.rule,
                prefix: matched.prefix,
                strip: matched.strip,
            }),
        }
    }
}

impl Actor for Replica {
    type Context = Context<Self>;
}

/// Asks who answers a request.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Selection")]
pub struct Select {
    pub wanted: Arc<Wanted>,
    /// Backends that just refused a connection.
    pub avoid: Vec<Address>,
}

/// What routing looks at in a request, on its way to the replica.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The value of `X-App`.
    pub x_app: Option<Box<str>>,
    /// The host in lower case, without the port.
    pub host: Box<str>,
    /// The target's path and query.
    pub path: Box<str>,
    /// The port of the app's own listener that the connection came in by.
    pub port: Option<u16>,
}

/// The app that a request is for.
#[derive(Clone, Debug)]
pub struct Found {
    pub route: Arc<Route>,
    /// The rule it was found by.
    pub rule: Rule,
    /// Bytes at the front of the path that name the app, where the rule is by path.
    pub prefix: usize,
    /// Bytes at the front of the path to remove before forwarding.
    pub strip: usize,
}

#[derive(Debug)]
pub enum Selection {
    /// This backend, on which the request is counted while the lease lives.
    Backend(Found, Backend, Lease),
    Api,
    NotFound,
    /// The app has no backend (but those to avoid) and gets none soon: why.
    Unavailable(Found, Availability),
    /// The app has no backend yet. Ask again when the receiver shows a change.
    Hold(Found, watch::Receiver<Arc<Table>>),
}

impl Handler<Select> for Replica {
    type Result = MessageResult<Select>;

    fn handle(&mut self, select: Select, _: &mut Self::Context) -> Self::Result {
        failpoint::reach_actor::<Self>();
        self.update();
        let random = self.random();
        let found = match self.route(&select.wanted) {
            Ok(found) => found,
            Err(other) => return MessageResult(other),
        };
        let chosen = take(&found.route.backends, select.avoid, random);
        MessageResult(match (chosen, found.route.availability) {
            (Some((backend, lease)), _) => Selection::Backend(found, backend, lease),
            (None, Availability::Starting) => Selection::Hold(found, self.published.clone()),
            (None, other) => Selection::Unavailable(found, other),
        })
    }
}

/// The chosen backend with the request counted on it. One that is closed drains: the table without it is on its way.
pub fn take(
    backends: &[Backend],
    mut avoid: Vec<Address>,
    random: u64,
) -> Option<(Backend, Lease)> {
    loop {
        let backend = balancer::choose(backends, &avoid, random)?;
        match Lease::take(&backend.load) {
            Some(lease) => return Some((backend.clone(), lease)),
            None => avoid.push(backend.address.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::backend::Load;
    use crate::router::router::{Publish, Router, Withdraw};

    fn route(availability: Availability, ports: &[u16]) -> Route {
        let backend = |port: &u16| Backend {
            process: "web.1".into(),
            release: 1,
            address: std::net::SocketAddr::from(([127, 0, 0, 1], *port)).into(),
            load: Arc::new(Load::default()),
        };
        Route {
            app: "blog".into(),
            created: 1,
            hosts: Vec::new(),
            domain: vec!["^blog$".into()],
            path: true,
            strip_path: true,
            port: None,
            static_files: None,
            buffer: Default::default(),
            availability,
            backends: ports.iter().map(backend).collect(),
        }
    }

    fn ask(host: &str) -> Select {
        let wanted = Wanted {
            x_app: None,
            host: host.into(),
            path: "/".into(),
            port: None,
        };
        Select {
            wanted: Arc::new(wanted),
            avoid: Vec::new(),
        }
    }

    #[actix::test]
    async fn what_the_router_published_is_true_for_the_next_request() {
        let (sender, receiver) = watch::channel(Arc::new(Table::default()));
        let router = Router::new(Arc::new(sender)).start();
        let reach = Reach {
            api_hosts: vec!["api".to_owned()],
            ..Reach::default()
        };
        let replica = Replica::new(receiver, Arc::new(reach)).start();
        let select = |s: Select| replica.send(s);
        assert!(matches!(select(ask("blog")).await, Ok(Selection::NotFound)));
        assert!(matches!(select(ask("api")).await, Ok(Selection::Api)));

        router
            .send(Publish(route(Availability::Starting, &[])))
            .await
            .unwrap();
        let Ok(Selection::Hold(_, mut changed)) = select(ask("blog")).await else {
            panic!("held")
        };
        router
            .send(Publish(route(Availability::Starting, &[8001])))
            .await
            .unwrap();
        changed.changed().await.unwrap();
        let Ok(Selection::Backend(_, backend, lease)) = select(ask("blog")).await else {
            panic!("a backend")
        };
        assert_eq!(backend.load.outstanding(), 1);
        drop(lease);
        assert_eq!(backend.load.outstanding(), 0);

        let avoiding = Select {
            avoid: vec![backend.address],
            ..ask("blog")
        };
        assert!(matches!(select(avoiding).await, Ok(Selection::Hold(..))));
        router
            .send(Publish(route(Availability::Crashed, &[])))
            .await
            .unwrap();
        let unavailable = select(ask("blog")).await;
        assert!(matches!(
            unavailable,
            Ok(Selection::Unavailable(_, Availability::Crashed))
        ));
        router.send(Withdraw("blog".into())).await.unwrap();
        assert!(matches!(select(ask("blog")).await, Ok(Selection::NotFound)));
    }
}
