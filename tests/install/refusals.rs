//! What goes wrong is told with its step, its reason and what to do.

use std::time::Duration;

use procserver::document::config::Reference;
use procserver::install::record::Step;
use procserver::supervision::Exit;

use super::servers::Listening;
use super::world::World;

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

#[test]
fn a_missing_branch_tag_or_commit_is_named_with_what_there_is() {
    let mut world = World::new(&[PROCFILE]);
    world.git(&["branch", "develop"]);
    for (reference, words) in [
        (Reference::Branch("nope".into()), "a branch \"nope\""),
        (
            Reference::Branch("../heads/master".into()),
            "a branch \"../heads/master\"",
        ),
        (Reference::Tag("nope".into()), "a tag \"nope\""),
        (
            Reference::Commit("abcdef12".into()),
            "a commit \"abcdef12\"",
        ),
        (Reference::Commit("--all".into()), "a commit \"--all\""),
    ] {
        world.config.repo.reference = reference;
        let outcome = world.deploy();
        let failure = outcome.failure();
        assert_eq!(failure.step, Step::Fetch);
        assert!(failure.reason.contains(words), "{failure:?}");
        assert_eq!(outcome.exit, Exit::Normal);
        assert!(world.left().is_empty());
    }
    world.config.repo.reference = Reference::Branch("nope".into());
    let hint = world.deploy().failure().hint.clone();
    assert_eq!(hint.as_deref(), Some("its branches: develop, master"));
}

#[test]
fn an_empty_and_a_missing_repository_are_told_apart() {
    let mut world = World::new(&[PROCFILE]);
    std::fs::remove_dir_all(world.repo()).unwrap();
    let failure = world.deploy().failure().clone();
    assert!(failure.reason.contains("no such repository"), "{failure:?}");
    std::fs::create_dir(world.repo()).unwrap();
    world.git(&["init", "--quiet"]);
    let failure = world.deploy().failure().clone();
    assert!(failure.reason.contains("is empty"), "{failure:?}");
}

#[test]
fn a_host_that_is_not_there_is_told_without_the_password() {
    let mut world = World::new(&[PROCFILE]);
    // Nothing listens on a port that was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    world.fetch_from(format!("http://ann:s3cret@127.0.0.1:{port}/x.git"));
    let outcome = world.deploy();
    let failure = outcome.failure();
    assert!(failure.reason.contains("cannot be reached"), "{failure:?}");
    assert!(!format!("{failure:?}").contains("s3cret"));
    assert!(!outcome.logged("s3cret"));
}

#[test]
fn credentials_reach_the_server_that_asks_and_no_log() {
    let mut world = World::new(&[PROCFILE]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || refuse_all(&listener));
    world.fetch_from(format!("http://ann:s3cret@127.0.0.1:{port}/x.git"));
    let outcome = world.deploy();
    let failure = outcome.failure();
    assert!(failure.reason.contains("needs credentials"), "{failure:?}");
    assert!(!outcome.logged("s3cret"));
    drop(std::net::TcpStream::connect(("127.0.0.1", port)));
    // "ann:s3cret"
    assert!(server.join().unwrap().contains("YW5uOnMzY3JldA=="));
}

/// Answers every request with 401 until a client sends nothing; all it was sent.
fn refuse_all(listener: &std::net::TcpListener) -> String {
    use std::io::{Read, Write};
    let mut all = String::new();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 8192];
        let length = stream.read(&mut buffer).unwrap_or(0);
        if length == 0 {
            return all;
        }
        all.push_str(&String::from_utf8_lossy(&buffer[..length]));
        let answer = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

/// A web server that answers everything with this.
fn page(status: &'static str, fields: &'static str, body: &'static str) -> Listening {
    use std::io::{Read, Write};
    Listening::start(move |mut stream| {
        if stream.read(&mut [0; 8192]).unwrap_or(0) > 0 {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _gone = stream.write_all((head + body).as_bytes());
        }
    })
}

#[test]
fn what_a_web_server_answers_that_knows_no_repository_is_told() {
    const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";
    const ASKS: &str = "WWW-Authenticate: Basic realm=\"x\"\r\n";
    let mut world = World::new(&[PROCFILE]);
    for (status, fields, body, words) in [
        (
            "200 OK",
            HTML,
            "<html>Sign in</html>",
            "a web page (text/html), not",
        ),
        (
            "200 OK",
            HTML,
            "<html>\nSign in</html>\n",
            "a web page, not",
        ),
        (
            "200 OK",
            "Content-Type: application/json\r\n",
            "{}",
            "something (application/json), not",
        ),
        ("401 No", ASKS, "", "needs credentials"),
        ("403 No", HTML, "", "needs credentials"),
        ("404 No", HTML, "", "no such repository"),
        ("429 No", HTML, "", "too many requests"),
        ("503 No", HTML, "", "the server itself has failed"),
    ] {
        let server = page(status, fields, body);
        world.fetch_from(format!("http://{}/x.git", server.address));
        let failure = world.deploy().failure().clone();
        assert!(failure.reason.contains(words), "{status}: {failure:?}");
        assert!(failure.hint.is_some(), "{failure:?}");
    }
}

#[test]
fn a_server_that_never_answers_ends_by_the_timeout() {
    let mut world = World::new(&[PROCFILE]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    world.fetch_from(format!("git://{}/x", listener.local_addr().unwrap()));
    world.timeouts.fetch = Duration::from_secs(1);
    let failure = world.deploy().failure().clone();
    assert_eq!(failure.step, Step::Fetch);
    assert!(
        failure.reason.contains("took more than 1.0s"),
        "{failure:?}"
    );
    assert!(
        failure
            .hint
            .is_some_and(|h| h.contains("step_timeouts.fetch"))
    );
}

#[test]
fn ext_and_unknown_protocols_run_nothing() {
    let mut world = World::new(&[PROCFILE]);
    let witness = world.path().join("ran");
    for url in [
        format!("ext::touch {}", witness.display()),
        "foo://h/x".into(),
    ] {
        world.fetch_from(url);
        assert_eq!(world.deploy().failure().step, Step::Fetch);
    }
    assert!(!witness.exists());
}

#[test]
fn a_repository_without_a_good_procfile_is_refused_before_anything_is_built() {
    let mut world = World::new(&[("README", "x")]);
    let witness = world.path().join("ran");
    let command = format!("touch {}", witness.display());
    world.install(&[&command]);
    let failure = world.deploy().failure().clone();
    assert_eq!(failure.step, Step::Checkout);
    assert!(failure.reason.contains("no Procfile"), "{failure:?}");
    world.commit(&[("Procfile", "no type of process\n")]);
    let failure = world.deploy().failure().clone();
    assert_eq!(failure.step, Step::Checkout);
    assert!(failure.reason.contains("no entry"), "{failure:?}");
    assert!(!witness.exists());
    assert!(world.left().is_empty());
}

#[test]
fn a_static_site_needs_no_procfile() {
    let mut world = World::new(&[("public/index.html", "x")]);
    world.config.document["static"] = serde_json::json!({"dir": "public"});
    assert!(world.deploy().release().procfile.entries.is_empty());
}
