//! What deliveries of each service do.

use serde_json::{Value, json};

use super::{Delivery, deployed, site};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

#[test]
fn what_each_service_sends_deploys_the_ref_of_the_document_and_nothing_else() {
    let (server, repo) = (Server::start(), site("1"));
    let branch = deployed(&server, "blog", &repo, json!({"branch": "main"}));
    let tag = deployed(&server, "tagged", &repo, json!({"tag": "v1.0"}));
    for delivery in Delivery::all() {
        for (app, secret, reference) in [
            ("blog", &branch, "branch main"),
            ("tagged", &tag, "tag v1.0"),
        ] {
            let what = format!("{} {:?} to {app}", delivery.service, delivery.headers);
            let answer = delivery.to(app, secret).send(&server.public());
            let deploys = delivery.follows == reference;
            let status = if deploys { 202 } else { 200 };
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            let told = answer.json();
            assert_eq!(told["deployed"], deploys, "{what}: {told}");
            assert_eq!(told["deployment"].is_u64(), deploys, "{what}: {told}");
            assert_eq!(told["reason"].is_string(), !deploys, "{what}: {told}");
        }
    }
}

#[test]
fn a_push_is_deployed_and_a_delivery_that_comes_again_is_not_also_after_a_restart() {
    let (mut server, repo) = (Server::start(), site("1"));
    let secret = deployed(&server, "blog", &repo, json!({}));
    repo.commit(&[("public/index.html", "2")]);
    for service in ["github", "gitea", "gitlab-token", "gitlab-signed"] {
        let delivery = Delivery::push(service).with_id(service);
        let send = |server: &Server| delivery.to("blog", &secret).send(&server.public());
        send(&server).expect(202);
        let again = send(&server).expect(200).json();
        let reason = again["reason"].as_str().unwrap();
        assert!(reason.contains("came before"), "{again}");
    }
    eventually("the push is deployed", SOON, || {
        (server.visit("/blog/").text() == "2").then_some(())
    });
    server.terminate();
    server.start_again();
    let again = Delivery::push("gitea").with_id("gitea").to("blog", &secret);
    again.send(&server.public()).expect(200);
    // GitHub's id is not signed: who knows one delivery cannot send it under another id.
    let renamed = Delivery::push("github")
        .with_id("another")
        .to("blog", &secret);
    renamed.send(&server.public()).expect(200);
    // GitLab's signed id is.
    let another = Delivery::push("gitlab-signed")
        .with_id("another")
        .to("blog", &secret);
    another.send(&server.public()).expect(202);
}

#[test]
fn deliveries_at_the_same_time_are_one_deployment() {
    let (server, repo) = (Server::start(), site("1"));
    let secret = deployed(&server, "blog", &repo, json!({}));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let send = || {
            let delivery = Delivery::push("github").to("blog", &secret);
            delivery.send(&server.public()).status
        };
        let all: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |of: u16| statuses.iter().filter(|status| **status == of).count();
    assert_eq!((count(202), count(200)), (1, 7), "{statuses:?}");
    let deployments = server.get("/applications/blog/deployments").json();
    assert_eq!(
        deployments.as_array().map(Vec::len),
        Some(2),
        "{deployments}"
    );
}

#[test]
fn the_audit_log_says_what_the_webhook_did() {
    let (server, repo) = (Server::start(), site("1"));
    let secret = deployed(&server, "blog", &repo, json!({}));
    Delivery::push("github")
        .to("blog", &secret)
        .send(&server.public())
        .expect(202);
    Delivery::push("github")
        .to("blog", "whsec_wrong")
        .send(&server.public())
        .expect(403);
    let lines = server.get("/audit?tail=10").expect(200).json();
    let of = |status: u16| -> Value {
        let lines = lines.as_array().unwrap().iter();
        let line = lines
            .rev()
            .find(|line| line["path"] == "/hooks/blog" && line["outcome"] == status);
        line.unwrap_or_else(|| panic!("{lines:?}", lines = server.get("/audit").text()))
            .clone()
    };
    assert_eq!(
        (&of(202)["who"], &of(202)["app"]),
        (&json!("webhook"), &json!("blog"))
    );
    assert_eq!(of(403)["who"], Value::Null);
}
