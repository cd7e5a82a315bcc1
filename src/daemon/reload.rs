//! [`Reloads`]: the server is replaced in place, by execve(2): `POST /-/reload`.
//!
//! ```text
//! try the program that is installed (trial) ── wait for what is in flight ── leave (Tree::hand_over) ── exec (handover)
//!   fails: nothing has changed                  serves as ever                nobody is refused          fails: back
//! ```
//!
//! Processes of applications are children of this process, and stay that: their exits are the next server's to hear.

pub(super) mod handover;
pub(super) mod program;
pub(crate) mod trial;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::api::reload_status::{Answer, Reload, ReloadStatus, Stage};
use crate::app::apps::{Apps, AtWork};
use crate::front::departure::Departure;
use crate::front::kept::Kept;
use crate::router::backend::Load;
use crate::supervision::ChildRef;
use trial::Held;

/// How long connections have to end behind their response while new ones are still accepted.
const ENDING: Duration = Duration::from_secs(1);

/// A request that takes longer is waited for before the last step, in which new clients wait.
const SHORT: Duration = Duration::from_millis(500);

/// The time between two looks whether operations are over.
const LOOK: Duration = Duration::from_millis(100);

/// How long tunnels have to close once they are cut.
const CUT: Duration = Duration::from_secs(1);

/// The program that is to take over.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) program: PathBuf,
    pub(super) reload: u64,
    /// The server was asked to stop meanwhile: the next one does it.
    pub(super) stops: bool,
}

/// What is waited for, and for how long at most.
pub(super) struct InFlight {
    pub(super) apps: ChildRef<Apps>,
    pub(super) connections: Arc<Load>,
    pub(super) drain: Duration,
    pub(super) data_dir: PathBuf,
    pub(super) kept: Kept,
}

impl InFlight {
    fn held(&self) -> Held {
        Held {
            ports: self.kept.ports(),
            data_dir: self.data_dir.clone(),
        }
    }
}

/// Takes requests to replace the server.
pub(super) struct Reloads {
    requests: mpsc::Receiver<Answer>,
    status: watch::Sender<ReloadStatus>,
}

impl Reloads {
    /// Begins with what came of the last one. The other value is for the API.
    pub(super) fn new(status: ReloadStatus) -> (Self, Reload) {
        let (sender, requests) = mpsc::channel(1);
        let (status, told) = watch::channel(status);
        let api = Reload {
            requests: sender,
            status: told,
        };
        (Self { requests, status }, api)
    }

    /// Resolves when the server is to be left to the next one: a program was tried, and what was in flight is over or
    /// had its time.
    pub(super) async fn next(&mut self, departure: &Departure, in_flight: &InFlight) -> Next {
        loop {
            let Some(answer) = self.requests.recv().await else {
                return std::future::pending().await;
            };
            let reload = self.status.borrow().reload + 1;
            self.tell(reload, Stage::Trying, None);
            if let Err(reason) = trial::try_out(&in_flight.held()).await {
                self.goes_on(reload, &reason);
                let _gone = answer.send(Err(reason));
                continue;
            }
            self.tell(reload, Stage::Waiting, None);
            // Nobody waits any more, or for what follows.
            let _gone = answer.send(Ok(reload));
            let until = Instant::now() + in_flight.drain;
            let is_late = self.wait(departure, in_flight, until).await;
            // Somebody may have edited the settings while others were waited for: then the former server could not
            // come back either, which reads the same ones.
            match trial::try_out(&in_flight.held()).await {
                Ok(program) => {
                    self.leave(departure, in_flight, until, is_late).await;
                    return Next {
                        program,
                        reload,
                        stops: false,
                    };
                }
                Err(reason) => {
                    self.goes_on(reload, &reason);
                    super::notify(&[sd_notify::NotifyState::Ready]);
                }
            }
        }
    }

    fn goes_on(&self, reload: u64, reason: &str) {
        log::error!("reload: the server goes on as it was: {reason}");
        self.tell(reload, Stage::Failed, Some(reason.to_owned()));
    }

    fn tell(&self, reload: u64, state: Stage, reason: Option<String>) {
        self.status.send_replace(ReloadStatus {
            reload,
            state,
            waits_for: Vec::new(),
            reason,
            at: Some(Timestamp::now()),
        });
    }

    /// Waits until nothing in flight takes long, at most `until` then: says whether that came first. New clients are
    /// served meanwhile.
    async fn wait(&self, departure: &Departure, in_flight: &InFlight, until: Instant) -> bool {
        if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
            super::notify(&[sd_notify::NotifyState::Reloading, now]);
        }
        let so_far = departure.requests_so_far();
        let over = async {
            self.requests_over(&so_far).await;
            self.operations_over(&in_flight.apps).await;
        };
        timeout_at(until, over).await.is_err()
    }

    /// Lets connections end; those that are left `until` then, or if it `is_late` already, are closed.
    async fn leave(
        &self,
        departure: &Departure,
        in_flight: &InFlight,
        until: Instant,
        mut is_late: bool,
    ) {
        departure.begin();
        if !is_late {
            let _still_some = timeout(ENDING, in_flight.connections.drained()).await;
            while let so_far = departure.requests_so_far()
                && timeout(SHORT, so_far.drained()).await.is_err()
            {
                let over = async {
                    so_far.drained().await;
                    self.operations_over(&in_flight.apps).await;
                };
                if timeout_at(until, over).await.is_err() {
                    is_late = true;
                    break;
                }
            }
        }
        if is_late {
            log::warn!(
                "reload: not all is over after {:?}: tunnels are closed, what is at work is taken up by the next server",
                in_flight.drain
            );
            departure.close();
            in_flight.connections.cut();
            let _still_some = timeout(CUT, in_flight.connections.drained()).await;
        }
    }

    async fn requests_over(&self, so_far: &Load) {
        if timeout(SHORT, so_far.drained()).await.is_ok() {
            return;
        }
        self.waits_for(vec!["requests and tunnels".to_owned()]);
        so_far.drained().await;
    }

    /// Resolves when no application deploys, starts, stops or is removed.
    async fn operations_over(&self, apps: &ChildRef<Apps>) {
        loop {
            let at_work = match apps.get() {
                Some(apps) => apps.send(AtWork).await.unwrap_or_default(),
                None => Vec::new(),
            };
            if at_work.is_empty() {
                return;
            }
            let names = at_work.iter().map(|name| format!("an operation of {name}"));
            self.waits_for(names.collect());
            tokio::time::sleep(LOOK).await;
        }
    }

    fn waits_for(&self, what: Vec<String>) {
        self.status.send_if_modified(|status| {
            let is_new = status.waits_for != what;
            if is_new {
                log::info!("reload: waits for {}", what.join(", "));
            }
            status.waits_for = what;
            is_new
        });
    }
}
