//! [`Publisher`]: brings an app's route to the Router, also over a restart of the Router, and reports its changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::events::{Feed, Report};
use crate::front::policies::page;
use crate::router::address::Address;
use crate::router::router::{Publish, Router, Withdraw};
use crate::router::table::{Availability, Route};
use crate::supervision::ChildRef;

/// Brings an app's latest route to the Router. Dropping it ends its task; the route stays.
#[derive(Debug)]
pub struct Publisher {
    app: Arc<str>,
    wanted: watch::Sender<Wanted>,
    published: watch::Receiver<u64>,
    events: Feed,
    /// The route as `events` heard of it last.
    reported: Option<Reported>,
}

/// The route that the Router should have, and how many were wanted before.
#[derive(Clone, Debug, Default)]
struct Wanted {
    version: u64,
    route: Option<Route>,
}

/// What requests notice of a route.
#[derive(Debug, PartialEq)]
struct Reported {
    availability: Availability,
    backends: Vec<Address>,
}

impl Publisher {
    /// Starts the task on the current thread's runtime.
    #[must_use]
    pub fn start(app: Arc<str>, router: ChildRef<Router>, events: Feed) -> Self {
        let (wanted, mut changes) = watch::channel(Wanted::default());
        let (done, published) = watch::channel(0);
        let own = Arc::clone(&app);
        actix_rt::spawn(async move {
            while changes.changed().await.is_ok() {
                // Several changes may have become one: only the newest route counts.
                let newest = changes.borrow_and_update().clone();
                let policies = newest.route.as_ref().and_then(|r| r.policies.clone());
                deliver(&own, newest.route, &router).await;
                // Somebody wants to know now whether the page for maintenance can be shown, and not when it is.
                if let Some(policies) = policies.filter(|policies| policies.root.is_some()) {
                    let _page = page::page(&own, &policies).await;
                }
                done.send_replace(newest.version);
            }
        });
        Self {
            app,
            wanted,
            published,
            events,
            reported: None,
        }
    }

    /// Publishes `route`, or withdraws the app's route with `None`. Returns before the Router has it.
    pub fn publish(&mut self, route: Option<Route>) {
        self.report(route.as_ref());
        self.wanted.send_modify(|wanted| {
            wanted.version += 1;
            wanted.route = route;
        });
    }

    /// Resolves when the Router has the routes given before: every request from then on sees them. Their page for
    /// maintenance was read, too.
    pub fn settled(&self) -> impl Future<Output = ()> + use<> {
        let asked = self.wanted.borrow().version;
        let mut published = self.published.clone();
        async move {
            // An error means that the task is gone, with this actor: nobody waits for the answer.
            let _gone = published.wait_for(|version| *version >= asked).await;
        }
    }

    /// Reports a route, or that there is none any more, if it has changed for requests.
    fn report(&mut self, route: Option<&Route>) {
        let backends = route.map(|route| route.all_backends().map(|b| b.address.clone()));
        let now = Reported {
            availability: route.map_or(Availability::Stopped, |route| route.availability),
            backends: backends.into_iter().flatten().collect(),
        };
        if self.reported.as_ref() == Some(&now) {
            return;
        }
        self.events.report(Report::RouteChanged {
            app: Arc::clone(&self.app),
            otherwise: now.availability.in_words(),
            backends: now.backends.iter().map(ToString::to_string).collect(),
        });
        self.reported = Some(now);
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
