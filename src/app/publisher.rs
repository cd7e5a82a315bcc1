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
    wanted: watch::Sender<(u64, Option<Route>)>,
    published: watch::Receiver<u64>,
}

impl Publisher {
    /// Starts the task on the current thread's runtime.
    #[must_use]
    pub fn start(app: Arc<str>, router: ChildRef<Router>) -> Self {
        let (wanted, mut changes) = watch::channel((0, None::<Route>));
        let (done, published) = watch::channel(0);
        actix_rt::spawn(async move {
            while changes.changed().await.is_ok() {
                // Several changes may have become one: only the newest route counts.
                let (version, route) = changes.borrow_and_update().clone();
                deliver(&app, route, &router).await;
                done.send_replace(version);
            }
        });
        Self { wanted, published }
    }

    /// Publishes `route`, or withdraws the app's route with `None`. Returns before the Router has it.
    pub fn publish(&self, route: Option<Route>) {
        self.wanted
            .send_modify(|wanted| *wanted = (wanted.0 + 1, route));
    }

    /// Resolves when the Router has the routes given before: every request from then on sees them.
    pub fn settled(&self) -> impl Future<Output = ()> + use<> {
        let asked = self.wanted.borrow().0;
        let mut published = self.published.clone();
        async move {
            // An error means that the task is gone, with this actor: nobody waits for the answer.
            let _gone = published.wait_for(|version| *version >= asked).await;
        }
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
