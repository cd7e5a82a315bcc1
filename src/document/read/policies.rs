//! The fields of a document that the proxy carries out alone (pure).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use crate::document::policies::password_hash::PasswordHash;
use crate::document::policies::rate::Rate;
use crate::document::policies::redirect::{self, Redirect, STATUSES};
use crate::document::policies::{
    AppTimeouts, BasicAuth, Maintenance, OWN_COOKIE, Policies, ResponseHeader, Sticky,
};
use crate::document::rules;
use crate::document::walk::{Object, Walk, expected};

const MAX_NETWORKS: usize = 1000;
const MAX_USERS: usize = 1000;
const MAX_REDIRECTS: usize = 1000;
const MAX_HEADERS: usize = 64;

const RETRY_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
const CONNECT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);
const RESPONSE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// A client that moves nothing holds a connection for so long.
const IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const TUNNEL_IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(168);
const KEPT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(10);
/// An application may take more than the server's setting says, which is for those that say nothing.
const BODY: RangeInclusive<u64> = 0..=64 << 30;

pub(super) fn read_policies(walk: &mut Walk, top: &Object<'_>, name: Option<&str>) -> Policies {
    Policies {
        maintenance: read_maintenance(walk, top),
        allow: read_allow(walk, top),
        rate: read_rate(walk, top),
        auth: read_auth(walk, top, name),
        redirects: read_redirects(walk, top),
        response_headers: read_headers(walk, top),
        timeouts: read_timeouts(walk, top),
        body: walk.size(top, "body", BODY),
        upstream_keep_alive: walk.optional(top, "upstream_keep_alive", KEPT, Walk::duration),
        sticky: read_sticky(walk, top),
    }
}

/// `true`, `false`, or an object with these fields: `None` for false.
fn switch<'v>(
    walk: &mut Walk,
    top: &Object<'v>,
    field: &str,
    known: &[&str],
) -> Option<Option<Object<'v>>> {
    match top.get(field)? {
        Value::Bool(is_on) => is_on.then_some(None),
        Value::Object(_) => walk.child(top, field, known).map(Some),
        other => {
            let wanted = format!("true, false, or an object with {}", known.join(" and "));
            walk.report(top.pointer(field), expected(&wanted, other));
            None
        }
    }
}

fn read_maintenance(walk: &mut Walk, top: &Object<'_>) -> Option<Maintenance> {
    let default = Maintenance::default();
    let Some(given) = switch(walk, top, "maintenance", &["page", "retry_after"])? else {
        return Some(default);
    };
    Some(Maintenance {
        page: walk.text(&given, "page", rules::relative_file),
        retry_after: walk.seconds(&given, "retry_after", RETRY_AFTER, default.retry_after),
    })
}

fn read_allow(walk: &mut Walk, top: &Object<'_>) -> Option<Vec<IpNet>> {
    let value = top.get("allow")?;
    let errors = walk.errors.len();
    let networks = walk.list(top, "allow", MAX_NETWORKS, network);
    if networks.is_empty() && value.is_array() && walk.errors.len() == errors {
        let detail = "names no network, so nobody would be let in: leave it out to let everybody in, or see maintenance";
        walk.report(top.pointer("allow"), detail);
    }
    Some(networks)
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(|address| address.to_canonical());
    let network = text.parse::<IpNet>().or(address.map(IpNet::from));
    let network = network.map_err(|_| {
        format!(
            "\"{}\" is not a network: write \"10.0.0.0/8\", \"2001:db8::/32\" or an address",
            rules::shown(text)
        )
    })?;
    // Clients by IPv4 are known by IPv4, so one in the form of IPv6 would never match.
    Ok(match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => ipnet::Ipv4Net::new(v4, v6.prefix_len() - 96)
                .map_or(network, IpNet::V4)
                .trunc(),
            None => network.trunc(),
        },
        other => other.trunc(),
    })
}

fn read_rate(walk: &mut Walk, top: &Object<'_>) -> Option<Rate> {
    let given = walk.child(top, "rate", &["requests", "burst"])?;
    if given.get("requests").is_none() {
        let detail = "is required: how many requests an address may make, as in \"100/s\"";
        walk.report(given.pointer("requests"), detail);
    }
    let burst = walk.number(&given, "burst", 1..=Rate::MOST);
    if let Some(number @ Value::Number(n)) = given.get("requests") {
        let shape = expected("a rate in quotes, as in \"100/s\"", number);
        let hint = format!("{shape}; write \"{n}/s\" for so many a second");
        walk.report(given.pointer("requests"), hint);
        return None;
    }
    let rate = walk.text(&given, "requests", Rate::parse)?;
    let burst = burst.and_then(|burst| u32::try_from(burst).ok());
    Some(Rate {
        burst: burst.unwrap_or(rate.burst),
        ..rate
    })
}

fn read_auth(walk: &mut Walk, top: &Object<'_>, name: Option<&str>) -> Option<BasicAuth> {
    let given = walk.child(top, "auth", &["basic", "realm"])?;
    let realm = walk.text(&given, "realm", realm);
    let errors = walk.errors.len();
    let users = walk.map(&given, "basic", MAX_USERS, user);
    if users.is_empty() && walk.errors.len() == errors {
        let detail =
            "must name a user: {\"USER\": \"$2b$…\"}, with the hash that \"procserver hash\" makes";
        walk.report(given.pointer("basic"), detail);
    }
    Some(BasicAuth {
        realm: realm.unwrap_or_else(|| name.unwrap_or("procserver").to_owned()),
        users,
    })
}

fn realm(text: &str) -> Result<String, String> {
    match rules::field_value(text) {
        Ok(text) if !text.contains(['"', '\\']) => Ok(text),
        _ => Err(
            "must be 1 to 200 printable ASCII characters without \" and \\, such as \"Staging\""
                .to_owned(),
        ),
    }
}

fn user(name: &str, value: &Value) -> Result<PasswordHash, String> {
    // RFC 7617 §2: the first colon ends the name.
    let is_plain = |b: u8| b.is_ascii_graphic() && b != b':';
    if name.is_empty() || name.len() > 255 || !name.bytes().all(is_plain) {
        return Err(
            "is not a name of a user: 1 to 255 visible ASCII characters, none of them \":\""
                .to_owned(),
        );
    }
    match value {
        Value::String(text) => PasswordHash::parse(text),
        other => Err(expected("the hash of a password", other)),
    }
}

fn read_redirects(walk: &mut Walk, top: &Object<'_>) -> Vec<Redirect> {
    let shape = "a list of redirects, [{from: \"/old\", to: \"/new\"}]";
    let errors = walk.errors.len();
    let all = walk.items(top, "redirects", (shape, MAX_REDIRECTS), read_redirect);
    if walk.errors.len() == errors
        && let Some(at) = redirect::circle(&all)
    {
        let detail =
            "leads on and on without end: the path it sends clients to is redirected again";
        walk.report(format!("{}/{at}", top.pointer("redirects")), detail);
    }
    all
}

fn read_redirect(walk: &mut Walk, item: &Value, pointer: String) -> Option<Redirect> {
    let given = walk.object(item, pointer, &["from", "to", "status"])?;
    for field in ["from", "to"] {
        if given.get(field).is_none() {
            walk.report(given.pointer(field), "is required");
        }
    }
    let status = match given.get("status").and_then(Value::as_u64) {
        _ if given.get("status").is_none() => Some(301),
        Some(status) => STATUSES.into_iter().find(|s| u64::from(*s) == status),
        None => None,
    };
    if status.is_none() {
        let detail = "must be 301 (for ever), 302, 303, or 307 and 308, which keep the method";
        walk.report(given.pointer("status"), detail);
    }
    let text = |text: &str| Ok::<_, String>(text.to_owned());
    let from = walk.text(&given, "from", text);
    let to = walk.text(&given, "to", text);
    Redirect::parse(&from?, &to?, status?)
        .map_err(|(field, detail)| walk.report(given.pointer(field), detail))
        .ok()
}

fn read_headers(walk: &mut Walk, top: &Object<'_>) -> BTreeMap<String, ResponseHeader> {
    let Some(given) = walk.child(top, "headers", &["response"]) else {
        return BTreeMap::new();
    };
    let read = walk.map(&given, "response", MAX_HEADERS, header);
    let mut all = BTreeMap::new();
    for (name, header) in read {
        if all.insert(name.to_ascii_lowercase(), header).is_some() {
            let pointer = format!("{}/{name}", given.pointer("response"));
            walk.report(pointer, "is there twice, with other letters");
        }
    }
    all
}

fn header(name: &str, value: &Value) -> Result<ResponseHeader, String> {
    rules::response_field(name)?;
    match value {
        Value::String(text) => Ok(ResponseHeader::Set {
            name: name.to_owned(),
            value: rules::long_field_value(text)?,
        }),
        Value::Bool(false) => Ok(ResponseHeader::Removed),
        other => Err(expected("a string, or false to take the field out", other)),
    }
}

fn read_timeouts(walk: &mut Walk, top: &Object<'_>) -> AppTimeouts {
    let known = ["connect", "response", "idle", "tunnel_idle"];
    let Some(given) = walk.child(top, "timeouts", &known) else {
        return AppTimeouts::default();
    };
    AppTimeouts {
        connect: walk.optional(&given, "connect", CONNECT, Walk::duration),
        response: walk.optional(&given, "response", RESPONSE, Walk::duration),
        idle: walk.optional(&given, "idle", IDLE, Walk::duration),
        tunnel_idle: walk.optional(&given, "tunnel_idle", TUNNEL_IDLE, Walk::duration),
    }
}

fn read_sticky(walk: &mut Walk, top: &Object<'_>) -> Option<Sticky> {
    let default = Sticky::default();
    let Some(given) = switch(walk, top, "sticky", &["cookie"])? else {
        return Some(default);
    };
    let cookie = walk.text(&given, "cookie", |name| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        // A browser takes what begins so only with Path=/ or Secure, which depends on how the client comes.
        let is_bound = name.starts_with("__");
        // Those of the dashboard.
        let is_own = name.starts_with(OWN_COOKIE);
        let is_plain = name.bytes().all(is_plain) && !is_bound && !is_own;
        match (1..=64).contains(&name.len()) && is_plain {
            true => Ok(name.to_owned()),
            false => Err(format!("must be the name of a cookie: 1 to 64 letters, digits, \"-\", \"_\" and \".\", not \"__\" or \"{OWN_COOKIE}\" in front")),
        }
    });
    Some(Sticky {
        cookie: cookie.unwrap_or(default.cookie),
    })
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
