//! [`ApiState`]: what every resource of the API needs, and how it asks actors.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, MailboxError, Message};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use super::about::About;
use super::backup_turn::Backups;
use super::caller::Caller;
use super::failed_logins::FailedLogins;
use super::metrics::shared::Metrics;
use super::problem::Problem;
use super::reload_status::Reload;
use super::ui::sessions::Sessions;
use super::ui::watchers::Watchers;
use super::upload_turn::Uploads;
use crate::acme::acme::Acme;
use crate::acme::status::Results;
use crate::app::apps::{Apps, AppsError, Find};
use crate::app::supervisor::{App, Inspect, View};
use crate::audit::AuditLog;
use crate::document::config::Rules;
use crate::document::name::AppName;
use crate::drains::book::Drains;
use crate::event_log::writer::EventFiles;
use crate::events::Feed;
use crate::front::listener::Closed;
use crate::history::recorder::Recorder;
use crate::hooks::store::Hooks;
use crate::logs::log::{Chunk, LogError, Query, Read};
use crate::notices::book::Receivers;
use crate::router::reach::Reach;
use crate::router::table::Table;
use crate::settings::default_user::DefaultUser;
use crate::ssh_keys::SshKeys;
use crate::supervision::ChildRef;
use crate::swarm::image::Images;
use crate::swarm::meter::Meters;
use crate::tls::store::Published;
use crate::tokens::TokenStore;
use crate::traces::exporter;

/// An actor that is silent for so long is stuck, since control actors never block.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often an App that has ended is looked for again.
const LOOKS: u32 = 200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// How often a token that will expire is held against the clock while somebody follows with it. Each look polls the stream.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);

type Lines = Result<Receiver<Chunk>, LogError>;

/// What routing looks at besides a request.
#[derive(Clone, Debug)]
pub struct Routing {
    pub table: watch::Receiver<Arc<Table>>,
    /// By which ways requests come.
    pub reach: Arc<Reach>,
}

/// What every resource of the API needs.
#[derive(Clone)]
pub struct ApiState {
    pub apps: ChildRef<Apps>,
    pub routing: Routing,
    pub config_dir: Arc<Path>,
    pub rules: Rules,
    /// The account of apps that name none.
    pub default_user: DefaultUser,
    /// Whether accounts can be switched to (the daemon is root).
    pub can_switch: bool,
    pub events: Feed,
    /// Turns true when the server stops: answers that never end by themselves end then.
    pub closing: watch::Receiver<bool>,
    /// Ports of apps that cannot be listened on.
    pub closed_ports: watch::Receiver<Closed>,
    /// What answers handshakes.
    pub certificates: Arc<Published>,
    /// What came of orders at a certificate authority, and who makes them, if anybody does.
    pub acme_results: Arc<Results>,
    pub acme: ChildRef<Acme>,
    /// How backups are made and restored; `None`: not at all.
    pub backups: Option<Backups>,
    /// What it tells of itself.
    pub about: Arc<About>,
    pub audit: AuditLog,
    /// This machine's own name (gethostname(2)).
    pub host_name: Arc<str>,
    /// Where the logs of applications are sent.
    pub drains: Drains,
    /// Who is told of what goes wrong.
    pub receivers: Receivers,
    /// Who may call.
    pub tokens: TokenStore,
    /// Who may push over ssh.
    pub ssh_keys: SshKeys,
    /// Who replaces the server.
    pub reload: Reload,
    pub failed_logins: Arc<Mutex<FailedLogins>>,
    /// Webhooks that were not signed, apart from those: see [`super::hooks`].
    pub failed_hooks: Arc<Mutex<FailedLogins>>,
    /// Wrong passwords for images, apart from those: see [`super::registry`].
    pub failed_pulls: Arc<Mutex<FailedLogins>>,
    /// The images of applications; `None`: the settings name no swarm.
    pub images: Option<Images>,
    /// What processes on a swarm use.
    pub meters: Meters,
    /// The secrets of webhooks.
    pub hooks: Hooks,
    pub uploads: Uploads,
    pub metrics: Arc<Metrics>,
    /// The browsers that are logged in to the dashboard, and those that watch it.
    pub sessions: Sessions,
    pub watchers: Watchers,
    /// What was counted over the last day.
    pub history: ChildRef<Recorder>,
    /// Where the events are that are kept.
    pub event_files: EventFiles,
    /// What became of spans, where the settings name a collector.
    pub spans: Option<Arc<exporter::Counts>>,
}

impl fmt::Debug for ApiState {
    /// The least of it: this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("rules", &self.rules)
            .field("default_user", &self.default_user)
            .field("can_switch", &self.can_switch)
            .finish_non_exhaustive()
    }
}

impl ApiState {
    /// Ends `body` when the server stops, which one that follows must not keep from it, and when the caller's token opens
    /// nothing any more.
    pub(super) fn until_over<S: Stream>(
        &self,
        caller: &Caller,
        body: S,
    ) -> impl Stream<Item = S::Item> + use<S> {
        let (closes, ends) = (self.closes(), self.ends(caller));
        body.take_until(async move {
            tokio::select! {
                () = closes => {}
                () = ends => {}
            }
        })
    }

    /// Resolves when the caller's token has expired or was revoked.
    pub(super) fn ends(&self, caller: &Caller) -> impl Future<Output = ()> + use<> {
        let token = match caller {
            Caller::Token(token) => Some(Arc::clone(token)),
            Caller::Account { .. } | Caller::Key(_) => None,
        };
        let mut known = self.tokens.subscribe();
        async move {
            let Some(token) = token else {
                return std::future::pending().await;
            };
            while known.borrow_and_update().is_good(&token, Timestamp::now()) {
                let changed = known.changed();
                if token.expires.is_some() {
                    // The wall clock may be set at any time.
                    let _changed_or_later = tokio::time::timeout(LOOK_AT_CLOCK, changed).await;
                } else if changed.await.is_err() {
                    return;
                }
            }
        }
    }

    /// Resolves when the server stops.
    pub(super) fn closes(&self) -> impl Future<Output = ()> + use<> {
        let mut closing = self.closing.clone();
        async move {
            // An error means that the tree is gone: then it is closing, too.
            drop(closing.wait_for(|closing| *closing).await);
        }
    }
}

#[cfg(test)]
use crate::process::ports::Ports;

#[cfg(test)]
impl ApiState {
    /// A state without Apps, as while that actor is being restarted: every call that is let in and valid ends in 503.
    pub(super) fn without_apps() -> Self {
        Self {
            apps: ChildRef::default(),
            routing: Routing {
                table: tokio::sync::watch::channel(Arc::default()).1,
                reach: Arc::default(),
            },
            config_dir: Path::new("/nonexistent").into(),
            rules: Rules::default(),
            default_user: DefaultUser::Named("nobody".into()),
            can_switch: false,
            events: Feed::default(),
            closing: watch::channel(false).1,
            closed_ports: watch::channel(Closed::new()).1,
            certificates: Arc::default(),
            acme_results: Arc::default(),
            acme: ChildRef::default(),
            backups: None,
            about: Arc::new(About::new("/nonexistent".into(), Ports::new(8001, 8999))),
            host_name: "localhost".into(),
            drains: Drains::new(vec![], Default::default()),
            receivers: Receivers::new(vec![], None, String::new()),
            audit: AuditLog::start(Path::new("/dev/null"), (1, 1)).expect("a thread"),
            tokens: TokenStore::open(Path::new("/nonexistent"), "the-token").expect("no file"),
            ssh_keys: SshKeys::nobody(),
            reload: Reload::nobody(),
            failed_logins: Arc::default(),
            failed_hooks: Arc::default(),
            failed_pulls: Arc::default(),
            images: None,
            meters: Meters::default(),
            hooks: Hooks::default(),
            uploads: Uploads::default(),
            metrics: Arc::default(),
            sessions: Sessions::open(Path::new("/nonexistent")),
            watchers: Watchers::default(),
            history: ChildRef::default(),
            event_files: EventFiles::below(Path::new("/nonexistent"), 1),
            spans: None,
        }
    }
}

impl ApiState {
    pub(super) async fn ask_apps<M>(&self, message: M) -> Result<M::Result, Problem>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Apps: Handler<M>,
        <Apps as Actor>::Context: ToEnvelope<Apps, M>,
    {
        Ok(ask_child(&self.apps, message).await?)
    }

    /// The App actor of `name`; 404 where there is none.
    async fn find(&self, name: &str) -> Result<Addr<App>, Problem> {
        let name = app_name(name)?;
        Ok(self.ask_apps(Find(name.to_string())).await??)
    }

    /// Asks the App actor of `name`. If it ends before it answers, the application was removed (404), or its actor is
    /// being restarted, and the fresh one is asked.
    pub(super) async fn ask_app<M>(&self, name: &str, message: M) -> Result<M::Result, Problem>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        App: Handler<M>,
        <App as Actor>::Context: ToEnvelope<App, M>,
    {
        self.ask_app_for(name, message, PATIENCE).await
    }

    /// As [`Self::ask_app`], of what may take so long.
    pub(super) async fn ask_app_for<M>(
        &self,
        name: &str,
        message: M,
        patience: Duration,
    ) -> Result<M::Result, Problem>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        App: Handler<M>,
        <App as Actor>::Context: ToEnvelope<App, M>,
    {
        let mut ended = None;
        for _ in 0..LOOKS {
            let app = self.find(name).await?;
            if ended.as_ref() != Some(&app) {
                match app.send(message.clone()).timeout(patience).await {
                    Err(MailboxError::Closed) => ended = Some(app),
                    answer => return Ok(answer?),
                }
            }
            // Apps hears of its end soon.
            actix_rt::time::sleep(BETWEEN_LOOKS).await;
        }
        Err(MailboxError::Closed.into())
    }

    /// Reads the log of `name`. If the Log actor has ended, its application is being removed (409), or the actor is
    /// being restarted, and the fresh one is asked.
    pub(super) async fn read_log(&self, name: &str, query: &Query) -> Result<Lines, Problem> {
        for _ in 0..LOOKS {
            let view = self.inspect(name).await?;
            match ask_child(&view.log, Read(query.clone())).await {
                Err(MailboxError::Closed) if view.is_going => {
                    return Err(AppsError::BeingRemoved(app_name(name)?).into());
                }
                Err(MailboxError::Closed) => actix_rt::time::sleep(BETWEEN_LOOKS).await,
                answer => return Ok(answer?),
            }
        }
        Err(MailboxError::Closed.into())
    }

    /// Everything there is to show of `name`.
    pub(super) async fn inspect(&self, name: &str) -> Result<View, Problem> {
        self.ask_app(name, Inspect).await
    }
}

/// Reads the name in a path. Text that cannot be a name is 404 at once: no app has it.
pub(super) fn app_name(text: &str) -> Result<AppName, Problem> {
    let no_such_app = |_| AppsError::NoSuchApp(text.chars().take(80).collect());
    Ok(AppName::parse(text).map_err(no_such_app)?)
}

/// Sends `message` to an actor that may be in the middle of a restart, and awaits the answer.
pub(super) async fn ask_child<A, M>(
    child: &ChildRef<A>,
    message: M,
) -> Result<M::Result, MailboxError>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    let actor = child.get().ok_or(MailboxError::Closed)?;
    actor.send(message).timeout(PATIENCE).await
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn no_clock_wakes_who_follows_with_a_token_for_good() {
        let state = ApiState::without_apps();
        let known = state.tokens.known();
        let token = known.find(b"the-token", Timestamp::now()).unwrap();
        let caller = Caller::Token(Arc::clone(token));
        // There is no runtime here, so a timer would panic.
        assert!(state.ends(&caller).now_or_never().is_none());
    }

    #[test]
    fn the_token_stays_out_of_logs() {
        assert!(!format!("{:?}", ApiState::without_apps()).contains("the-token"));
    }
}
