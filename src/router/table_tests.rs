//! What the table promises.

use std::sync::Arc;

use super::super::reach::{ApiPlace, Reach, XApp};
use super::*;
use crate::document::host_name::HostName;

fn route(app: &str, created: u64, domain: &[&str]) -> Route {
    Route {
        app: app.into(),
        created,
        hosts: Vec::new(),
        domain: domain.iter().map(|d| (*d).to_owned()).collect(),
        path: true,
        strip_path: true,
        port: None,
        static_files: None,
        buffer: Default::default(),
        policies: None,
        tls: Default::default(),
        has_deployed: true,
        availability: Availability::Starting,
        backends: Vec::new(),
        others: Vec::new(),
    }
}

fn named(app: &str, created: u64, hosts: &[&str]) -> Route {
    let parse = |name: &&str| HostName::parse(name).unwrap().into();
    Route {
        hosts: hosts.iter().map(parse).collect(),
        ..route(app, created, &[])
    }
}

fn table(routes: Vec<Route>) -> Table {
    Table::new(routes.into_iter().map(Arc::new).collect())
}

fn answer(table: &Table, view: &View<'_>) -> String {
    match table.decide(view) {
        Decision::App(m) => format!("{} by {} -{}", m.route.app, m.rule.as_str(), m.strip),
        Decision::Api => "api".into(),
        Decision::NotFound => "nobody".into(),
    }
}

fn view<'a>(host: &'a str, path: &'a str) -> View<'a> {
    View {
        host,
        path,
        ..View::default()
    }
}

#[test]
fn the_rules_are_tried_in_order() {
    let two = table(vec![route("blog", 1, &["^blog\\."]), route("shop", 2, &[])]);
    let named = |name| View {
        x_app: Some(name),
        ..view("blog.local", "/shop/")
    };
    assert_eq!(answer(&two, &named("shop")), "shop by x-app -0");
    assert_eq!(answer(&two, &named("none")), "nobody");
    assert_eq!(
        answer(&two, &view("blog.local", "/shop/")),
        "blog by host -0"
    );
    assert_eq!(
        answer(&two, &view("x.local", "/shop/cart")),
        "shop by path -5"
    );
    assert_eq!(
        answer(&two, &view("x.local", "/sho%70?a")),
        "shop by path -7"
    );
    assert_eq!(answer(&two, &view("x.local", "/applications/x")), "api");
    assert_eq!(
        answer(&two, &view("blog.local", "/applications")),
        "blog by host -0"
    );
    assert_eq!(answer(&two, &view("x.local", "/")), "nobody");
    let reach = Reach {
        api_hosts: vec!["blog.local".into()],
        ..Reach::default()
    };
    let api = View {
        reach: &reach,
        ..view("blog.local", "/shop")
    };
    assert_eq!(answer(&two, &api), "api");
}

#[test]
fn of_several_matching_hosts_the_app_created_first_wins_and_the_others_are_named() {
    let both = table(vec![
        route("b", 2, &["local"]),
        route("a", 3, &["^x"]),
        route("c", 1, &["y"]),
    ]);
    let x = view("x.local", "/a/");
    assert_eq!(answer(&both, &x), "b by host -0");
    let all: Vec<String> = both
        .matches(&x)
        .iter()
        .map(|m| format!("{} {}", m.route.app, m.rule.as_str()))
        .collect();
    assert_eq!(all, ["b host", "a host", "a path"]);
}

#[test]
fn a_name_comes_before_a_wildcard_and_both_before_the_patterns_of_older_apps() {
    let all = table(vec![
        route("pattern", 1, &["."]),
        named("wildcard", 2, &["*.example.org"]),
        named("name", 3, &["a.example.org"]),
    ]);
    for (host, answers, matches) in [
        ("a.example.org", "name by host -0", 3),
        ("b.example.org", "wildcard by host -0", 2),
        ("a.b.example.org", "pattern by host -0", 1),
    ] {
        assert_eq!(answer(&all, &view(host, "/")), answers);
        let found = all.matches(&view(host, "/"));
        assert_eq!(found.len(), matches, "{host}");
        assert_eq!(format!("{} by host -0", found[0].route.app), answers);
    }
    let moved = all.with(named("name", 3, &["b.example.org"]));
    assert_eq!(
        answer(&moved, &view("a.example.org", "/")),
        "wildcard by host -0"
    );
    assert_eq!(
        answer(&moved, &view("b.example.org", "/")),
        "name by host -0"
    );
    let gone = moved.without("wildcard").without("pattern");
    assert_eq!(answer(&gone, &view("a.example.org", "/")), "nobody");
    assert_eq!(
        answer(&gone, &view("b.example.org", "/")),
        "name by host -0"
    );
    assert_eq!(answer(&all, &view("a.example.org", "/")), "name by host -0");
}

#[test]
fn a_name_may_be_for_another_process_type() {
    let cable = |name: &str| HostEntry {
        process: "cable".to_owned(),
        ..HostName::parse(name).unwrap().into()
    };
    let pool = |availability| Pool {
        process_type: "cable".to_owned(),
        availability,
        backends: Vec::new(),
    };
    let mut route = named("app", 1, &["a.example"]);
    route
        .hosts
        .extend([cable("ws.example"), cable("*.ws.example")]);
    route.others = vec![pool(Availability::Crashed)];
    let one = table(vec![route.clone()]);
    let of = |table: &Table, host, path| match table.decide(&view(host, path)) {
        Decision::App(found) => {
            let (_, availability) = found.route.pool(found.process_type);
            let name = found.route.name_of(found.process_type);
            format!("{name} {}", availability.in_words())
        }
        other => format!("{other:?}"),
    };
    assert_eq!(of(&one, "a.example", "/"), "web starting");
    assert_eq!(of(&one, "ws.example", "/"), "cable crashed");
    assert_eq!(of(&one, "a.ws.example", "/"), "cable crashed");
    assert_eq!(of(&one, "other", "/app/"), "web starting");
    let stopped = Route {
        others: vec![pool(Availability::Stopped)],
        ..route.clone()
    };
    let changed = one.with(stopped);
    assert!(Arc::ptr_eq(&one.hosts, &changed.hosts));
    assert_eq!(of(&changed, "ws.example", "/"), "cable stopped");
    let without = Route {
        others: Vec::new(),
        ..route
    };
    assert_eq!(
        of(&one.with(without), "ws.example", "/"),
        "such no web process"
    );
}

#[test]
fn a_path_is_only_for_apps_that_want_it_and_stripped_only_where_asked() {
    let mut kept = route("kept", 1, &[]);
    kept.strip_path = false;
    let mut hidden = route("hidden", 2, &[]);
    hidden.path = false;
    let two = table(vec![kept, hidden]);
    assert_eq!(answer(&two, &view("h", "/kept/x")), "kept by path -0");
    assert_eq!(answer(&two, &view("h", "/hidden/x")), "nobody");
    assert_eq!(answer(&two, &view("h", "/kept/../applications")), "nobody");
}

#[test]
fn an_own_port_goes_to_its_app_whatever_the_request_says() {
    let mut own = route("own", 1, &[]);
    own.port = Some(9000);
    let two = table(vec![own, route("blog", 0, &["."])]);
    let at = |port| View {
        x_app: Some("blog"),
        port: Some(port),
        ..view("blog", "/blog")
    };
    assert_eq!(answer(&two, &at(9000)), "own by port -0");
    assert_eq!(answer(&two, &at(9001)), "nobody");
}

#[test]
fn a_change_makes_a_new_table_and_recompiles_only_when_a_domain_changed() {
    let one = table(vec![route("a", 1, &["^a$"])]);
    let mut again = route("a", 1, &["^a$"]);
    again.availability = Availability::Crashed;
    let same = one.with(again);
    assert!(Arc::ptr_eq(one.patterns(), same.patterns()));
    assert_eq!(same.routes().len(), 1);
    assert_eq!(same.routes()[0].availability, Availability::Crashed);
    let two = same.with(route("b", 0, &["^b$"]));
    assert_eq!(answer(&two, &view("a", "/")), "a by host -0");
    assert_eq!(answer(&two, &view("b", "/")), "b by host -0");
    let gone = two.without("a");
    assert_eq!(answer(&gone, &view("a", "/")), "nobody");
    assert_eq!(answer(&gone, &view("b", "/")), "b by host -0");
    assert_eq!(
        answer(&one, &view("a", "/")),
        "a by host -0",
        "the old one is untouched"
    );
}

proptest::proptest! {
    #[test]
    fn changes_lead_to_the_table_of_what_there_is_then(
        changes in proptest::collection::vec((0..6u8, 0..4u64, 0..4u16, proptest::option::of(0..3u8)), 0..30)
    ) {
        let mut changed = Table::default();
        let mut present: std::collections::BTreeMap<String, Route> = Default::default();
        for (app, created, port, domain) in changes {
            let app = format!("app{app}");
            let Some(domain) = domain else {
                changed = changed.without(&app);
                present.remove(&app);
                continue;
            };
            let patterns = [&[][..], &["^a"], &["^b", "c$"]][usize::from(domain)];
            let hosts = [&["c"][..], &[], &["*.x"]][usize::from(domain)];
            let route = Route {
                port: (port > 0).then_some(port),
                domain: patterns.iter().map(|p| (*p).to_owned()).collect(),
                ..named(&app, created, hosts)
            };
            changed = changed.with(route.clone());
            present.insert(app, route);
        }
        let whole = table(present.into_values().collect());
        let order = |table: &Table| -> Vec<_> {
            table.routes().iter().map(|r| (r.created, r.app.clone(), r.domain.clone(), r.port)).collect()
        };
        assert_eq!(order(&changed), order(&whole));
        for host in ["a", "bc", "c", "x", "a.x", "d.x"] {
            for port in 1..4 {
                let by_port = View { port: Some(port), ..view(host, "/") };
                assert_eq!(answer(&changed, &by_port), answer(&whole, &by_port));
            }
            for app in 0..6 {
                let path = format!("/app{app}/");
                assert_eq!(answer(&changed, &view(host, &path)), answer(&whole, &view(host, &path)));
            }
        }
    }
}

#[test]
fn the_api_is_where_the_settings_say() {
    let two = table(vec![route("blog", 1, &["^blog\\."]), route("shop", 2, &[])]);
    let asked = |api: ApiPlace, host, path| {
        let reach = Reach {
            api,
            api_hosts: vec!["admin.local".into()],
            ..Reach::default()
        };
        let view = View {
            reach: &reach,
            ..view(host, path)
        };
        answer(&two, &view)
    };
    for (api, host, path, wanted) in [
        (ApiPlace::Everywhere, "x.local", "/applications", "api"),
        (ApiPlace::Everywhere, "admin.local", "/shop/", "api"),
        (ApiPlace::ApiHosts, "x.local", "/applications", "nobody"),
        (ApiPlace::ApiHosts, "x.local", "/healthz", "nobody"),
        (ApiPlace::ApiHosts, "admin.local", "/applications", "api"),
        (ApiPlace::ApiHosts, "x.local", "/shop/", "shop by path -5"),
        (ApiPlace::Socket, "x.local", "/applications", "nobody"),
        (ApiPlace::Socket, "admin.local", "/applications", "nobody"),
        (ApiPlace::Socket, "admin.local", "/shop/", "nobody"),
    ] {
        assert_eq!(asked(api, host, path), wanted, "{api:?} {host} {path}");
    }
}

#[test]
fn no_app_gets_what_nodes_ask_of_the_images() {
    let all = table(vec![route("hostile", 1, &[".*"])]);
    let reach = Reach {
        images_host: Some("192.0.2.1".into()),
        ..Reach::default()
    };
    let asked = |host, path, x_app| {
        let view = View {
            x_app,
            reach: &reach,
            ..view(host, path)
        };
        answer(&all, &view)
    };
    for path in ["/v2", "/v2/", "/v2/shop/manifests/sha256:0", "/v2/?a"] {
        assert_eq!(asked("192.0.2.1", path, None), "api", "{path}");
    }
    assert_eq!(asked("192.0.2.1", "/v2/", Some("hostile")), "api");
    for (host, path) in [("192.0.2.1", "/v20"), ("192.0.2.1", "/"), ("other", "/v2/")] {
        assert_eq!(asked(host, path, None), "hostile by host -0");
    }
}

#[test]
fn x_app_reaches_what_the_settings_say_and_by_default_what_has_a_path() {
    let hidden = Route {
        path: false,
        ..route("hidden", 2, &["^hidden$"])
    };
    let two = table(vec![route("shop", 1, &[]), hidden]);
    let asked = |x_app: &XApp, name| {
        let reach = Reach {
            x_app: x_app.clone(),
            ..Reach::default()
        };
        let view = View {
            x_app: Some(name),
            reach: &reach,
            ..view("x.local", "/")
        };
        let all = two.matches(&view).len();
        let answer = answer(&two, &view);
        assert_eq!(all, usize::from(answer != "nobody"));
        answer
    };
    let these = XApp::These(vec!["hidden".into()]);
    for (x_app, name, wanted) in [
        (&XApp::ByPath, "shop", "shop by x-app -0"),
        (&XApp::ByPath, "hidden", "nobody"),
        (&XApp::Nobody, "shop", "nobody"),
        (&XApp::Nobody, "hidden", "nobody"),
        (&these, "shop", "nobody"),
        (&these, "hidden", "hidden by x-app -0"),
    ] {
        assert_eq!(asked(x_app, name), wanted, "{x_app:?} {name}");
    }
}

#[test]
fn apps_are_reached_by_path_on_the_hosts_of_the_settings() {
    let one = table(vec![route("shop", 1, &[])]);
    let asked = |host| {
        let reach = Reach {
            path_hosts: Some(vec!["apps.local".into()]),
            ..Reach::default()
        };
        let view = View {
            reach: &reach,
            ..view(host, "/shop/x")
        };
        (answer(&one, &view), one.matches(&view).len())
    };
    assert_eq!(asked("apps.local"), ("shop by path -5".into(), 1));
    assert_eq!(asked("evil.example"), ("nobody".into(), 0));
    assert_eq!(asked(""), ("nobody".into(), 0));
}
