//! Drains of the settings: all applications have them.

use serde_json::json;

use super::receiver::{Answer, Receiver};
use super::{LONG, deploy, lines_repo, logged, run, write_up_to};
use crate::support::setup::Setup;
use crate::support::wait::eventually;

#[test]
fn a_drain_of_the_settings_gets_the_logs_of_every_application_from_their_first_line_on() {
    let receiver = Receiver::start(true, |_| Answer::Take);
    let setup = Setup::new();
    let ca = setup.directory().join("receiver.pem");
    std::fs::write(&ca, receiver.certificate()).unwrap();
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[drains]]\nurl = \"https://t0ken-0f-all@{}/\"\nca = \"{}\"\nstreams = [\"stdout\", \"install\"]\n",
        receiver.address(),
        ca.display()
    );
    let server = setup.with_settings(&text).start();
    deploy(&server, &lines_repo(), json!([]));
    write_up_to(&server, 10);
    logged(&server, 10);
    eventually("both logs are there", LONG, || {
        let taken = receiver.taken();
        (taken.contains("\"stream\":\"install\"") && taken.contains("\"line 10\"")).then_some(())
    });
    let shown = run(&server, &["drains", "noisy"]).success();
    assert!(
        shown.contains("server") && !shown.contains("t0ken"),
        "{shown}"
    );
    assert!(!server.log().contains("t0ken"));
}
