//! [`Replica`]: the actor on each worker's own thread that says who answers a request.

use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::watch;

use super::backend::{Backend, Lease};
use super::reach::Reach;
use super::snapshot::{Found, Snapshot};
use super::table::{Availability, Decision, Table, View};
use crate::failpoint;

/// Says which app and which of its backends a request goes to.
#[derive(Debug)]
pub struct Replica {
    snapshot: Rc<Snapshot>,
    reach: Arc<Reach>,
}

impl Replica {
    /// Answers from `snapshot`, which its thread shares. Requests come to apps and to the API as `reach` says.
    #[must_use]
    pub fn new(snapshot: Rc<Snapshot>, reach: Arc<Reach>) -> Self {
        Self { snapshot, reach }
    }

    fn route(&self, wanted: &Wanted) -> Result<Found, Selection> {
        let view = View {
            x_app: wanted.x_app.as_deref(),
            host: &wanted.host,
            path: &wanted.path,
            port: wanted.port,
            reach: &self.reach,
        };
        self.snapshot.decide(&view, |decision| match decision {
            Decision::Api => Err(Selection::Api),
            Decision::NotFound => Err(Selection::NotFound),
            Decision::App(matched) => Ok(matched.into()),
        })
    }
}

impl Actor for Replica {
    type Context = Context<Self>;
}

/// Asks who answers a request.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Selection")]
pub struct Select(pub Arc<Wanted>);

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

#[derive(Debug)]
pub enum Selection {
    /// The lease counts the request on the backend while it lives.
    Backend(Found, Backend, Lease),
    Api,
    NotFound,
    /// The app has no backend and gets none soon, for this reason.
    Unavailable(Found, Availability),
    /// The app has no backend yet, or lets nobody through. Whoever asks should ask again when the receiver shows a change.
    Hold(Found, watch::Receiver<Arc<Table>>),
}

impl Handler<Select> for Replica {
    type Result = MessageResult<Select>;

    fn handle(&mut self, Select(wanted): Select, _: &mut Self::Context) -> Self::Result {
        failpoint::reach_actor::<Self>();
        let found = match self.route(&wanted) {
            Ok(found) => found,
            Err(other) => return MessageResult(other),
        };
        let (backends, availability) = found.pool();
        let chosen = self.snapshot.choose(backends, Vec::new());
        MessageResult(match (chosen, availability) {
            (Some((backend, lease)), _) => Selection::Backend(found, backend, lease),
            (None, Availability::Starting | Availability::Paused(_) | Availability::Asleep) => {
                Selection::Hold(found, self.snapshot.changes())
            }
            (None, other) => Selection::Unavailable(found, other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::backend::Load;
    use crate::router::router::{Publish, Router, Withdraw};
    use crate::router::table::Route;

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
            policies: None,
            tls: Default::default(),
            has_deployed: true,
            availability,
            backends: ports.iter().map(backend).collect(),
            others: Vec::new(),
        }
    }

    fn ask(host: &str) -> Select {
        let wanted = Wanted {
            x_app: None,
            host: host.into(),
            path: "/".into(),
            port: None,
        };
        Select(Arc::new(wanted))
    }

    #[actix::test]
    async fn what_the_router_published_is_true_for_the_next_request() {
        let (sender, receiver) = watch::channel(Arc::new(Table::default()));
        let router = Router::new(Arc::new(sender)).start();
        let reach = Reach {
            api_hosts: vec!["api".to_owned()],
            ..Reach::default()
        };
        let snapshot = Rc::new(Snapshot::new(receiver));
        let replica = Replica::new(Rc::clone(&snapshot), Arc::new(reach)).start();
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
        let Ok(Selection::Backend(found, backend, lease)) = select(ask("blog")).await else {
            panic!("a backend")
        };
        assert_eq!(backend.load.outstanding(), 1);
        drop(lease);
        assert_eq!(backend.load.outstanding(), 0);

        let another = |avoid| snapshot.another(&found, avoid);
        assert!(another(Vec::new()).is_some());
        assert!(another(vec![backend.address]).is_none());
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
