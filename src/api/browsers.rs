//! Keeps pages of other sites from the API (pure but for the machine's own name).
//!
//! The API has no cookies, so a page that makes a browser call it is not somebody; it may still guess tokens from inside a
//! network, or find out what there is. A browser says whose page asks (Fetch Metadata, and `Origin`, RFC 6454 §7). A page
//! that gives its own host the server's address (DNS rebinding) is of the same origin for the browser, so the host must be
//! one that the server has.

use std::net::IpAddr;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};

use super::problem::Problem;
use crate::front::http::authority::Authority;

/// What browsers send and others mostly do not.
const OF_BROWSERS: [&str; 6] = [
    "origin",
    "referer",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "sec-ch-ua",
];

/// Refuses what a page of another site asks for, or one whose host is not the server's.
pub(super) fn check(
    headers: &HeaderMap,
    api_hosts: &[String],
    own_name: &str,
) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "none" | "same-origin")
    {
        return Err(refused(
            "a page of another site (Sec-Fetch-Site) asks for this",
        ));
    }
    let host = text("host").and_then(Authority::parse);
    if let Some(origin) = text("origin") {
        let is_own = host.as_ref().is_some_and(|host| is_origin_of(origin, host));
        if !is_own {
            return Err(refused("a page of another origin (Origin) asks for this"));
        }
    }
    let is_browser = OF_BROWSERS.iter().any(|name| headers.contains_key(*name))
        || text("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"));
    let is_known = || {
        let host = host.as_ref().map(Authority::routed);
        host.is_some_and(|host| is_own_host(&host, api_hosts, own_name))
    };
    match is_browser && !is_known() {
        false => Ok(()),
        true => {
            let shown: String = text("host").unwrap_or_default().chars().take(80).collect();
            Err(refused(&format!(
                "\"{shown}\" is no host of the API: call it by an address, \"localhost\" or this machine's name, or name \
                 the host in api_hosts"
            )))
        }
    }
}

fn refused(why: &str) -> Problem {
    let detail = format!("The API answers no browser here: {why}.");
    Problem::new(StatusCode::FORBIDDEN, detail).with_header(
        header::VARY,
        header::HeaderValue::from_static("Origin, Sec-Fetch-Site"),
    )
}

/// Whether `http(s)://HOST[:PORT]` is the host that was asked. A proxy may have ended TLS before us, so both default ports
/// will do where the host names none.
fn is_origin_of(origin: &str, host: &Authority) -> bool {
    let parsed = match origin.split_once("://") {
        Some(("http", rest)) => Authority::parse(rest).map(|own| (own, 80)),
        Some(("https", rest)) => Authority::parse(rest).map(|own| (own, 443)),
        _ => None,
    };
    let Some((own, default)) = parsed else {
        return false;
    };
    let port = own.port.unwrap_or(default);
    own.routed() == host.routed() && host.port.map_or(port == default, |asked| asked == port)
}

/// Whether nobody else can have this name for the server.
fn is_own_host(host: &str, api_hosts: &[String], own_name: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let own_name = own_name.to_ascii_lowercase();
    let label = own_name.split('.').next().unwrap_or_default();
    let is_of_machine = !label.is_empty()
        && (host == own_name
            || host.strip_prefix(label).is_some_and(|rest| {
                matches!(
                    rest,
                    "" | ".local" | ".localdomain" | ".lan" | ".internal" | ".home.arpa"
                )
            }));
    bare.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || host.ends_with(".localhost")
        || api_hosts.iter().any(|own| own == host)
        || is_of_machine
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn is_let_in(fields: &[(&str, &str)]) -> bool {
        let mut request = TestRequest::default();
        for (name, value) in fields {
            request = request.insert_header((*name, *value));
        }
        let request = request.to_http_request();
        check(
            request.headers(),
            &["api.example".to_owned()],
            "NAS.example.net",
        )
        .is_ok()
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        for (site, lets_in) in [
            ("none", true),
            ("same-origin", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
        ] {
            let fields = [("host", "localhost:8080"), ("sec-fetch-site", site)];
            assert_eq!(is_let_in(&fields), lets_in, "{site}");
        }
        for (host, origin, lets_in) in [
            ("api.example", "https://api.example", true),
            ("api.example", "http://api.example", true),
            ("api.example:443", "https://api.example", true),
            ("API.example.", "https://api.example", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("api.example:8443", "https://api.example:8443", true),
            ("api.example", "https://api.example:8443", false),
            ("api.example:8080", "http://api.example", false),
            ("api.example", "https://evil.example", false),
            ("api.example", "https://api.example.evil.example", false),
            ("api.example", "null", false),
            ("api.example", "", false),
            ("api.example", "file://api.example", false),
        ] {
            let fields = [("host", host), ("origin", origin)];
            assert_eq!(is_let_in(&fields), lets_in, "{host} {origin}");
        }
    }

    #[test]
    fn a_browser_must_call_the_server_by_a_name_that_nobody_else_can_have() {
        for (host, lets_in) in [
            ("api.example", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("localhost", true),
            ("nas", true),
            ("nas.local:8080", true),
            ("nas.example.net", true),
            ("nas.evil.example", false),
            ("rebound.evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            for (name, value) in [
                ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
                ("sec-fetch-site", "same-origin"),
                ("referer", "http://rebound.evil.example/"),
            ] {
                assert_eq!(
                    is_let_in(&[("host", host), (name, value)]),
                    lets_in,
                    "{host} {name}"
                );
            }
            assert!(
                is_let_in(&[("host", host), ("user-agent", "curl/8")]),
                "{host}"
            );
        }
    }
}
