//! Debian's rsyslog receives, by TCP, TLS and UDP.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::receiver::self_signed;
use super::{LONG, all_is_sent, deploy, lines_repo, logged, numbers, write_up_to};
use crate::support::machine::{has, skip};
use crate::support::pebble::spare_port;
use crate::support::server::Server;
use crate::support::setup::world_readable_directory;
use crate::support::wait::{SOON, eventually};

struct Rsyslog {
    home: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Rsyslog {
    /// With this input, where PORT stands for its port.
    fn start(input: &str) -> Self {
        let home = world_readable_directory();
        let port = spare_port();
        let place = home.path().display();
        let config = format!(
            "global(workDirectory=\"{place}\" maxMessageSize=\"64k\")\n{}\n\
             template(name=\"all\" type=\"string\" string=\"%app-name% %procid% %msgid% %structured-data% %msg%\\n\")\n\
             action(type=\"omfile\" file=\"{place}/got\" template=\"all\")\n",
            input
                .replace("PORT", &port.to_string())
                .replace("HOME", &place.to_string()),
        );
        std::fs::write(home.path().join("conf"), config).unwrap();
        let mut rsyslog = Self {
            home,
            port,
            child: None,
        };
        rsyslog.run();
        rsyslog
    }

    fn run(&mut self) {
        let file = |name: &str| self.home.path().join(name);
        let log = std::fs::File::create(file("log")).unwrap();
        let child = Command::new("rsyslogd")
            .arg("-n")
            .args(["-f".as_ref(), file("conf").as_os_str()])
            .args(["-i".as_ref(), file("pid").as_os_str()])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("rsyslogd starts"));
        eventually("rsyslogd runs", SOON, || file("pid").exists().then_some(()));
    }

    /// It takes what it has been sent, and ends.
    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = i32::try_from(child.id()).unwrap();
        crate::support::machine::send_signal(pid, nix::sys::signal::Signal::SIGTERM);
        child.wait().unwrap();
    }

    fn lines(&self) -> Vec<String> {
        let got = std::fs::read(self.home.path().join("got")).unwrap_or_default();
        String::from_utf8(got)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Waits until it has so many lines, and answers their numbers.
    #[track_caller]
    fn has(&self, count: usize) -> Vec<u64> {
        eventually("all lines are there", LONG, || {
            (self.lines().len() >= count).then_some(())
        });
        numbers(self.lines().iter().map(String::as_str))
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn rsyslog_gets_every_line_by_tcp_also_those_that_were_written_while_it_was_away() {
    if !has("rsyslogd", "rsyslog", "drains::syslog") {
        return;
    }
    let mut rsyslog = Rsyslog::start(
        "module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"PORT\")",
    );
    let server = Server::start();
    let url = format!("syslog+tcp://127.0.0.1:{}", rsyslog.port);
    deploy(&server, &lines_repo(), json!([{"url": url}]));
    write_up_to(&server, 3000);
    logged(&server, 3000);
    assert_eq!(rsyslog.has(3000), (1..=3000).collect::<Vec<_>>());
    rsyslog.stop();
    write_up_to(&server, 5000);
    logged(&server, 5000);
    rsyslog.run();
    assert_eq!(rsyslog.has(5000), (1..=5000).collect::<Vec<_>>());
    let first = &rsyslog.lines()[0];
    assert!(
        first.starts_with("noisy lines.1 stdout [meta sequenceId=\"") && first.ends_with(" line 1"),
        "{first}"
    );
    let drain = all_is_sent(&server);
    assert_eq!(
        (&drain["dropped"], &drain["sent"]),
        (&json!(0), &json!(5000))
    );
}

#[test]
fn rsyslog_gets_every_line_by_tls_from_who_trusts_it() {
    let test = "drains::syslog by TLS";
    if !has("rsyslogd", "rsyslog", test) {
        return;
    }
    let driver = Command::new("find")
        .args(["/usr/lib", "-name", "lmnsd_ossl.so"])
        .output()
        .unwrap();
    if driver.stdout.is_empty() {
        assert!(
            std::env::var_os("CI").is_none(),
            "rsyslog-openssl is missing"
        );
        return skip(test, "there is no rsyslog-openssl");
    }
    let keys = world_readable_directory();
    let (certificate, key) = self_signed();
    let write = |name: &str, text: &str| {
        let file = keys.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let (certificate_file, key_file) = (
        write("cert", &certificate),
        write("key", &key.serialize_pem()),
    );
    let shown = |file: &Path| file.display().to_string();
    let input = format!(
        "global(defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{0}\" \
         defaultNetstreamDriverCertFile=\"{0}\" defaultNetstreamDriverKeyFile=\"{1}\")\n\
         module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"PORT\")",
        shown(&certificate_file),
        shown(&key_file)
    );
    let rsyslog = Rsyslog::start(&input);
    let server = Server::start();
    let url = format!("syslog+tls://127.0.0.1:{}", rsyslog.port);
    deploy(
        &server,
        &lines_repo(),
        json!([{"url": url, "ca": certificate}]),
    );
    write_up_to(&server, 3000);
    logged(&server, 3000);
    assert_eq!(rsyslog.has(3000), (1..=3000).collect::<Vec<_>>());
    all_is_sent(&server);
}

#[test]
fn rsyslog_gets_lines_by_udp() {
    if !has("rsyslogd", "rsyslog", "drains::syslog by UDP") {
        return;
    }
    let rsyslog = Rsyslog::start(
        "module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"PORT\")",
    );
    let server = Server::start();
    let url = format!("syslog+udp://127.0.0.1:{}", rsyslog.port);
    deploy(&server, &lines_repo(), json!([{"url": url}]));
    // So few that no buffer of the kernel runs over.
    write_up_to(&server, 100);
    logged(&server, 100);
    assert_eq!(rsyslog.has(100), (1..=100).collect::<Vec<_>>());
}
