//! `GET /routes`: lists all routes. With `url`, it says which app would answer a request for that, by which rule, and
//! which others match.

use std::sync::Arc;

use actix_web::http::{StatusCode, Uri};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use regex::Regex;
use serde::Serialize;

use super::caller::Caller;
use super::problem::Problem;
use super::query::Query;
use super::state::ApiState;
use crate::document::host_entry::HostEntry;
use crate::front::http::authority::Authority;
use crate::router::address::Address;
use crate::router::backend::Backend;
use crate::router::hosts::ProcessType;
use crate::router::reach::Reach;
use crate::router::table::{Availability, Decision, Match, Route, Rule, Table, View};

/// A route, as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    app: &'a str,
    state: &'static str,
    hosts: &'a [HostEntry],
    domain: &'a [String],
    /// The path under which it is reachable.
    path: Option<String>,
    strip_path: bool,
    port: Option<u16>,
    /// The path under which its files are served.
    #[serde(rename = "static")]
    static_files: Option<&'a str>,
    processes: Vec<Listening<'a>>,
}

/// A process that requests go to.
#[derive(Serialize)]
struct Listening<'a> {
    id: &'a str,
    release: u64,
    address: &'a Address,
    requests: usize,
}

/// Who would answer a request.
#[derive(Serialize)]
struct Explained<'a> {
    url: &'a str,
    x_app: Option<&'a str>,
    /// The app; `null` where the API or nobody answers.
    app: Option<&'a str>,
    /// `port`, `x-app`, `host`, `path`, `api`; `null` where nobody answers.
    rule: Option<&'static str>,
    #[serde(flatten)]
    by_host: Option<ByHost<'a>>,
    state: Option<&'static str>,
    /// The path and query that the app is sent.
    path: Option<String>,
    processes: Vec<Listening<'a>>,
    /// What a rule would give the request to if those before it did not match.
    others: Vec<Other<'a>>,
}

impl Explained<'_> {
    /// As if these apps were not there.
    fn leave_out(&mut self, is_hidden: impl Fn(&str) -> bool) {
        self.others.retain(|other| !is_hidden(other.app));
        if self.app.is_some_and(is_hidden) {
            *self = Self {
                url: self.url,
                x_app: self.x_app,
                app: None,
                rule: None,
                by_host: None,
                state: None,
                path: None,
                processes: Vec::new(),
                others: std::mem::take(&mut self.others),
            };
        }
    }
}

/// An app that matches and does not answer.
#[derive(Serialize)]
struct Other<'a> {
    app: &'a str,
    rule: &'static str,
    #[serde(flatten)]
    by_host: Option<ByHost<'a>>,
}

/// What matches the host, for the rule `host`.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ByHost<'a> {
    /// A name in `hosts`.
    Name(&'a str),
    /// A pattern in `domain`.
    Pattern(&'a str),
}

/// Explains a URL, or lists all routes.
pub(super) async fn show(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let parameters = Query::read(&request, &["url", "x_app"])?;
    let table = Arc::clone(&state.routing.table.borrow());
    let x_app = parameters.text("x_app");
    let Some(url) = parameters.text("url") else {
        if x_app.is_some() {
            return Err(unprocessable("x_app", "needs a \"url\" beside it"));
        }
        let seen = table
            .routes()
            .iter()
            .filter(|route| caller.sees(&route.app));
        let all: Vec<Listed<'_>> = seen.map(|r| listed(r)).collect();
        return Ok(HttpResponse::Ok().json(all));
    };
    let asked = Asked::parse(url).map_err(|wanted| unprocessable("url", wanted))?;
    let mut explained = explain(&table, &state.routing.reach, url, &asked, x_app);
    explained.leave_out(|app| !caller.sees(app));
    Ok(HttpResponse::Ok().json(explained))
}

/// A URL as routing sees it.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    host: Box<str>,
    port: Option<u16>,
    target: String,
}

impl Asked {
    /// Reads `http://host:port/path?query`, `host/path`, or `/path`.
    fn parse(url: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "must be a URL such as \"http://blog.example/path\"";
        let url = url.split('#').next().unwrap_or(url);
        let full = match url {
            path if path.starts_with('/') => format!("http://localhost{path}"),
            full if full.contains("://") => full.to_owned(),
            bare => format!("http://{bare}"),
        };
        let uri: Uri = full.parse().map_err(|_| WANTED)?;
        let default_port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(WANTED),
        };
        let authority = uri.authority().ok_or(WANTED)?;
        let authority = Authority::parse(authority.as_str())
            .filter(|authority| !authority.host.is_empty())
            .ok_or(WANTED)?;
        Ok(Self {
            host: authority.routed(),
            port: (!url.starts_with('/')).then(|| authority.port.unwrap_or(default_port)),
            target: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }
}

fn explain<'a>(
    table: &'a Table,
    reach: &'a Reach,
    url: &'a str,
    asked: &Asked,
    x_app: Option<&'a str>,
) -> Explained<'a> {
    // A port that no app has is one of the server's own.
    let is_own = |port: &u16| table.routes().iter().any(|r| r.port == Some(*port));
    let view = View {
        x_app,
        host: &asked.host,
        path: &asked.target,
        port: asked.port.filter(is_own),
        reach,
    };
    let decision = table.decide(&view);
    let answers = match &decision {
        Decision::App(found) => Some((found.route, found.rule)),
        Decision::Api | Decision::NotFound => None,
    };
    let others = table.matches(&view).into_iter();
    let others = others
        .filter(|m| {
            answers.is_none_or(|(route, rule)| !Arc::ptr_eq(route, m.route) || rule != m.rule)
        })
        .map(|m| Other {
            app: &m.route.app,
            rule: m.rule.as_str(),
            by_host: by_host(&m, &asked.host),
        })
        .collect();
    let mut explained = Explained {
        url,
        x_app,
        app: None,
        rule: matches!(decision, Decision::Api).then_some("api"),
        by_host: None,
        state: None,
        path: None,
        processes: Vec::new(),
        others,
    };
    if let Decision::App(found) = decision {
        explained.app = Some(&found.route.app);
        explained.rule = Some(found.rule.as_str());
        explained.by_host = by_host(&found, &asked.host);
        explained.state = Some(state_of(found.route, found.process_type));
        explained.path = Some(stripped(&asked.target, found.strip));
        explained.processes = processes(found.route.pool(found.process_type).0);
    }
    explained
}

/// The target without the app's name; what is left begins with a slash.
fn stripped(target: &str, strip: usize) -> String {
    let rest = target.get(strip..).unwrap_or(target);
    if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    }
}

/// By what the host was found. Patterns are compiled anew: the router keeps all of them as one automaton.
fn by_host<'a>(found: &Match<'a>, host: &str) -> Option<ByHost<'a>> {
    let route = (found.rule == Rule::Host).then_some(found.route)?;
    let names = || {
        route
            .hosts
            .iter()
            .map(|entry| &entry.name)
            .filter(|name| name.matches(host))
    };
    let exact = names().find(|name| name.parent().is_none());
    if let Some(name) = exact.or_else(|| names().next()) {
        return Some(ByHost::Name(name.as_str()));
    }
    let matches = |pattern: &&String| Regex::new(pattern).is_ok_and(|regex| regex.is_match(host));
    let pattern = route.domain.iter().find(matches)?;
    Some(ByHost::Pattern(pattern))
}

fn listed(route: &Route) -> Listed<'_> {
    Listed {
        app: &route.app,
        state: state_of(route, ProcessType::Web),
        hosts: &route.hosts,
        domain: &route.domain,
        path: route.path.then(|| format!("/{}/", route.app)),
        strip_path: route.strip_path,
        port: route.port,
        static_files: route
            .static_files
            .as_ref()
            .map(|files| files.prefix.as_str()),
        processes: processes(route.all_backends()),
    }
}

fn processes<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> Vec<Listening<'a>> {
    let listening = backends.into_iter().map(|backend| Listening {
        id: &backend.process,
        release: backend.release,
        address: &backend.address,
        requests: backend.load.outstanding(),
    });
    listening.collect()
}

/// What a request would meet.
fn state_of(route: &Route, of: ProcessType) -> &'static str {
    let (backends, availability) = route.pool(of);
    let has_files = of == ProcessType::Web && route.static_files.is_some();
    match availability {
        Availability::Stopped => "stopped",
        Availability::Paused(_) => "paused",
        Availability::Asleep => "asleep",
        _ if !backends.is_empty() => "ready",
        Availability::Starting => "starting",
        Availability::Crashed => "crashed",
        Availability::Undeployed => "not deployed",
        Availability::NoWeb if has_files => "ready",
        Availability::NoWeb => "no web process",
    }
}

fn unprocessable(parameter: &str, detail: &str) -> Problem {
    let detail = format!("Parameter \"{parameter}\" {detail}.");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn route(app: &str, created: u64, domain: &[&str]) -> Arc<Route> {
        Arc::new(Route {
            app: app.into(),
            created,
            hosts: Vec::new(),
            domain: domain.iter().map(|d| (*d).to_owned()).collect(),
            path: true,
            strip_path: true,
            port: (app == "ported").then_some(9000),
            static_files: None,
            buffer: Default::default(),
            policies: None,
            tls: Default::default(),
            has_deployed: true,
            availability: Availability::Starting,
            backends: Vec::new(),
            others: Vec::new(),
        })
    }

    fn explained(url: &str, x_app: Option<&str>) -> Value {
        explained_to(url, x_app, |_| false)
    }

    /// Explained to somebody who sees all but the first app.
    fn hidden_from(url: &str) -> Value {
        explained_to(url, None, |app| app == "first")
    }

    fn explained_to(url: &str, x_app: Option<&str>, is_hidden: fn(&str) -> bool) -> Value {
        let table = Table::new(vec![
            route("first", 1, &["^nothing$", "blog"]),
            route("second", 2, &["^blog\\.example$"]),
            route("ported", 3, &[]),
        ]);
        let asked = Asked::parse(url).unwrap();
        let reach = Reach {
            api_hosts: vec!["admin.example".to_owned()],
            ..Reach::default()
        };
        let mut explained = explain(&table, &reach, url, &asked, x_app);
        explained.leave_out(is_hidden);
        json!(explained)
    }

    #[test]
    fn the_app_the_rule_and_the_others_are_told() {
        let by_host = explained("http://Blog.example./second/x?y", None);
        assert_eq!(
            (&by_host["app"], &by_host["rule"]),
            (&json!("first"), &json!("host"))
        );
        assert_eq!(by_host["pattern"], "blog");
        assert_eq!(by_host["path"], "/second/x?y");
        assert_eq!(by_host["state"], "starting");
        let others = json!([
            {"app": "second", "rule": "host", "pattern": "^blog\\.example$"},
            {"app": "second", "rule": "path"},
        ]);
        assert_eq!(by_host["others"], others);
        let by_path = explained("/second/x?y", None);
        assert_eq!(
            (&by_path["rule"], &by_path["path"]),
            (&json!("path"), &json!("/x?y"))
        );
        let by_port = explained("localhost:9000/second/", None);
        assert_eq!(
            (&by_port["app"], &by_port["rule"]),
            (&json!("ported"), &json!("port"))
        );
    }

    #[test]
    fn the_api_and_nobody_are_no_apps() {
        let nobody = explained("http://other/none", None);
        assert_eq!(
            (&nobody["app"], &nobody["rule"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(
            explained("http://admin.example/first/", None)["rule"],
            "api"
        );
        assert_eq!(explained("/applications", None)["rule"], "api");
        let unknown = explained("http://blog/", Some("unknown"));
        assert_eq!(
            (&unknown["app"], &unknown["others"][0]["app"]),
            (&Value::Null, &json!("first"))
        );
        assert_eq!(explained("/", Some("second"))["rule"], "x-app");
        let hidden = hidden_from("http://blog.example/second/");
        assert_eq!(
            (&hidden["app"], &hidden["rule"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(hidden["processes"], json!([]));
        assert_eq!(hidden["others"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in [
            "",
            "ftp://a/",
            "http://",
            "http://a b/",
            "http://u@h/",
            "http:///x",
        ] {
            assert!(Asked::parse(bad).is_err(), "{bad}");
        }
        assert!(Asked::parse("https://[::1]:8443/x").is_ok());
    }
}
