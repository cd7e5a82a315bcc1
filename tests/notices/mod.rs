//! Notices: people are told of what goes wrong once, and when it is well again.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::drains::receiver::{Answer, Receiver};
use crate::drains::{LONG, run};
use crate::support::fixture::{document, web_files, with};
use crate::support::machine::skip;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::{Setup, world_readable_directory};
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

#[test]
fn a_process_that_keeps_crashing_is_told_of_once() {
    let receiver = Receiver::start(false, |_| Answer::Take);
    let server = Server::start();
    let repo = Repo::new(&[("Procfile", "job: sleep 2; echo broken >&2; exit 7\n")]);
    let notify =
        json!({"notify": [{"url": format!("http://{}", receiver.address()), "events": ["crash"]}]});
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
    // It crashes once more, at the least.
    let restarts = || server.status("echo")["processes"][0]["restarts"].as_u64();
    let before = restarts();
    eventually("it crashes again", LONG, || {
        (restarts() > before).then_some(())
    });
    assert_eq!(told(&receiver, "crash", 1).len(), 1);
}

struct Mailbox {
    directory: tempfile::TempDir,
    server: Child,
    port: u16,
}

impl Mailbox {
    /// `None` where this machine has no mail server for tests.
    fn start() -> Option<Self> {
        let directory = world_readable_directory();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/notices/mailbox.py");
        let mut server = Command::new("/usr/bin/python3")
            .arg(script)
            .arg(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(server.stdout.take()?)
            .read_line(&mut line)
            .ok()?;
        let Ok(port) = line.trim().parse() else {
            server.wait().ok()?;
            assert!(
                std::env::var_os("CI").is_none(),
                "python3-aiosmtpd is missing"
            );
            return None;
        };
        Some(Self {
            directory,
            server,
            port,
        })
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

#[test]
fn a_notice_comes_by_mail() {
    let Some(mailbox) = Mailbox::start() else {
        return skip("notices by mail", "there is no python3-aiosmtpd");
    };
    let settings = format!(
        "listen = [\"127.0.0.1:0\"]\nnotify = [{{ url = \"mailto:ops@example.org\" }}, {{ url = \"mailto:nobody@example.org\", events = [\"disk\"] }}]\n\
         [smtp]\nhost = \"127.0.0.1\"\nport = {}\nfrom = \"procserver@example.org\"\ntls = \"none\"\n",
        mailbox.port
    );
    let server = Setup::new().with_settings(&settings).start();
    let repo = Repo::new(&web_files("1"));
    let document = with(
        document("echo", &repo),
        json!({"install": ["echo ünlucky; exit 3"]}),
    );
    assert_eq!(
        server
            .send_and_wait("POST", "/applications", &document)
            .status,
        422
    );
    let mail = eventually("a mail is there", LONG, || {
        std::fs::read_to_string(mailbox.directory.path().join("1")).ok()
    });
    for part in [
        "From-Envelope: procserver@example.org",
        "To-Envelope: ['ops@example.org']",
        "Subject: [procserver] ",
        "echo: deploy 1 failed: ",
        "event: deploy",
    ] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    let tested = run(&server, &["notify", "test"]);
    assert_eq!(tested.code, Some(1), "{tested:?}");
    assert!(
        tested.stdout.contains("no such mailbox") && tested.stdout.contains("yes"),
        "{tested:?}"
    );
}
