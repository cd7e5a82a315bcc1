//! What `procserver doctor` says of a real swarm.

use std::path::Path;

use super::echo::LONG;
use super::engines::Engines;
use crate::support::command::{finish, procserver};
use crate::support::setup::Setup;
use crate::support::wait::eventually;

/// What it says with these settings.
fn said(directory: &Path, settings: &str) -> String {
    let file = directory.join("procserver.toml");
    std::fs::write(&file, settings).unwrap();
    let mut doctor = procserver();
    doctor.args(["doctor", "--data-dir", directory.to_str().unwrap()]);
    finish(doctor.args(["--config", file.to_str().unwrap()])).stdout
}

#[test]
fn the_doctor_names_what_a_swarm_lacks() {
    let Some(mut engines) = Engines::start(2, "the doctor on a swarm") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let swarm = |engine| {
        let socket = engines.socket(engine);
        format!("[engine.swarm]\nsocket = \"{}\"\n", socket.display())
    };
    let (manager, worker) = (swarm(1), swarm(2));
    let told = said(
        home.path(),
        &format!("listen = [\"127.0.0.1:1\"]\n{manager}"),
    );
    for line in [
        "ok      swarm engine: version 20.",
        "ok      swarm nodes: 2, all ready",
        "warning images for nodes: only this machine's engine reaches 127.0.0.1:1, so processes run on this machine alone, of 2 nodes",
        "disk of the engine: ",
        "ok      mmdebstrap: ",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains("socket of the engine"), "{told}");
    let alone = "constraints = [\"node.hostname==node1\"]\n";
    let told = said(
        home.path(),
        &format!("listen = [\"127.0.0.1:1\"]\n{manager}{alone}"),
    );
    assert!(!told.contains("only this machine's engine"), "{told}");
    let told = said(
        home.path(),
        &format!("api_hosts = [\"ps.invalid\"]\n{manager}"),
    );
    let line = "warning images for nodes: nodes fetch them at ps.invalid:80, which does not answer";
    assert!(told.contains(line), "{told}");
    let setup = Setup::new();
    let listen = format!("127.0.0.1:{}", setup.spare_port());
    let _server = setup
        .flag("--listen", &listen)
        .flag("--swarm-socket", &engines.socket(1).display().to_string())
        .start();
    let in_clear = format!("api_hosts = [\"localhost\"]\nlisten = [\"{listen}\"]\n{manager}");
    let told = said(home.path(), &in_clear);
    assert!(
        told.contains("by plain HTTP, which an engine refuses"),
        "{told}"
    );
    let registry = "registry = \"http://127.0.0.1:1/apps\"\n";
    let told = said(home.path(), &format!("{manager}{registry}"));
    let line = "MISSING images for nodes: the registry 127.0.0.1:1 cannot be reached";
    assert!(told.contains(line), "{told}");
    let told = said(home.path(), &worker);
    assert!(
        told.contains("MISSING swarm engine: the engine of node2 is a worker"),
        "{told}"
    );
    engines.kill(2);
    let is_missed = || {
        let told = said(home.path(), &manager);
        told.contains("warning swarm nodes: not ready: node2")
            .then_some(())
    };
    eventually("the node is missed", LONG, is_missed);
    let told = said(
        home.path(),
        "[engine.swarm]\nsocket = \"/nowhere/docker.sock\"\n",
    );
    assert!(
        told.contains("MISSING swarm engine: there is no engine at /nowhere"),
        "{told}"
    );
    let told = said(home.path(), "");
    assert!(!told.contains("swarm"), "{told}");
}
