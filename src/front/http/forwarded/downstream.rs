//! Heads of responses and trailers, as the client gets them (pure).

use std::collections::BTreeMap;
use std::io::Write as _;

use super::{field, is_dropped, number};
use crate::document::policies::ResponseHeader;
use crate::front::http::by_path;
use crate::front::http::field::{Field, Name, same};
use crate::front::http::framing::Framing;
use crate::front::http::head::Response;
use crate::front::http::write;
use crate::front::own_cookie;

const HSTS: &str = "strict-transport-security";

/// How a response is sent to a client.
#[derive(Clone, Copy, Debug)]
pub struct Downstream<'a> {
    /// How its body is delimited.
    pub framing: Framing,
    /// The client's HTTP/1.x.
    pub minor: u8,
    pub keep_alive: bool,
    pub request_id: &'a [u8],
    /// The time at which the response came, if it has no Date (RFC 9110 §6.6.1).
    pub date: Option<[u8; 29]>,
    /// The protocol that a 101 switches to or a 426 asks for.
    pub upgrade: Option<&'a [u8]>,
    /// The app, if it was reached by path. What it sets stays within that path.
    pub by_path: Option<&'a str>,
    /// The answer is the server's own, which may set its own cookies.
    pub is_own: bool,
    /// For how many seconds browsers are told to use HTTPS alone, unless the app says so itself; 0: they are not.
    pub hsts: u64,
    /// The value of a `Set-Cookie` of the front end's own.
    pub cookie: Option<&'a str>,
    /// Fields that the app's document sets or takes out, by their names in lower case.
    pub fields: Option<&'a BTreeMap<String, ResponseHeader>>,
}

impl Downstream<'_> {
    fn is_replaced(&self, f: &Field<'_>) -> bool {
        let mut names = self.fields.iter().flat_map(|fields| fields.keys());
        names.any(|name| f.is_named(name))
    }

    fn write_own(&self, out: &mut Vec<u8>) {
        for header in self.fields.iter().flat_map(|fields| fields.values()) {
            if let ResponseHeader::Set { name, value } = header {
                field(out, name, value.as_bytes());
            }
        }
    }
}

/// Writes the head of `response` as the client gets it.
pub fn response(out: &mut Vec<u8>, response: &Response<'_>, down: &Downstream<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write::padded::<3>(out, response.status.into());
    write::all(out, [b" ", response.reason, b"\r\n"]);
    let mut written = false;
    for f in &response.fields {
        if f.is(Name::ContentLength) {
            if let Some(bytes) = response.length
                && response.status >= 200
                && response.status != 204
                && !std::mem::replace(&mut written, true)
            {
                number(out, f.name, bytes);
            }
        } else if !f.is(Name::XRequestId)
            && !is_dropped(&response.fields, f)
            && !down.is_replaced(f)
        {
            match (down.by_path, f.like()) {
                // Cookies are those of a host, whatever the port: the dashboard's may be there.
                (_, Name::SetCookie) if !down.is_own && own_cookie::sets_own(f.value) => {}
                (Some(_), Name::ClearSiteData) => {}
                // Nor does it say how browsers reach the others on its host.
                (Some(_), _) if same(HSTS, f.name) => {}
                (Some(app), Name::SetCookie) => by_path::cookie(out, f, app),
                (Some(app), Name::ServiceWorkerAllowed) => by_path::worker_scope(out, f, app),
                _ => field(out, f.name, f.value),
            }
        }
    }
    if let Some(cookie) = down.cookie {
        field(out, "Set-Cookie", cookie.as_bytes());
    }
    if response.status >= 200 {
        down.write_own(out);
        field(out, "X-Request-ID", down.request_id);
        if down.hsts > 0 && !response.fields.into_iter().any(|f| same(HSTS, f.name)) {
            let _ = write!(out, "Strict-Transport-Security: max-age={}\r\n", down.hsts);
        }
        if let Some(date) = down.date {
            field(out, "Date", &date);
        }
        if down.framing == Framing::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
    }
    match down.upgrade {
        Some(protocol) => {
            let close = response.status != 101 && !down.keep_alive;
            let options: &[u8] = if close { b"Upgrade, close" } else { b"Upgrade" };
            field(out, "Connection", options);
            field(out, "Upgrade", protocol);
        }
        None if response.status < 200 => {}
        None if !down.keep_alive => out.extend_from_slice(b"Connection: close\r\n"),
        None if down.minor == 0 => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields that would change a message's meaning if a recipient merged trailers into the head: routing, modifiers of the
/// request, authentication, control of the response, form of the content (RFC 9110 §6.5.1).
const NO_TRAILERS: [&str; 32] = [
    "host",
    "via",
    "trailer",
    "authorization",
    "authentication-info",
    "www-authenticate",
    "cookie",
    "set-cookie",
    "content-type",
    "content-encoding",
    "content-range",
    "expect",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "max-forwards",
    "cache-control",
    "pragma",
    "age",
    "date",
    "expires",
    "vary",
    "location",
    "retry-after",
    "refresh",
    "content-disposition",
    "content-location",
    "clear-site-data",
    "service-worker-allowed",
];

/// Writes a trailer section with its blank line, without `NO_TRAILERS` and what concerns one connection only.
pub fn trailers(out: &mut Vec<u8>, fields: &[Field<'_>]) {
    for f in fields {
        let is_ours = f.like().is_forwarding() || f.like().is_hop_by_hop();
        if !is_ours && !NO_TRAILERS.iter().any(|name| same(name, f.name)) {
            field(out, f.name, f.value);
        }
    }
    out.extend_from_slice(b"\r\n");
}
