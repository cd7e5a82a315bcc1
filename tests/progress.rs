//! What a person sees of a deployment while it runs.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::followed::Follower;
use crate::support::command::procserver;
use crate::support::fixture::web_repo;
use crate::support::server::Server;
use crate::support::wait::eventually;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn on_a_terminal_the_running_step_is_shown_with_what_it_printed_last() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let install = "printf '\\033[2JReceiving 42 of 43\\n'; exec sleep 600";
    let mut command = Command::new("python3");
    let script =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    command
        .args(["-c", script])
        .arg(procserver().get_program())
        .args([
            "create",
            "echo",
            "--repo",
            &repo.url(),
            "--install",
            install,
        ])
        .env(
            "PROCSERVER_URL",
            format!("unix:{}", server.socket().display()),
        )
        .stdin(Stdio::null());
    let mut create = Follower::start(&mut command);
    eventually("the last line is shown", LONG, || {
        let shown = create.text("stdout");
        // What would clear the screen is only shown.
        shown
            .contains("s  \\x1b[2JReceiving 42 of 43")
            .then_some(())
    });
    server
        .request("POST", "/applications/echo/deployments/1/cancel")
        .send(&server.public())
        .expect(202);
    let ended = eventually("it ends", LONG, || create.child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(1));
    let shown = create.text("stdout");
    assert!(
        shown.contains("fetch") && !shown.contains("\x1b[2J"),
        "{shown:?}"
    );
}
