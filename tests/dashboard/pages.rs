//! What pages show of an application, and what their forms change in its document.

use serde_json::{Value, json};

use super::{Visitor, cookie, deployed, of_web, server};
use crate::support::server::Server;

#[test]
fn names_change_by_the_document_and_others_stay() {
    let server = server();
    deployed(&server);
    let visitor = Visitor::logged_in(&server, &server.token());
    let domains = "/ui/apps/echo/domains";
    visitor
        .submit(domains, &[("host", "new.example")])
        .expect(303);
    let hosts = |server: &Server| server.get("/applications/echo").json()["hosts"].clone();
    assert_eq!(
        hosts(&server),
        json!(["shop.example", of_web(), "new.example"])
    );
    let page = visitor.get(domains).expect(200).text();
    assert!(page.contains("new.example"), "{page}");
    assert!(page.contains("ws.example"), "{page}");
    visitor
        .submit(domains, &[("host", "shop.example"), ("action", "remove")])
        .expect(303);
    assert_eq!(hosts(&server), json!([of_web(), "new.example"]));
    visitor
        .submit(domains, &[("host", "ws.example"), ("action", "remove")])
        .expect(303);
    assert_eq!(hosts(&server), json!(["new.example"]));
    visitor.submit(domains, &[("host", "a b")]).expect(422);
    assert_ne!(hosts(&server), Value::Null);
    // As the document has it.
    let wanted = [("name", "COLOUR"), ("value", "blue\r\ngreen")];
    let answer = visitor.submit("/ui/apps/echo/env", &wanted).expect(303);
    let place = answer.header("location").unwrap().to_owned();
    assert!(place.starts_with("/ui/apps/echo"), "{place}");
    assert_eq!(
        server.get("/applications/echo").json()["env"]["COLOUR"],
        "blue\ngreen"
    );
    assert!(cookie(&answer).is_none());
}

#[test]
fn a_formation_changes_only_where_somebody_has_changed_it() {
    let server = server();
    deployed(&server);
    let visitor = Visitor::logged_in(&server, &server.token());
    let page = visitor.get("/ui/apps/echo").expect(200).text();
    assert!(page.contains("name=\"was.web\" value=\"1\""), "{page}");
    let scale = |fields: &[(&str, &str)]| {
        let target = "/ui/apps/echo/scale";
        visitor.submit(target, fields).expect(303);
        server.get("/applications/echo").json()["scale"].clone()
    };
    let same = [("type.web", "1"), ("was.web", "1")];
    assert_eq!(scale(&same), Value::Null);
    let more = [("type.web", "2"), ("was.web", "1")];
    assert_eq!(scale(&more), json!({ "web": 2 }));
}

#[test]
fn a_deployment_is_shown_also_where_its_log_cannot_be_read() {
    let server = server();
    deployed(&server);
    let visitor = Visitor::logged_in(&server, &server.token());
    let logs = server.directory().join("apps/echo/logs");
    let away = logs.with_extension("away");
    std::fs::rename(&logs, &away).unwrap();
    std::fs::write(&logs, "").unwrap();
    let page = visitor.get("/ui/apps/echo/deployments/1");
    std::fs::remove_file(&logs).unwrap();
    std::fs::rename(&away, &logs).unwrap();
    let page = page.expect(200).text();
    assert!(page.contains("The log cannot be read"), "{page}");
    assert!(page.contains("succeeded"), "{page}");
    let page = visitor
        .get("/ui/apps/echo/deployments/1")
        .expect(200)
        .text();
    assert!(!page.contains("The log cannot be read"), "{page}");
}
