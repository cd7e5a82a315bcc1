//! Rewrites heads: takes hop-by-hop fields out and puts forwarding fields in (pure). Those of requests here, those of
//! responses in `downstream`.
//!
//! Fields that stay keep their order, their case and their lines.

mod downstream;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::field::{Field, Name, same};
use super::fields::Fields;
use super::framing::Framing;
use super::head::Request;
use super::token::decimal;
use super::trusted_proxies::{Stated, authority, client, stated};
use super::write;
use crate::front::own_cookie;
use crate::front::own_token::OwnToken;
use crate::traces::context::{self, Ids};
pub use downstream::{Downstream, response, trailers};

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
mod tests;
