//! [`Router`]: the actor that alone writes the routing table.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::watch;

use super::table::{Route, Table};
use crate::supervision::Shutdown;

/// Writes the routing table. It keeps no state but the published table, so that a fresh Router goes on where the old
/// one stopped.
#[derive(Debug)]
pub struct Router {
    table: Arc<watch::Sender<Arc<Table>>>,
    /// Host patterns are being joined on another thread.
    joining: bool,
}

impl Router {
    #[must_use]
    pub fn new(table: Arc<watch::Sender<Arc<Table>>>) -> Self {
        Self {
            table,
            joining: false,
        }
    }

    fn publish(&mut self, table: Table, ctx: &mut Context<Self>) {
        self.table.send_replace(Arc::new(table));
        self.join(ctx);
    }

    /// Has the newest host patterns joined, one set at a time. So a thousand apps that come at start are compiled
    /// together a few times, not a thousand times.
    fn join(&mut self, ctx: &mut Context<Self>) {
        let patterns = Arc::clone(self.table.borrow().patterns());
        if self.joining || patterns.are_joined() {
            return;
        }
        self.joining = true;
        let joined = tokio::task::spawn_blocking(move || patterns.join());
        ctx.spawn(joined.into_actor(self).map(|joined, router, ctx| {
            router.joining = false;
            match joined {
                Ok(()) => router.join(ctx),
                // The answers are the same, and slower, until the next change.
                Err(error) => log::error!("host patterns could not be joined: {error}"),
            }
        }));
    }
}

impl Actor for Router {
    type Context = Context<Self>;
}

/// Adds or replaces the route of an app (by its name). Answered when it is published.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Publish(pub Route);

/// Removes the route of an app. Answered when it is published.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Withdraw(pub Arc<str>);

impl Handler<Publish> for Router {
    type Result = ();

    fn handle(&mut self, Publish(route): Publish, ctx: &mut Self::Context) {
        let next = self.table.borrow().with(route);
        self.publish(next, ctx);
    }
}

impl Handler<Withdraw> for Router {
    type Result = ();

    fn handle(&mut self, Withdraw(app): Withdraw, ctx: &mut Self::Context) {
        let next = self.table.borrow().without(&app);
        self.publish(next, ctx);
    }
}

impl Handler<Shutdown> for Router {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::table::{Availability, Decision, View};

    fn route(n: u64) -> Route {
        Route {
            app: format!("app{n}").into(),
            created: n,
            hosts: Vec::new(),
            domain: vec![format!("^app{n}\\.local$")],
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
        }
    }

    #[actix::test]
    async fn a_route_counts_at_once_and_its_patterns_are_joined_beside() {
        let (sender, table) = watch::channel(Arc::new(Table::default()));
        let router = Router::new(Arc::new(sender)).start();
        for n in 0..100 {
            router.send(Publish(route(n))).await.unwrap();
            let host = format!("app{n}.local");
            let view = View {
                host: &host,
                ..View::default()
            };
            let table = table.borrow();
            let Decision::App(found) = table.decide(&view) else {
                panic!("{host} is not found")
            };
            assert_eq!(*found.route.app, *format!("app{n}"));
        }
        let joined = async {
            while !table.borrow().patterns().are_joined() {
                tokio::task::yield_now().await;
            }
        };
        let limit = std::time::Duration::from_secs(10);
        assert!(tokio::time::timeout(limit, joined).await.is_ok());
    }
}
