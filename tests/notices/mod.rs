//! Notices: people are told of what goes wrong once, and when it is well again.

mod mail;

use serde_json::{Value, json};

use crate::drains::receiver::{Answer, Receiver};
use crate::drains::{LONG, run};
use crate::support::fixture::{document, web_files, with};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::eventually;

/// What a receiver has taken of one event, in order.
fn notices(receiver: &Receiver, event: &str) -> Vec<Value> {
    let taken = receiver.requests().into_iter().filter(|r| r.is_taken);
    let notices = taken.map(|r| serde_json::from_str::<Value>(&r.body).unwrap());
    notices.filter(|notice| notice["event"] == event).collect()
}

#[track_caller]
fn told(receiver: &Receiver, event: &str, count: usize) -> Vec<Value> {
    eventually("somebody is told", LONG, || {
        let notices = notices(receiver, event);
        (notices.len() >= count).then_some(notices)
    })
}

#[test]
fn a_deploy_that_fails_is_told_to_the_server_s_and_the_application_s_and_so_is_the_next_good_one() {
    // The first time it is busy.
    let ours = Receiver::start(false, |number| {
        if number == 0 {
            Answer::Say(503)
        } else {
            Answer::Take
        }
    });
    let theirs = Receiver::start(false, |_| Answer::Take);
    let settings = format!(
        "listen = [\"127.0.0.1:0\"]\n[[notify]]\nurl = \"http://{}/services/T0/B0/sesame\"\n",
        ours.address()
    );
    let server = Setup::new().with_settings(&settings).start();
    let repo = Repo::new(&web_files("1"));
    let url = format!("http://token-of-theirs@{}/", theirs.address());
    let more = json!({
        "notify": [{"url": url, "events": ["deploy"]}],
        "install": ["echo the-secret-value >&2; test -e good"],
        "env": {"SECRET_KEY": "the-secret-value"},
    });
    let document = with(document("echo", &repo), more);
    assert_eq!(
        server
            .send_and_wait("POST", "/applications", &document)
            .status,
        422
    );
    for receiver in [&ours, &theirs] {
        let failed = &told(receiver, "deploy", 1)[0];
        assert_eq!(
            (&failed["state"], &failed["app"]),
            (&json!("failing"), &json!("echo"))
        );
        let text = failed["text"].as_str().unwrap();
        assert!(text.contains(": echo: deploy 1 failed: "), "{text}");
        assert!(!failed.to_string().contains("the-secret-value"), "{failed}");
    }
    assert_eq!(
        theirs.requests()[0].fields["authorization"],
        "Bearer token-of-theirs"
    );
    repo.commit(&[("good", "")]);
    run(&server, &["redeploy", "echo"]).success();
    for receiver in [&ours, &theirs] {
        let notices = told(receiver, "deploy", 2);
        assert_eq!(notices[1]["state"], "recovered", "{notices:?}");
    }
    // A good deploy after a good one is no news: what is told next is the test.
    run(&server, &["redeploy", "echo"]).success();
    let tested = run(&server, &["notify", "test", "echo"]).success();
    assert_eq!(
        tested.lines().filter(|line| line.contains("yes")).count(),
        2,
        "{tested}"
    );
    for receiver in [&ours, &theirs] {
        told(receiver, "test", 1);
        assert_eq!(notices(receiver, "deploy").len(), 2);
    }
    let shown = format!("{}{tested}", server.log());
    assert!(
        !shown.contains("sesame") && !shown.contains("token-of-theirs"),
        "{shown}"
    );
}

#[track_caller]
fn crashes_again(server: &Server) {
    let before = server.log().matches("it keeps crashing").count();
    eventually("it crashes again", LONG, || {
        let now = server.log().matches("it keeps crashing").count();
        (now > before).then_some(())
    });
}

#[test]
fn a_process_that_keeps_crashing_is_told_of_once_by_all_servers() {
    let receiver = Receiver::start(false, |_| Answer::Take);
    let mut server = Server::start();
    let repo = Repo::new(&[("Procfile", "job: sleep 2; echo broken >&2; exit 7\n")]);
    let url = format!("http://{}", receiver.address());
    let notify = json!({"notify": [{"url": url, "events": ["crash", "deploy"]}]});
    server
        .send(
            "POST",
            "/applications",
            &with(document("echo", &repo), notify),
        )
        .expect(202);
    let notices = told(&receiver, "crash", 1);
    assert_eq!(
        (&notices[0]["subject"], &notices[0]["state"]),
        (&json!("job.1"), &json!("failing"))
    );
    let text = notices[0]["text"].as_str().unwrap();
    assert!(text.contains("echo: job.1 keeps crashing: "), "{text}");
    // It crashes once more, at the least, and so it does with the next server.
    crashes_again(&server);
    let kept = server.directory().join("notices.json");
    eventually("what was told is on disk", LONG, || {
        std::fs::read_to_string(&kept)
            .ok()?
            .contains("job.1")
            .then_some(())
    });
    server.kill();
    server.start_again();
    crashes_again(&server);
    // Notices come in order: what was told of it has come when what is told later has.
    repo.commit(&[("Procfile", "no process type\n")]);
    let redeployed = run(&server, &["redeploy", "echo"]);
    assert_eq!(redeployed.code, Some(1), "{redeployed:?}");
    told(&receiver, "deploy", 1);
    assert_eq!(told(&receiver, "crash", 1).len(), 1);
}
