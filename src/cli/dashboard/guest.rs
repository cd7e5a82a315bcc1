//! [`Guests`]: which browser is let in: the one that had the link first.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::front::own_cookie::{self, OWN};
use crate::tokens::token::Digest;

/// How long the link works.
const LASTS: Duration = Duration::from_secs(300);

/// Which browser is let in. All clones are one.
#[derive(Clone)]
pub(super) struct Guests(Arc<Inner>);

struct Inner {
    /// `RANDOM.localhost:PORT`: no other name for this machine will do, or a page could give itself one (DNS
    /// rebinding), and a server at another port of a known one would be sent the cookie.
    authority: String,
    cookie_name: String,
    /// What the browser has that is let in.
    cookie: String,
    /// What the server makes the keys of forms of.
    form: String,
    link: String,
    begun: Instant,
    is_used: Mutex<bool>,
}

/// What the link leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// The browser gets this cookie.
    Opened(String),
    Wrong,
    /// It was used before, or too late.
    Over,
}

impl Guests {
    pub(super) fn new(port: u16) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Inner {
            authority: authority(&name()?, port),
            cookie_name: format!("{OWN}_{port}"),
            cookie: secret()?,
            form: secret()?,
            link: secret()?,
            begun: Instant::now(),
            is_used: Mutex::new(false),
        })))
    }

    pub(super) fn link(&self) -> String {
        format!("http://{}/ui?link={}", self.0.authority, self.0.link)
    }

    pub(super) fn form(&self) -> &str {
        &self.0.form
    }

    /// Whether the request is by the very name that was printed.
    pub(super) fn is_called_rightly(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST);
        host.is_some_and(|host| host.as_bytes() == self.0.authority.as_bytes())
    }

    /// Opens the link, once.
    pub(super) fn open(&self, given: &str, now: Instant) -> Link {
        if !same(given, &self.0.link) {
            return Link::Wrong;
        }
        let mut is_used = self.0.is_used.lock().unwrap_or_else(|e| e.into_inner());
        if *is_used || now.saturating_duration_since(self.0.begun) > LASTS {
            return Link::Over;
        }
        *is_used = true;
        let Inner {
            cookie_name,
            cookie,
            ..
        } = &*self.0;
        Link::Opened(format!(
            // No `Domain`: for this very host.
            "{cookie_name}={cookie}; Path=/ui; HttpOnly; SameSite=Strict"
        ))
    }

    /// Whether a page of this host, or a person, makes the browser ask that was let in.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
        let is_own_page =
            text("sec-fetch-site").is_none_or(|s| matches!(s, "none" | "same-origin"));
        let own = format!("http://{}", self.0.authority);
        let is_own_origin = text("origin").is_none_or(|origin| origin == own);
        is_own_page && is_own_origin && self.has_cookie(headers)
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let fields = headers.get_all(header::COOKIE);
        let fields = fields.map(HeaderValue::as_bytes);
        let mut own = own_cookie::values(fields, &self.0.cookie_name);
        own.any(|value| same(value, &self.0.cookie))
    }
}

/// Compares digests, so that the time tells nothing of use.
fn same(given: &str, own: &str) -> bool {
    Digest::of(given.as_bytes()) == Digest::of(own.as_bytes())
}

/// As browsers send it.
fn authority(name: &str, port: u16) -> String {
    match port {
        80 => name.to_owned(),
        _ => format!("{name}:{port}"),
    }
}

/// A name of this machine that nobody can guess (RFC 6761 §6.3).
fn name() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the kernel gives no random bytes")?;
    Ok(format!("{:032x}.localhost", u128::from_ne_bytes(bytes)))
}

fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the kernel gives no random bytes")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut request = TestRequest::default();
        for (name, value) in fields {
            request = request.insert_header((*name, *value));
        }
        request.to_http_request().headers().clone()
    }

    #[test]
    fn the_link_opens_once_and_in_time() {
        let guests = Guests::new(9000).unwrap();
        let own = format!("http://{}", guests.0.authority);
        let secret = guests.0.link.as_str();
        let now = Instant::now();
        assert_eq!(guests.open("", now), Link::Wrong);
        assert_eq!(guests.open(&secret[1..], now), Link::Wrong);
        assert_eq!(guests.open(secret, now + LASTS * 2), Link::Over);
        let Link::Opened(cookie) = guests.open(secret, now) else {
            panic!("it opens");
        };
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(!cookie.contains("Domain"), "{cookie}");
        assert_eq!(guests.open(secret, now), Link::Over);
        let pair = cookie.split(';').next().unwrap();
        assert!(guests.knows(&headers(&[("cookie", pair)])));
        assert!(guests.knows(&headers(&[
            ("cookie", pair),
            ("sec-fetch-site", "same-origin"),
            ("origin", &own),
        ])));
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://127.0.0.1:9000"),
            ("origin", "http://localhost:9000"),
            ("origin", own.trim_end_matches(":9000")),
            ("origin", "null"),
        ] {
            assert!(
                !guests.knows(&headers(&[("cookie", pair), (name, value)])),
                "{value}"
            );
        }
        assert!(!guests.knows(&headers(&[("cookie", &pair[..pair.len() - 1])])));
        assert!(!guests.knows(&headers(&[])));
    }

    #[test]
    fn no_other_name_of_this_machine_will_do() {
        let guests = Guests::new(9000).unwrap();
        let link = guests.link();
        let (own, _) = link["http://".len()..].split_once('/').unwrap();
        let name = own.strip_suffix(".localhost:9000").unwrap();
        assert!(name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(guests.is_called_rightly(&headers(&[("host", own)])));
        let other = Guests::new(9000).unwrap();
        for host in [
            "127.0.0.1:9000",
            "[::1]:9000",
            "localhost:9000",
            "evil.example:9000",
            "evil.localhost:9000",
            &other.0.authority,
            &format!("{name}.localhost"),
            &format!("{name}.localhost:9001"),
            &format!("evil.{own}"),
        ] {
            assert!(
                !guests.is_called_rightly(&headers(&[("host", host)])),
                "{host}"
            );
        }
        assert!(!guests.is_called_rightly(&headers(&[])));
    }

    #[test]
    fn the_port_that_browsers_leave_out_is_left_out() {
        assert_eq!(authority("a.localhost", 80), "a.localhost");
        assert_eq!(authority("a.localhost", 8080), "a.localhost:8080");
    }
}
