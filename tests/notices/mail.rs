//! By mail: a real mail server takes them, in clear, by STARTTLS and by TLS.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::drains::receiver::self_signed;
use crate::drains::{LONG, run};
use crate::support::fixture::{document, web_files, with};
use crate::support::machine::skip;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::{Setup, world_readable_directory};
use crate::support::wait::eventually;

const PYTHON: &str = "/usr/bin/python3";

struct Mailbox {
    directory: tempfile::TempDir,
    server: Child,
    port: u16,
}

impl Mailbox {
    /// One that is reached this way; `None` where this machine has no mail server for tests. In CI there is one.
    fn start(way: &str) -> Option<Self> {
        let mut look = Command::new(PYTHON);
        look.args(["-c", "import aiosmtpd"]).stderr(Stdio::null());
        if !look.status().is_ok_and(|status| status.success()) {
            let is_ci = std::env::var_os("CI").is_some();
            assert!(!is_ci, "apt-get install python3-aiosmtpd");
            skip("notices by mail", "there is no python3-aiosmtpd");
            return None;
        }
        let directory = world_readable_directory();
        let (certificate, key) = self_signed();
        let files = [("cert", certificate), ("key", key.serialize_pem())].map(|(name, text)| {
            let file = directory.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        });
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/notices/mailbox.py");
        let mut server = Command::new(PYTHON)
            .arg(script)
            .arg(directory.path())
            .arg(way)
            .args(files)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(server.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        Some(Self {
            port: line.trim().parse().expect("it says its port"),
            directory,
            server,
        })
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert")
    }

    /// The message of this number, once it is there.
    #[track_caller]
    fn mail(&self, number: u64) -> String {
        let file = self.directory.path().join(number.to_string());
        eventually("a mail is there", LONG, || {
            std::fs::read_to_string(&file).ok()
        })
    }

    /// A server that tells ops and nobody by it, and trusts it.
    fn told_by(&self, more: &str) -> Server {
        let settings = format!(
            "listen = [\"127.0.0.1:0\"]\n\
             notify = [{{ url = \"mailto:ops@example.org\" }}, {{ url = \"mailto:nobody@example.org\", events = [\"disk\"] }}]\n\
             [smtp]\nhost = \"127.0.0.1\"\nport = {}\nfrom = \"procserver@example.org\"\n{more}",
            self.port
        );
        Setup::new()
            .variable("SSL_CERT_FILE", self.certificate().to_str().unwrap())
            .with_settings(&settings)
            .start()
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
    let Some(mailbox) = Mailbox::start("none") else {
        return;
    };
    let server = mailbox.told_by("tls = \"none\"\n");
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
    let mail = mailbox.mail(1);
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

/// The lines of the settings for who has the password in `file`.
fn by_password(way: &str, file: &Path) -> String {
    let file = file.display();
    format!("tls = \"{way}\"\nusername = \"ops\"\npassword_file = \"{file}\"\n")
}

#[track_caller]
fn comes_encrypted_from_who_has_the_password(way: &str) {
    let Some(mailbox) = Mailbox::start(way) else {
        return;
    };
    let file = mailbox.directory.path().join("password");
    std::fs::write(&file, "sesame-open\n").unwrap();
    let server = mailbox.told_by(&by_password(way, &file));
    let tested = run(&server, &["notify", "test"]);
    assert!(tested.stdout.contains("yes"), "{tested:?}");
    let mail = mailbox.mail(1);
    assert!(mail.contains("Authenticated: True"), "{mail}");
    drop(server);

    std::fs::write(&file, "another-sesame\n").unwrap();
    let server = mailbox.told_by(&by_password(way, &file));
    let refused = run(&server, &["notify", "test"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let said = format!("{refused:?}{}", server.log());
    assert!(
        said.contains("535") && !said.contains("another-sesame"),
        "{said}"
    );
}

#[test]
fn a_notice_comes_by_starttls_from_who_has_the_password() {
    comes_encrypted_from_who_has_the_password("starttls");
}

#[test]
fn a_notice_comes_by_tls_from_who_has_the_password() {
    comes_encrypted_from_who_has_the_password("tls");
}
