//! The API on the Unix socket, and git on the one of ssh. The kernel names the caller, and one without the right is
//! refused before a byte is read.
//!
//! Its file is 0660 of root and group `procserver`, so strangers cannot connect. Each account holds a limited number of
//! connections: one that is broken into must not keep root from its own server.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_http::HttpService;
use actix_rt::Arbiter;
use actix_service::{Service, ServiceFactory, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use actix_web::http::StatusCode;
use jiff::Timestamp;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, oneshot, watch};

use super::app::{configure, configure_git};
use super::auth::{Access, Peer};
use super::problem::Problem;
use super::state::ApiState;
use crate::audit::{AuditLog, Entry};
use crate::tally::Tally;
use crate::threads;

/// How long calls in flight may take when the daemon stops.
const DRAIN: Duration = Duration::from_secs(5);

/// The same when the next server takes its place.
const LEAVE: Duration = Duration::from_millis(500);

/// The pause after a failed accept: without file descriptors the next one would fail at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections at a time: of one account, of all but root and the server's own, of these two.
const OF_USER: usize = 64;
const OF_OTHERS: usize = 128;
const OF_OWNERS: usize = 128;

/// What is served, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// All of the API, to root, the server's user and members of the group.
    Api,
    /// git alone, to the user as which sshd(8) lets those in who push.
    Git { uid: u32 },
}

/// A running server of the API on the Unix socket.
#[derive(Debug)]
pub struct SocketServer {
    stopping: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
    thread: Arbiter,
}

/// Serves on `listener` what is behind `door`, on a thread of its own.
///
/// # Errors
/// The listener or a thread cannot be had.
pub fn serve(listener: StdListener, state: ApiState, door: Door) -> io::Result<SocketServer> {
    listener.set_nonblocking(true)?;
    let thread = Arbiter::try_with_tokio_rt(threads::runtime)?;
    let (stopping, is_stopping) = watch::channel(false);
    let (done, ended) = oneshot::channel();
    thread.spawn_fn(move || {
        actix_rt::spawn(async move {
            match UnixListener::from_std(listener) {
                Ok(listener) => accept_all(listener, state, door, is_stopping).await,
                Err(error) => log::error!("the API's socket: {error}"),
            }
            // Nobody waits when the server was dropped.
            let _nobody = done.send(());
        });
    });
    Ok(SocketServer {
        stopping,
        ended,
        thread,
    })
}

impl SocketServer {
    /// As [`SocketServer::stop`], when the next server waits: calls have little time.
    pub async fn leave(self) {
        let _late = tokio::time::timeout(LEAVE, self.stop()).await;
    }

    /// Closes the listener now, and each connection when its call is over or its time is up.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        // An error means that the thread has ended already.
        let _ended = self.ended.await;
        self.thread.stop();
    }
}

#[derive(Debug, Default)]
struct Callers {
    by_user: RefCell<HashMap<u32, usize>>,
    gone: Notify,
    refusals: RefCell<Tally>,
}

/// A connection; dropping it takes it off.
struct Caller {
    all: Rc<Callers>,
    uid: u32,
}

impl Callers {
    fn enter(self: &Rc<Self>, uid: u32) -> Option<Caller> {
        let mut by_user = self.by_user.borrow_mut();
        let owns = |uid: u32| uid == 0 || uid == nix::unistd::geteuid().as_raw();
        let of_kind = |owners| by_user.iter().filter(move |(uid, _)| owns(**uid) == owners);
        let present: usize = of_kind(owns(uid)).map(|(_, count)| count).sum();
        let own = by_user.get(&uid).copied().unwrap_or(0);
        let has_room = match owns(uid) {
            true => present < OF_OWNERS,
            false => present < OF_OTHERS && own < OF_USER,
        };
        has_room.then(|| {
            *by_user.entry(uid).or_default() += 1;
            Caller {
                all: Rc::clone(self),
                uid,
            }
        })
    }

    async fn all_gone(&self) {
        while !self.by_user.borrow().is_empty() {
            self.gone.notified().await;
        }
    }

    fn tell(&self, uid: u32, why: &str) {
        let count = self.refusals.borrow_mut().count(Instant::now());
        if let Some(count) = count {
            log::warn!(
                "{count} connections to the API's socket were refused, the last one of user {uid}: {why}"
            );
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut by_user = self.all.by_user.borrow_mut();
        if let Some(count) = by_user.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                by_user.remove(&self.uid);
            }
        }
        self.all.gone.notify_one();
    }
}

async fn accept_all(
    listener: UnixListener,
    state: ApiState,
    door: Door,
    mut stopping: watch::Receiver<bool>,
) {
    let audit = state.audit.clone();
    let app = App::new().configure(|config| match door {
        Door::Api => configure(config, state),
        Door::Git { .. } => configure_git(config, state),
    });
    let started = HttpService::build()
        // A client that is gone no longer follows a log or waits for a deployment.
        .h1_allow_half_closed(false)
        .on_connect_ext(move |stream: &UnixStream, data| match door {
            Door::Git { .. } => drop(data.insert(Access::Ssh)),
            // A peer without ids was refused.
            Door::Api => {
                if let Ok(peer) = stream.peer_cred() {
                    data.insert(Access::Socket { uid: peer.uid() });
                }
            }
        })
        .h1(map_config(app, |()| AppConfig::default()))
        .new_service(())
        .await;
    let Ok(service) = started else {
        return log::error!("the API could not be started on its socket");
    };
    let (service, callers) = (Rc::new(service), Rc::new(Callers::default()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        match accepted {
            Ok((stream, _)) => accept(stream, door, &service, &callers, &audit),
            Err(error) => {
                log::warn!("the API's socket: a connection cannot be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let _late = tokio::time::timeout(DRAIN, callers.all_gone()).await;
}

fn accept<S>(
    stream: UnixStream,
    door: Door,
    service: &Rc<S>,
    callers: &Rc<Callers>,
    audit: &AuditLog,
) where
    S: Service<(UnixStream, Option<std::net::SocketAddr>), Error: std::fmt::Display> + 'static,
{
    let ids = stream.peer_cred().ok().map(|c| (c.uid(), c.gid()));
    let (peer, uid) = (Peer::new(ids), ids.map_or(u32::MAX, |(uid, _)| uid));
    let Some(caller) = callers.enter(uid) else {
        callers.tell(uid, "it has too many connections");
        let detail = "This user has too many connections to the API's socket: close some.";
        return refuse(&stream, &Problem::unavailable(detail));
    };
    let (service, audit) = (Rc::clone(service), audit.clone());
    actix_rt::spawn(async move {
        let is_allowed = match door {
            Door::Api => peer.is_allowed().await,
            Door::Git { uid } => peer.is_user(uid),
        };
        if !is_allowed {
            caller.all.tell(uid, "it may not use the API");
            audit.tell(Entry::of_uninvited(uid, Timestamp::now()));
            return refuse(&stream, &forbidden(door));
        }
        if let Err(error) = service.call((stream, None)).await {
            log::debug!("a connection to the API's socket: {error}");
        }
        drop(caller);
    });
}

fn forbidden(door: Door) -> Problem {
    match door {
        Door::Api => Peer::forbidden(),
        Door::Git { .. } => Problem::new(
            StatusCode::FORBIDDEN,
            "Only sshd's user for git may use this socket.",
        ),
    }
}

/// Says why, as far as that can be done without waiting, and closes.
fn refuse(stream: &UnixStream, problem: &Problem) {
    // A stream that was accepted just now has room for it.
    let _unread = stream.try_write(&problem.as_response());
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[actix_web::test]
    async fn the_daemons_own_user_needs_no_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let state = ApiState::without_apps();
        let server = serve(StdListener::bind(&path).unwrap(), state, Door::Api).unwrap();
        let mut client = UnixStream::connect(&path).await.unwrap();
        let request = "GET /applications HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        // Let in, but there are no Apps to ask in this test.
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        server.stop().await;
        assert!(UnixStream::connect(&path).await.is_err());
    }

    #[actix_web::test]
    async fn the_socket_of_ssh_is_for_one_user_who_is_root_no_more_than_others() {
        let directory = tempfile::tempdir().unwrap();
        let own = nix::unistd::geteuid().as_raw();
        for (uid, wanted) in [(own + 1, "only sshd's user"), (own, "ssh key was removed")] {
            let path = directory.path().join(uid.to_string());
            let listener = StdListener::bind(&path).unwrap();
            let state = ApiState::without_apps();
            let server = serve(listener, state, Door::Git { uid }).unwrap();
            let mut client = UnixStream::connect(&path).await.unwrap();
            let request = "POST /git/a.git/session/git-receive-pack HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            // One that is refused may be gone before it has written.
            let _ = client.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
            assert!(answer.to_lowercase().contains(wanted), "{answer}");
            server.stop().await;
        }
    }

    #[test]
    fn no_account_has_more_than_its_part_and_the_owners_have_their_own() {
        let callers = Rc::new(Callers::default());
        let enter = |uid: u32, count: usize| -> Vec<Caller> {
            (0..count).map_while(|_| callers.enter(uid)).collect()
        };
        let first = enter(4_000_000_000, 1000);
        assert_eq!(first.len(), OF_USER);
        let others: Vec<_> = (1..9).map(|n| enter(4_000_000_000 + n, 1000)).collect();
        let present: usize = others.iter().map(Vec::len).sum();
        assert_eq!(present + first.len(), OF_OTHERS);
        assert_eq!(enter(0, 1000).len(), OF_OWNERS);
        drop((first, others));
        assert_eq!(enter(4_000_000_001, 1000).len(), OF_USER);
        assert!(callers.by_user.borrow().is_empty());
    }

    #[test]
    fn a_refusal_is_a_whole_response() {
        let text = String::from_utf8(Peer::forbidden().as_response()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        assert!(
            head.contains(&format!("\r\nContent-Length: {}", body.len())),
            "{head}"
        );
        assert!(body.contains("usermod"), "{body}");
    }
}
