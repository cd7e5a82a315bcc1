//! `procserver logs`: followed over whatever becomes of the server, of several applications, in colours.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::command::{finish, procserver};
use crate::support::fixture::{document, with};
use crate::support::repo::Repo;
use crate::support::runs;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::eventually;

const LONG: Duration = Duration::from_secs(60);

/// Counts on both outputs.
const COUNT: &str =
    "count: i=0; while :; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.02; done\n";

/// A verb at work, whose output goes to files.
pub(crate) struct Follower {
    pub(crate) child: Child,
    files: TempDir,
}

impl Follower {
    pub(crate) fn start(command: &mut Command) -> Self {
        let files = tempfile::tempdir().unwrap();
        let to = |name| File::create(files.path().join(name)).unwrap();
        let command = command.stdout(to("stdout")).stderr(to("stderr"));
        let child = command.spawn().unwrap();
        Self { child, files }
    }

    pub(crate) fn text(&self, name: &str) -> String {
        let text = std::fs::read(self.files.path().join(name)).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn lines(&self) -> usize {
        self.text("stdout").matches('\n').count()
    }

    /// Waits until so many lines more have come.
    #[track_caller]
    fn more(&self, lines: usize) {
        let before = self.lines();
        eventually("more lines come", LONG, || {
            (self.lines() >= before + lines).then_some(())
        });
    }

    /// Waits until it has said so for the `times`th time.
    #[track_caller]
    fn has_said(&self, text: &str, times: usize) {
        eventually(text, LONG, || {
            (self.text("stderr").matches(text).count() >= times).then_some(())
        });
        assert_eq!(self.text("stderr").matches(text).count(), times);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn verb(server: &Server, arguments: &[&str]) -> Command {
    let mut command = runs::verb(server, arguments);
    command.env_remove("NO_COLOR");
    command
}

/// The lines of `text` that an output printed.
fn of<'a>(text: &'a str, output: &str) -> Vec<&'a str> {
    let mark = format!("| {output} ");
    text.lines().filter(|line| line.contains(&mark)).collect()
}

#[test]
fn a_followed_log_goes_on_over_kills_reloads_and_restarts_with_each_line_once() {
    let setup = Setup::new().with_own_program();
    let address = format!("127.0.0.1:{}", setup.spare_port());
    let mut server = setup.flag("--listen", &address).start();
    let repo = Repo::new(&[("Procfile", COUNT)]);
    server.deploy(&document("count", &repo));
    let follow = ["logs", "count", "-f", "-n", "all"];
    let by_tcp = |command: &mut Command| {
        let command = command.env("PROCSERVER_URL", format!("http://{address}"));
        Follower::start(command.env("PROCSERVER_TOKEN", server.token()))
    };
    let mut followers = [
        Follower::start(&mut verb(&server, &follow)),
        by_tcp(&mut verb(&server, &follow)),
        Follower::start(&mut verb(
            &server,
            &[&follow[..], &["--since", "1h"]].concat(),
        )),
    ];
    let all_more = |lines| followers.iter().for_each(|follower| follower.more(lines));
    all_more(20);
    for kills in 1..=2 {
        server.kill();
        for follower in &followers {
            follower.has_said("waiting for it", kills);
        }
        server.start_again();
        all_more(40);
    }
    let reload = finish(&mut verb(&server, &["reload"]));
    reload.success();
    all_more(40);
    server.terminate();
    server.start_again();
    all_more(40);

    server.act("count", "stop").expect(200);
    for output in ["stdout", "stderr"] {
        let log = format!("/applications/count/logs/{output}?tail=all");
        let log = server.get(&log).expect(200).text();
        for follower in &followers {
            let word = &output[3..];
            let stored = of(&log, word);
            eventually("all have come", LONG, || {
                let text = follower.text("stdout");
                (of(&text, word).len() >= stored.len()).then_some(())
            });
            let text = follower.text("stdout");
            assert!(of(&text, word) == stored, "{output}:\n{text}\n\n{log}");
            let numbers = stored
                .iter()
                .filter_map(|l| l.rsplit(' ').next()?.parse().ok());
            let numbers: Vec<u64> = numbers.collect();
            let mut steps = numbers.windows(2);
            assert!(
                steps.all(|pair| pair[1] == pair[0] + 1 || pair[1] == 1),
                "{numbers:?}"
            );
        }
    }
    finish(&mut verb(&server, &["rm", "count", "--yes"])).success();
    for follower in &mut followers {
        let ended = eventually("it ends", LONG, || follower.child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(1));
        assert!(follower.text("stderr").contains("count"), "which it was");
    }
}

/// A server with two applications that have printed a line each in turn, of which one tries to clear the screen.
fn two_apps() -> Server {
    let server = Server::start();
    for (name, text) in [("first", "one"), ("second", "\\033[2Jtwo")] {
        let procfile = format!("say: printf '{text}\\n'; exec sleep 600\n");
        let repo = Repo::new(&[("Procfile", &procfile)]);
        server.deploy(&document(name, &repo));
        eventually("it is in the log", LONG, || {
            let log = server.get(&format!(
                "/applications/{name}/logs?grep={}",
                &text[text.len() - 3..]
            ));
            (log.expect(200).text().lines().count() == 1).then_some(())
        });
    }
    server
}

/// Runs a verb on a terminal.
fn on_terminal(server: &Server, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("python3");
    let script =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    command
        .args(["-c", script])
        .arg(procserver().get_program())
        .args(arguments)
        .env(
            "PROCSERVER_URL",
            format!("unix:{}", server.socket().display()),
        )
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    finish(&mut command).success()
}

#[test]
fn several_applications_come_as_one_log_in_the_order_of_time_and_in_colours_on_a_terminal() {
    let server = two_apps();
    let logs = |more: &[&str]| {
        let arguments = [&["logs"], more].concat();
        finish(&mut verb(&server, &arguments)).success()
    };
    let texts = |log: &str| -> Vec<String> {
        let texts = log.lines().filter_map(|line| line.split_once(' '));
        texts.map(|(_, text)| text.to_owned()).collect()
    };
    let both = ["first/say.1 | one", "second/say.1 | \x1b[2Jtwo"];
    assert_eq!(texts(&logs(&["second", "first"])), both);
    assert_eq!(texts(&logs(&[])), both);
    assert_eq!(
        texts(&logs(&["second", "first", "--grep", "two"])),
        both[1..]
    );
    assert_eq!(texts(&logs(&["first", "-p", "say"])), ["say.1 | one"]);

    let lines: Vec<Value> = logs(&["second", "first", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen: Vec<_> = lines.iter().map(|l| (&l["app"], &l["text"])).collect();
    let expected = [
        (json!("first"), json!("one")),
        (json!("second"), json!("\u{1b}[2Jtwo")),
    ];
    assert_eq!(
        seen,
        [
            (&expected[0].0, &expected[0].1),
            (&expected[1].0, &expected[1].1)
        ]
    );

    let arguments = ["logs", "first", "second"];
    let shown = on_terminal(&server, &arguments, &[]);
    assert!(
        shown.starts_with("\x1b[36m") && shown.contains("\n\x1b[33m"),
        "{shown:?}"
    );
    assert!(shown.contains("| \x1b[0m\\x1b[2Jtwo\r\n"), "{shown:?}");
    let plain = on_terminal(&server, &arguments, &[("NO_COLOR", "1")]);
    assert!(
        !plain.contains('\x1b') && plain.contains("| \\x1b[2Jtwo"),
        "{plain:?}"
    );
    let never = on_terminal(
        &server,
        &[&arguments[..], &["--color", "never"]].concat(),
        &[],
    );
    assert_eq!(never, plain);
    assert!(logs(&["first", "--color=always"]).starts_with("\x1b[36m"));

    let unknown = finish(&mut verb(&server, &["logs", "first", "third"]));
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(1), ""));
    assert!(unknown.stderr.contains("third"), "{unknown:?}");
}

#[test]
fn several_followed_logs_go_on_without_one_that_is_removed() {
    let server = two_apps();
    let mut follower = Follower::start(&mut verb(&server, &["logs", "-f"]));
    follower.more(2);
    finish(&mut verb(&server, &["rm", "first", "--yes"])).success();
    follower.has_said("first: ", 1);
    server.act("second", "restart").expect(200);
    eventually("the other one goes on", LONG, || {
        (of_app(&follower.text("stdout"), "second") == 2).then_some(())
    });
    finish(&mut verb(&server, &["rm", "second", "--yes"])).success();
    let ended = eventually("it ends", LONG, || follower.child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(1));
}

fn of_app(log: &str, app: &str) -> usize {
    let mark = format!(" {app}/");
    log.lines().filter(|line| line.contains(&mark)).count()
}

#[test]
fn a_reader_that_is_slow_misses_nothing() {
    let server = Server::start();
    let procfile = "many: i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo line $i of many that are printed at once; done; exec sleep 600\n";
    let repo = Repo::new(&[("Procfile", procfile)]);
    server.deploy(&with(
        document("many", &repo),
        json!({ "scale": { "many": 0 } }),
    ));
    let mut follower = verb(&server, &["logs", "many", "-f", "-n", "all"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let scale = json!({ "scale": { "many": 1 } });
    server
        .send_and_wait("PATCH", "/applications/many", &scale)
        .expect(200);
    eventually("all is printed", LONG, || {
        let last = server.get("/applications/many/logs?tail=1").expect(200);
        last.text().contains("line 60000 ").then_some(())
    });
    // Only now it is read what the follower has to write, and has not taken from the server so far.
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    for number in 1..=60_000 {
        let line = lines.next().unwrap().unwrap();
        assert!(
            line.ends_with(&format!("| line {number} of many that are printed at once")),
            "{number}: {line}"
        );
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
}
