//! Rewrites heads: takes hop-by-hop fields out and puts forwarding fields in (pure).
//!
//! Fields that stay keep their order, their case and their lines.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::by_path;
use super::field::{Field, Name, same};
use super::fields::Fields;
use super::framing::Framing;
use super::head::{Request, Response};
use super::token::decimal;
use super::trusted_proxies::{Stated, authority, client, stated};
use super::write;
use crate::document::policies::ResponseHeader;
use crate::front::own_cookie;
use crate::front::own_token::OwnToken;
use crate::traces::context::{self, Ids};

/// What a request's head is rewritten with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub peer: IpAddr,
    /// The address that the peer connected to.
    pub local: SocketAddr,
    /// It came by TLS.
    pub secure: bool,
    /// It came by HTTP/2.
    pub http2: bool,
    /// The peer's forwarding fields are believed.
    pub trusted: bool,
    /// The networks whose forwarding fields are believed.
    pub networks: &'a [IpNet],
    pub request_id: &'a [u8],
    /// When the request came, milliseconds since 1970.
    pub arrived: u64,
    /// Bytes at the front of the target that are removed and become `X-Forwarded-Prefix`.
    pub strip: usize,
    /// The token that an app must not be sent, no more than the dashboard's cookie. `None` for the API, which asks for both.
    pub withheld: Option<&'a OwnToken>,
    /// Who was let in by a password, which the app is not sent.
    pub user: Option<&'a str>,
    /// The name of a cookie that is the front end's own.
    pub cookie: Option<&'a str>,
    /// The span that this server tells of: it is the parent of the application's.
    pub trace: Option<Ids>,
}

impl Context<'_> {
    /// Returns the client's address, as far as trusted peers tell it.
    fn client(&self, fields: &Fields<'_>) -> IpAddr {
        client(self.peer, self.trusted, fields, self.networks)
    }

    fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    fn is_withheld(&self, f: &Field<'_>) -> bool {
        if f.like() == Name::Authorization && self.user.is_some() {
            return true;
        }
        f.is(Name::Authorization) && self.withheld.is_some_and(|token| token.is_in(f.value))
            || self.user.is_some() && NAMES_OF_USERS.iter().any(|name| same(name, f.name))
    }
}

/// Fields by which proxies tell an app who the user is. Where this server tells it, nobody else does.
const NAMES_OF_USERS: [&str; 3] = ["x-forwarded-user", "remote-user", "x-remote-user"];

/// Writes the head of `request` as a backend gets it.
pub fn request(out: &mut Vec<u8>, request: &Request<'_>, context: &Context<'_>) {
    let (prefix, target) = request
        .target
        .split_at_checked(context.strip)
        .unwrap_or(("", request.target));
    let root = if target.starts_with(['/', '*']) {
        ""
    } else {
        "/"
    };
    let method = request.method.as_bytes();
    write::all(
        out,
        [
            method,
            b" ",
            root.as_bytes(),
            target.as_bytes(),
            b" HTTP/1.1\r\n",
        ],
    );
    let authority = request.authority.map_or("", |a| a.text);
    if request.absolute || request.authority.is_none() {
        field(out, "Host", authority.as_bytes());
    }
    let appended = pass_fields(out, request, context, prefix);
    connection(out, request);
    out.extend_from_slice(match (context.http2, request.minor) {
        (true, _) => b"Via: 2.0 procserver\r\n",
        (false, 0) => b"Via: 1.0 procserver\r\n",
        (false, _) => b"Via: 1.1 procserver\r\n",
    });
    appended.finish(out, request, context, prefix);
    out.extend_from_slice(b"\r\n");
}

/// Writes the client's fields that go on. Returns which forwarding fields are among them, with this hop appended.
fn pass_fields<'b>(
    out: &mut Vec<u8>,
    request: &Request<'b>,
    context: &Context<'_>,
    prefix: &str,
) -> Appended<'b> {
    let mut appended = Appended {
        last_for: request
            .fields
            .named(Name::ForwardedFor)
            .next_back()
            .copied(),
        ..Appended::default()
    };
    let options = request.method == "OPTIONS";
    for f in &request.fields {
        if f.is(Name::Host) {
            if !request.absolute {
                field(out, f.name, f.value);
            }
        } else if f.like().is_forwarding() {
            if context.trusted && !context.is_withheld(f) {
                appended.pass(out, f, context, prefix);
            }
        } else if f.is(Name::ContentLength) {
            if !std::mem::replace(&mut appended.length, true) {
                length(out, f.name, request.framing);
            }
        } else if request.minor == 0 && f.is(Name::Expect) {
            // Expect means nothing in HTTP/1.0, but would in the HTTP/1.1 that is sent on.
        } else if f.is(Name::Cookie) && context.withheld.is_some() {
            if let Some(others) = own_cookie::without_own(f.value, context.cookie) {
                field(out, f.name, &others);
            }
        } else if context.trace.is_some() && same(context::FIELD, f.name) {
            // This server's own follows.
        } else if !is_dropped(&request.fields, f) && !context.is_withheld(f) {
            match options.then(|| hops_left(f)).flatten() {
                Some(hops) => drop(write!(out, "{}: {hops}\r\n", f.name)),
                None => field(out, f.name, f.value),
            }
        }
    }
    appended
}

/// Writes the fields that concern the connection to the backend.
fn connection(out: &mut Vec<u8>, request: &Request<'_>) {
    if request.framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    let mut te = request.fields.tokens(Name::Te);
    let te = te.any(|t| t.eq_ignore_ascii_case(b"trailers"));
    match request.upgrade {
        Some(protocols) => {
            let _ = write!(out, "Connection: Upgrade\r\nUpgrade: {protocols}\r\n");
        }
        None if te => out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n"),
        None => {}
    }
}

/// The forwarding fields of a trusted peer that were passed on already.
#[derive(Default)]
struct Appended<'b> {
    /// The last line of X-Forwarded-For, to which this hop is appended.
    last_for: Option<Field<'b>>,
    length: bool,
    for_: bool,
    proto: bool,
    host: bool,
    port: bool,
    prefix: bool,
    forwarded: bool,
    real_ip: bool,
    start: bool,
}

impl Appended<'_> {
    /// Passes a trusted peer's field on, with this hop appended where the field is a list of hops.
    fn pass(&mut self, out: &mut Vec<u8>, f: &Field<'_>, c: &Context<'_>, prefix: &str) {
        let seen = match f.like() {
            Name::ForwardedFor => &mut self.for_,
            Name::ForwardedProto => &mut self.proto,
            Name::ForwardedHost => &mut self.host,
            Name::ForwardedPort => &mut self.port,
            Name::ForwardedPrefix => &mut self.prefix,
            Name::Forwarded => &mut self.forwarded,
            Name::ForwardedOther => return field(out, f.name, f.value),
            Name::FromProxy if !f.is_odd() => return field(out, f.name, f.value),
            // The API believes this one, so only this server may say it to the API.
            Name::RealIp if c.withheld.is_some() => &mut self.real_ip,
            // A balancer in front had the request first.
            Name::RequestStart => &mut self.start,
            _ => return,
        };
        if f.is_odd() {
            return;
        }
        let first = !std::mem::replace(seen, true);
        write::all(out, [f.name.as_bytes(), b": ", f.value]);
        if f.is(Name::ForwardedPrefix) && first {
            out.extend_from_slice(prefix.as_bytes());
        }
        let is_last = |last: Field<'_>| std::ptr::eq(last.value, f.value);
        if self.last_for.is_some_and(is_last) {
            let _ = write!(out, ", {}", c.peer.to_canonical());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Writes the forwarding fields that were not passed on.
    fn finish(&self, out: &mut Vec<u8>, request: &Request<'_>, c: &Context<'_>, prefix: &str) {
        let peer = c.peer.to_canonical();
        let authority = request.authority;
        let host = authority.map_or("", |a| a.text);
        // A trusted peer may use `Forwarded` alone. Apps read the other fields, so those say the same.
        let stated = match self.forwarded {
            true => stated(&request.fields, c.networks),
            false => Stated::default(),
        };
        if !self.for_ {
            out.extend_from_slice(b"X-Forwarded-For: ");
            out.extend_from_slice(stated.hops.as_bytes());
            write::address(out, peer);
            out.extend_from_slice(b"\r\n");
        }
        if !self.proto {
            let protocol = stated.protocol.unwrap_or(c.scheme());
            field(out, "X-Forwarded-Proto", protocol.as_bytes());
        }
        if !self.host {
            let host = stated.host.map_or(host, |a| a.text);
            field(out, "X-Forwarded-Host", host.as_bytes());
        }
        if !self.port {
            let port = self.port(request, &stated, c.scheme());
            let port = port.unwrap_or(c.local.port());
            number(out, "X-Forwarded-Port", port.into());
        }
        if !self.real_ip {
            out.extend_from_slice(b"X-Real-IP: ");
            write::address(out, c.client(&request.fields));
            out.extend_from_slice(b"\r\n");
        }
        if !self.start {
            // As Heroku has it: monitors tell by it how long a request waited for a process.
            let _ = write!(out, "X-Request-Start: t={}\r\n", c.arrived);
        }
        if !self.prefix && !prefix.is_empty() {
            field(out, "X-Forwarded-Prefix", prefix.as_bytes());
        }
        if self.forwarded || request.fields.has(Name::Forwarded) {
            let node = if peer.is_ipv6() {
                format!("\"[{peer}]\"")
            } else {
                peer.to_string()
            };
            let _ = write!(out, "Forwarded: for={node};proto={}", c.scheme());
            if !host.is_empty() {
                let _ = write!(out, ";host=\"{host}\"");
            }
            out.extend_from_slice(b"\r\n");
        }
        field(out, "X-Request-ID", c.request_id);
        if let Some(user) = c.user {
            field(out, "X-Forwarded-User", user.as_bytes());
        }
        if let Some(ids) = &c.trace {
            field(out, context::FIELD, ids.traceparent().as_bytes());
        }
    }

    /// Returns the port that the client asked, if anybody says. A peer that names a host or a protocol was asked at its
    /// own port, not at this one.
    fn port(&self, request: &Request<'_>, stated: &Stated<'_>, own: &str) -> Option<u16> {
        let first = |name, said: bool| match said {
            true => request.fields.tokens(name).next(),
            false => None,
        };
        let protocol = first(Name::ForwardedProto, self.proto);
        let protocol = protocol.or(stated.protocol.map(str::as_bytes));
        let default = |protocol: &[u8]| match protocol.to_ascii_lowercase().as_slice() {
            b"https" => Some(443),
            b"http" => Some(80),
            _ => None,
        };
        let host = first(Name::ForwardedHost, self.host).and_then(authority);
        match host.or(stated.host) {
            Some(host) => host
                .port
                .or_else(|| default(protocol.unwrap_or(own.as_bytes()))),
            None => {
                let own = request.authority.and_then(|a| a.port);
                own.or_else(|| protocol.and_then(default))
            }
        }
    }
}

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

/// Returns the client's request id, if it is short and plain.
#[must_use]
pub fn sane_request_id<'b>(fields: &Fields<'b>) -> Option<&'b str> {
    let mut ids = fields.named(Name::XRequestId);
    let (Some(id), None) = (ids.next(), ids.next()) else {
        return None;
    };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b);
    let sane = (1..=128).contains(&id.value.len()) && id.value.iter().all(plain);
    std::str::from_utf8(id.value).ok().filter(|_| sane)
}

/// What the next hop may be told of Max-Forwards (RFC 9110 §7.6.2); `None` for other fields, and for what is no number.
fn hops_left(f: &Field<'_>) -> Option<u64> {
    let hops = if f.is(Name::MaxForwards) {
        decimal(f.value)
    } else {
        None
    };
    hops?.checked_sub(1)
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    write::all(out, [name.as_bytes(), b": ", value, b"\r\n"]);
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    write::all(out, [name.as_bytes(), b": "]);
    write::decimal(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Writes Content-Length from what was parsed. `Content-Length: 0` stays: a POST without a body says so.
fn length(out: &mut Vec<u8>, name: &str, framing: Framing) {
    let bytes = if let Framing::Length(bytes) = framing {
        bytes
    } else {
        0
    };
    number(out, name, bytes);
}

/// Whether a field ends at this hop: by its name or because Connection lists it. Names with `_` and `.` for `-` end
/// here, too, because framing fields are smuggled that way.
fn is_dropped(fields: &Fields<'_>, f: &Field<'_>) -> bool {
    if f.like().is_hop_by_hop() {
        // Trailer announces trailers, which are passed on.
        return !f.is(Name::Trailer);
    }
    let mut listed = fields.tokens(Name::Connection);
    listed.any(|t| t.eq_ignore_ascii_case(f.name.as_bytes())) && !is_protected(f)
}

/// Whether Connection cannot remove the field.
fn is_protected(f: &Field<'_>) -> bool {
    f.is(Name::Host) || f.like().is_x_forwarded()
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
