//! Decides who may call the API. At the Unix socket these are root, the daemon's user and members of group
//! `procserver`, as the kernel names them; over TCP whoever has a token.

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use actix_web::dev::ServiceRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpRequest, web};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};

use super::caller::Caller;
use super::failed_logins::{FailedLogins, Told};
use super::problem::Problem;
use super::state::ApiState;
use crate::account::API_GROUP;
use crate::front::connection_limit;
use crate::ssh_keys::{KEY_FIELD, SshKey};
use crate::tokens::Token;
use crate::tokens::known::{Known, Refusal};

/// Paths that git calls, whose users have a token as a password.
pub(super) const OF_GIT: &str = "/git/";

/// How a connection came in. It is put into the connection's data at accept; a connection without it counts as
/// [`Access::Tcp`].
#[derive(Debug)]
pub enum Access {
    /// Through the Unix socket, by this account; it was checked.
    Socket {
        uid: u32,
    },
    /// Through the socket for git over ssh, by the user of ssh; it was checked.
    Ssh,
    Tcp,
}

/// The process at the other end of the Unix socket, when it connected (unix(7), `SO_PEERCRED`).
#[derive(Debug)]
pub struct Peer {
    user: Option<(Uid, Gid)>,
}

impl Peer {
    /// A peer with the ids that the kernel tells; without them it is refused.
    #[must_use]
    pub fn new(ids: Option<(u32, u32)>) -> Self {
        Self {
            user: ids.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid))),
        }
    }

    /// Whether this is the user of ssh.
    pub(super) fn is_user(&self, uid: u32) -> bool {
        self.user.is_some_and(|(own, _)| own.as_raw() == uid)
    }

    pub(super) async fn is_allowed(&self) -> bool {
        let Some((uid, gid)) = self.user else {
            return false;
        };
        if uid.is_root() || uid == geteuid() {
            return true;
        }
        // NSS may ask a network: not on this thread.
        let member = web::block(move || is_member(uid, gid)).await;
        member.unwrap_or(false)
    }

    /// The answer to a peer that is not allowed.
    pub(super) fn forbidden() -> Problem {
        let detail = format!(
            "Only root, the server's own user and members of group \"{API_GROUP}\" may use this socket: \
             add the user (usermod -aG {API_GROUP} USER) and log in again."
        );
        Problem::new(StatusCode::FORBIDDEN, detail)
    }
}

/// Whether `uid` is in [`API_GROUP`], by its primary group, the one it runs under, or its supplementary ones. Blocks.
fn is_member(uid: Uid, gid: Gid) -> bool {
    let Ok(Some(group)) = Group::from_name(API_GROUP) else {
        return false;
    };
    if gid == group.gid {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(uid) else {
        return false;
    };
    CString::new(user.name)
        .ok()
        .and_then(|name| getgrouplist(&name, user.gid).ok())
        .is_some_and(|groups| groups.contains(&group.gid))
}

/// Says who calls; 401 or 429 where nobody knows.
pub(super) fn identify(request: &ServiceRequest, state: &ApiState) -> Result<Caller, Problem> {
    // The peer was checked when it connected.
    if let Some(Access::Socket { uid }) = request.conn_data::<Access>() {
        return Ok(Caller::Account { uid: *uid });
    }
    if let Some(Access::Ssh) = request.conn_data::<Access>() {
        return holder_of_key(request.headers(), state).map(Caller::Key);
    }
    let is_git = request.path().starts_with(OF_GIT);
    if !request.headers().contains_key(header::AUTHORIZATION) {
        return Err(match is_git {
            true => no_password(),
            false => no_token(),
        });
    }
    let wall = Timestamp::now();
    let look = || check_token(request.headers(), is_git, &state.tokens.known(), wall);
    let token = counting_failures(request.request(), state, look)?;
    Ok(Caller::Token(token))
}

/// The token that somebody logs in with.
pub(super) fn log_in(
    request: &HttpRequest,
    state: &ApiState,
    given: &str,
) -> Result<Arc<Token>, Problem> {
    let look = || {
        let known = state.tokens.known();
        let found = known.find(given.trim().as_bytes(), Timestamp::now());
        found.map(Arc::clone).map_err(|refusal| {
            let detail = refused(refusal);
            Problem::new(StatusCode::UNAUTHORIZED, detail)
        })
    };
    counting_failures(request, state, look)
}

/// Looks at a token, unless too many wrong ones have come from where this request is from.
fn counting_failures(
    request: &HttpRequest,
    state: &ApiState,
    look: impl FnOnce() -> Result<Arc<Token>, Problem>,
) -> Result<Arc<Token>, Problem> {
    let (address, now) = (counted(request), Instant::now());
    // Nobody holds the lock for longer than such a look.
    let mut failed = state
        .failed_logins
        .lock()
        .unwrap_or_else(|e| e.into_inner());
    if let Some(left) = failed.waits(address, now) {
        let more = "and is not listened to for a while";
        tell(failed.refuse(now), TOKEN, address, more);
        return Err(too_many(
            left,
            "Too many wrong tokens came from your address: no token is looked at",
            " The Unix socket needs none.",
        ));
    }
    let found = look();
    match &found {
        Ok(token) => note_use(token, state, Timestamp::now()),
        Err(_) => tell(failed.count(address, now), TOKEN, address, ""),
    }
    found
}

/// Notes that a token was used.
pub(super) fn note_use(token: &Token, state: &ApiState, now: Timestamp) {
    if state.tokens.note_use(token, now) {
        let tokens = state.tokens.clone();
        // Nobody waits for it.
        drop(actix_rt::task::spawn_blocking(move || tokens.write_uses()));
    }
}

/// The key by which sshd let somebody in, as the forced command says, which nobody else can be at that socket.
fn holder_of_key(headers: &HeaderMap, state: &ApiState) -> Result<Arc<SshKey>, Problem> {
    let id = headers.get(KEY_FIELD).and_then(|id| id.to_str().ok());
    let key = state.ssh_keys.find(id.unwrap_or_default());
    let key = key.ok_or_else(|| {
        let detail = "This ssh key was removed: ask who runs the server to add one (procserver ssh-key add).";
        Problem::new(StatusCode::FORBIDDEN, detail)
    })?;
    if state.ssh_keys.note_use(&key, Timestamp::now()) {
        let keys = state.ssh_keys.clone();
        // Nobody waits for it.
        drop(actix_rt::task::spawn_blocking(move || keys.write_uses()));
    }
    Ok(key)
}

/// What the log calls it when one fails.
const TOKEN: &str = "a wrong token";

/// What somebody may fail with who needs no token. It locks nobody out of the API: anybody can send one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Other {
    /// A webhook that is not signed.
    Hook,
    /// The password of an application's images.
    Pull,
}

impl Other {
    fn failed(self, state: &ApiState) -> MutexGuard<'_, FailedLogins> {
        let failed = match self {
            Self::Hook => &state.failed_hooks,
            Self::Pull => &state.failed_pulls,
        };
        failed.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn what(self) -> &'static str {
        match self {
            Self::Hook => "an unsigned or wrongly signed webhook",
            Self::Pull => "a wrong password for images",
        }
    }

    fn too_many(self) -> &'static str {
        match self {
            Self::Hook => {
                "Too many webhooks with a wrong signature came from your address: none is looked at"
            }
            Self::Pull => {
                "Too many wrong passwords for images came from your address: none is looked at"
            }
        }
    }

    /// Refuses an address that has failed too often with 429.
    pub(super) fn refuse_if_locked_out(
        self,
        request: &HttpRequest,
        state: &ApiState,
    ) -> Result<(), Problem> {
        let (address, now) = (counted(request), Instant::now());
        let mut failed = self.failed(state);
        match failed.waits(address, now) {
            Some(left) => {
                let more = "and is not listened to for a while";
                tell(failed.refuse(now), self.what(), address, more);
                Err(too_many(left, self.too_many(), ""))
            }
            None => Ok(()),
        }
    }

    /// Counts a failure.
    pub(super) fn count(self, request: &HttpRequest, state: &ApiState) {
        let (address, now) = (counted(request), Instant::now());
        tell(
            self.failed(state).count(address, now),
            self.what(),
            address,
            "",
        );
    }
}

/// Returns the client's address, which the front end adds to every request.
pub(super) fn address(request: &HttpRequest) -> Option<IpAddr> {
    let said = request.headers().get("x-real-ip");
    let said = said.and_then(|value| value.to_str().ok()?.parse().ok());
    said.or(request.peer_addr().map(|peer| peer.ip()))
}

/// Returns what the client's address counts as.
fn counted(request: &HttpRequest) -> IpAddr {
    let address = address(request).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    connection_limit::counted(address)
}

fn tell(told: Told, what: &str, address: IpAddr, more: &str) {
    match told {
        Told::Now(0) => log::warn!("API: {what} from {address} {more}"),
        Told::Now(others) => {
            log::warn!("API: {what} from {address} {more}({others} others are not shown)");
        }
        Told::Later => {}
    }
}

fn too_many(left: Duration, what: &str, instead: &str) -> Problem {
    let seconds = left.as_secs() + 1;
    let detail = format!("{what} for {seconds} s.{instead}");
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
    problem.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

fn no_token() -> Problem {
    let detail = "A token is needed: send \"Authorization: Bearer TOKEN\". The server keeps the first one in the file \
                  \"token\" of its data directory; \"procserver token create\" makes others.";
    unauthorized(detail, "Bearer realm=\"procserver\"")
}

/// git asks people for a user and a password, and sends nothing else.
fn no_password() -> Problem {
    let detail = "A token is needed: any user name, and the token as the password. \"procserver token create NAME --scope deploy\" makes one.";
    unauthorized(detail, "Basic realm=\"procserver\", charset=\"UTF-8\"")
}

/// What stands behind the scheme, which is case-insensitive (RFC 9110 §11.1).
fn behind<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (given, rest) = value.split_at_checked(scheme.len())?;
    let is_it = given.eq_ignore_ascii_case(scheme.as_bytes()) && rest.first() == Some(&b' ');
    is_it.then(|| rest.trim_ascii())
}

/// User and password of Basic (RFC 7617).
pub(super) fn basic(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let decoded = BASE64_STANDARD.decode(behind(value, "Basic")?).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}

/// The password of Basic (RFC 7617), or the user where there is no password: some write a token in its place.
fn password(given: &[u8]) -> Option<Vec<u8>> {
    let decoded = BASE64_STANDARD.decode(given).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
    Some(match password {
        b"" => user.to_vec(),
        password => password.to_vec(),
    })
}

/// Finds the token in `Authorization`; `is_git`: also as a password.
fn check_token(
    headers: &HeaderMap,
    is_git: bool,
    known: &Known,
    now: Timestamp,
) -> Result<Arc<Token>, Problem> {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.map(HeaderValue::as_bytes).unwrap_or_default();
    let given = behind(value, "Bearer").map(<[u8]>::to_vec);
    let given = given.or_else(|| password(behind(value, "Basic").filter(|_| is_git)?));
    let found = given.map_or(Err(Refusal::Unknown), |given| known.find(&given, now));
    found.map(Arc::clone).map_err(|refusal| {
        let detail = refused(refusal);
        let challenge = match is_git {
            true => "Basic realm=\"procserver\", charset=\"UTF-8\"",
            false => "Bearer realm=\"procserver\", error=\"invalid_token\"",
        };
        unauthorized(&detail, challenge)
    })
}

fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::Unknown => "The token is not this server's.".to_owned(),
        Refusal::Expired(at) => {
            format!("The token expired at {at:.0}: ask who runs the server for a new one.")
        }
    }
}

fn unauthorized(detail: &str, challenge: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail).with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    )
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError as _;
    use actix_web::test::TestRequest;

    use super::*;

    fn try_with(authorization: &str, token: &str) -> Result<Arc<Token>, Problem> {
        let request = TestRequest::default().insert_header((header::AUTHORIZATION, authorization));
        let nowhere = std::path::Path::new("/nonexistent");
        let tokens = crate::tokens::TokenStore::open(nowhere, token).unwrap();
        let headers = request.to_http_request();
        check_token(headers.headers(), false, &tokens.known(), Timestamp::now())
    }

    #[test]
    fn only_the_token_opens() {
        assert!(try_with("Bearer abc", "abc").unwrap().is_first());
        assert!(try_with("bearer abc", "abc").is_ok());
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer ab",
            "Bearer abcd",
            "Bearer ABC",
            "Basic abc",
            "abc",
            "",
        ] {
            assert!(try_with(wrong, "abc").is_err(), "{wrong}");
        }
        let response = no_token().error_response();
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key("www-authenticate"));
    }

    #[actix_web::test]
    async fn the_kernel_tells_who_is_at_the_socket() {
        assert!(Peer::new(Some((0, 0))).is_allowed().await);
        assert!(Peer::new(Some((geteuid().as_raw(), 0))).is_allowed().await);
        assert!(!Peer::new(None).is_allowed().await);
        assert!(
            !Peer::new(Some((4_000_000_000, 4_000_000_000)))
                .is_allowed()
                .await
        );
    }
}
