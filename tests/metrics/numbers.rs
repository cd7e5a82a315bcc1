//! What is counted after real requests, deployments and crashes.

use serde_json::json;

use super::{Metrics, promtool};
use crate::access::token_of;
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::Request;
use crate::support::machine::skip;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

#[test]
fn what_was_done_is_what_is_counted() {
    let server = Setup::new().flag("--access-log", "false").start();
    let repo = web_repo("1");
    server.deploy(&with(
        document("echo", &repo),
        json!({"domain": ["^echo\\.test$"]}),
    ));
    for _ in 0..3 {
        server.visit("/echo/x").expect(200);
    }
    Request::new("POST", "/x")
        .header("Host", "echo.test")
        .body("12345")
        .send(&server.public())
        .expect(200);
    server.visit("/nobody/").expect(404);
    Request::get("/applications")
        .header("Authorization", "Bearer wrong")
        .send(&server.public())
        .expect(401);
    // It ends without an answer, is started again, and answers.
    server.visit("/echo/exit?code=3").expect(502);
    eventually("it serves again", SOON, || {
        (server.try_visit("/echo/x")? == 200).then_some(())
    });
    server.act("echo", "redeploy").expect(200);

    let metrics = Metrics::once(&server, |m| {
        m.is(
            "procserver_deployments_total{app=\"echo\",outcome=\"succeeded\"}",
            2.0,
        ) && m.is(
            "procserver_processes{app=\"echo\",type=\"web\",state=\"ready\"}",
            1.0,
        )
    });
    promtool(&metrics.0);
    let by_path = |code| {
        let series =
            format!("procserver_http_requests_total{{app=\"echo\",code=\"{code}\",rule=\"path\"}}");
        metrics.get(&series).unwrap_or_default()
    };
    // Some may have been refused while it was started again.
    assert!(
        by_path("2xx") >= 4.0 && by_path("5xx") >= 1.0,
        "{}",
        metrics.0
    );
    let took = "procserver_http_request_duration_seconds_count{app=\"echo\",rule=\"path\"}";
    assert_eq!(metrics.get(took), Some(by_path("2xx") + by_path("5xx")));
    for (series, value) in [
        (
            "procserver_http_requests_total{app=\"echo\",code=\"2xx\",rule=\"host\"}",
            1.0,
        ),
        (
            "procserver_http_request_duration_seconds_bucket{app=\"echo\",rule=\"host\",le=\"+Inf\"}",
            1.0,
        ),
        ("procserver_http_request_bytes_total{app=\"echo\"}", 5.0),
        (
            "procserver_http_requests_without_app_total{code=\"4xx\"}",
            1.0,
        ),
        ("procserver_login_failures_total", 1.0),
        (
            "procserver_process_restarts_total{app=\"echo\",type=\"web\"}",
            1.0,
        ),
        (
            "procserver_process_exits_total{app=\"echo\",type=\"web\",result=\"failure\"}",
            1.0,
        ),
        (
            "procserver_deployment_duration_seconds_count{app=\"echo\",outcome=\"succeeded\"}",
            2.0,
        ),
        (
            "procserver_deployments_total{app=\"echo\",outcome=\"failed\"}",
            0.0,
        ),
        ("procserver_backends{app=\"echo\"}", 1.0),
        ("procserver_app_state{app=\"echo\",state=\"running\"}", 1.0),
        ("procserver_build_info{version=\"0.1.0\"}", 1.0),
        ("procserver_access_log_lost_lines_total", 0.0),
    ] {
        assert_eq!(
            metrics.get(series),
            Some(value),
            "{series} of {}",
            metrics.0
        );
    }
    for (series, least) in [
        (
            "procserver_process_resident_memory_bytes{app=\"echo\",process=\"web.1\"}",
            1e6,
        ),
        (
            "procserver_process_cpu_seconds_total{app=\"echo\",process=\"web.1\"}",
            0.0,
        ),
        ("procserver_http_response_bytes_total{app=\"echo\"}", 500.0),
        ("procserver_log_bytes_total{app=\"echo\"}", 1.0),
        (
            "procserver_connections_accepted_total{listener=\"http\"}",
            8.0,
        ),
        ("procserver_api_requests_total{code=\"4xx\"}", 1.0),
        ("process_cpu_seconds_total", 0.0),
        ("process_open_fds", 10.0),
        ("procserver_disk_free_bytes", 1.0),
    ] {
        let shown = metrics.get(series);
        assert!(shown >= Some(least), "{series} {shown:?} of {}", metrics.0);
    }
    Metrics::once(&server, |m| {
        m.get("procserver_app_disk_bytes{app=\"echo\"}") > Some(1000.0)
    });
}

#[test]
fn an_application_that_is_gone_is_in_no_series_and_comes_back_from_nothing() {
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let series = "procserver_http_requests_total{app=\"echo\",code=\"2xx\",rule=\"path\"}";
    (0..5).for_each(|_| drop(server.visit("/echo/x").expect(200)));
    Metrics::once(&server, |m| m.is(series, 5.0));
    server
        .request("DELETE", "/applications/echo")
        .header("Prefer", "wait=50")
        .send(&server.public())
        .expect(200);
    Metrics::once(&server, |m| !m.has_app("echo"));
    server.deploy(&document("echo", &repo));
    server.visit("/echo/x").expect(200);
    let metrics = Metrics::once(&server, |m| m.get(series).is_some());
    assert_eq!(metrics.get(series), Some(1.0));
    assert_eq!(
        metrics.get("procserver_deployments_total{app=\"echo\",outcome=\"succeeded\"}"),
        Some(1.0)
    );
}

#[test]
fn numbers_outlive_the_actors_that_they_come_from() {
    if !cfg!(debug_assertions) {
        return skip("numbers", "there are no failpoints in this build");
    }
    let (server, repo) = (Server::start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let requests = "procserver_http_requests_total{app=\"echo\",code=\"2xx\",rule=\"path\"}";
    let deployments = "procserver_deployments_total{app=\"echo\",outcome=\"succeeded\"}";
    (0..3).for_each(|_| drop(server.visit("/echo/x").expect(200)));
    for kind in ["App", "AccessLog"] {
        server.arm(kind);
        eventually("it panics", SOON, || {
            let _any = server.try_visit("/echo/x");
            let status = server.request("GET", "/applications/echo/status");
            let _any = status.try_send(&server.public());
            server.has_fired(kind).then_some(())
        });
        eventually("it serves", SOON, || {
            (server.try_visit("/echo/x")? == 200).then_some(())
        });
    }
    let metrics = Metrics::once(&server, |m| m.get(requests) >= Some(5.0));
    let failures = ["{app=\"echo\"}", ""].map(|labels| {
        let series = format!("procserver_actor_failures_total{labels}");
        metrics.get(&series).unwrap_or_default()
    });
    assert!(failures.iter().sum::<f64>() >= 2.0, "{}", metrics.0);
    assert_eq!(metrics.get(deployments), Some(1.0));
}

#[test]
fn a_token_for_some_applications_sees_these_alone_and_nothing_of_the_server() {
    let (server, repo) = (Server::start(), web_repo("1"));
    for app in ["mine", "other"] {
        server.deploy(&document(app, &repo));
        server.visit(&format!("/{app}/x")).expect(200);
    }
    let all = Metrics::once(&server, |m| m.has_app("mine") && m.has_app("other"));
    assert!(all.get("process_open_fds").is_some());
    let bound = server.send(
        "POST",
        "/tokens",
        &json!({"name": "a", "scope": "read", "apps": ["mine"]}),
    );
    let bound = bound.expect(201).json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let get = |token: &str| {
        Request::get("/metrics")
            .header("Authorization", &format!("Bearer {token}"))
            .send(&server.public())
    };
    let mine = get(&bound).expect(200).text();
    promtool(&mine);
    let samples = mine.lines().filter(|line| !line.starts_with('#'));
    assert!(samples.clone().count() > 5, "{mine}");
    for line in samples {
        assert!(line.contains("app=\"mine\""), "{line}");
    }
    let read = get(&token_of(&server, "read")).expect(200);
    assert!(read.text().contains("app=\"other\""));
    assert_eq!(
        read.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    Request::get("/metrics").send(&server.public()).expect(401);
}

#[test]
fn prometheus_gets_openmetrics_where_it_asks_for_it() {
    let server = Server::start();
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let open = server
        .request("GET", "/metrics")
        .header("Accept", accept)
        .send(&server.public())
        .expect(200);
    assert!(open.text().ends_with("# EOF\n"), "{}", open.text());
    let kind = open.header("content-type").unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
}
