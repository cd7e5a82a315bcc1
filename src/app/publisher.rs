//! [`Publisher`]: brings an app's route to the Router, also over a restart of the Router.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::router::router::{Publish, Router, Withdraw};
use crate::router::table::Route;
use crate::supervision::ChildRef;

/// Brings an app's latest route to the Router. Dropping it ends its task; the route stays.
#[derive(Debug)]
pub struct Publisher {
    wanted: watch::Sender<Option<Route>>,
}

impl Publisher {
    /// Starts the task on the current thread's runtime.
    #[must_use]
    pub fn start(app: Arc<str>, router: ChildRef<Router>) -> Self {
        let (wanted, mut changes) = watch::channel(None::<Route>);
        actix_rt::spawn(async move {
            while changes.changed().await.is_ok() {
                let route = changes.borrow_and_update().clone();
                deliver(&app, route, &router).await;
            }
        });
        Self { wanted }
    }

    /// Publishes `route`, or withdraws it with `None`, soon.
    pub fn publish(&self, route: Option<Route>) {
        self.wanted.send_replace(route);
    }
}

async fn deliver(app: &Arc<str>, route: Option<Route>, router: &ChildRef<Router>) {
    loop {
        if let Some(router) = router.get() {
            let sent = match route.clone() {
                Some(route) => router.send(Publish(route)).await,
                None => router.send(Withdraw(Arc::clone(app))).await,
            };
            if sent.is_ok() {
                return;
            }
        }
        // The Router is being restarted, which takes milliseconds; its supervisor gives up long before we do.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
