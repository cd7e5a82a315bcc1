//! What the tests of the swarm stand on does what it says, and leaves nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::engines::Engines;
use crate::support::machine::processes_of;
use crate::support::wait::{SOON, eventually};

/// A manager misses a node that is silent for some fifteen seconds.
const LONG: Duration = Duration::from_secs(90);

fn states(engines: &Engines) -> Vec<String> {
    let told = engines.docker(1, &["node", "ls", "--format", "{{.Hostname}} {{.Status}}"]);
    told.lines().map(str::to_owned).collect()
}

#[test]
fn engines_form_a_swarm_and_nothing_is_left_of_them() {
    let Some(mut engines) = Engines::start(2, "engines form a swarm") else {
        return;
    };
    let both = ["node1 Ready", "node2 Ready"];
    let is_whole = || (states(&engines) == both).then_some(());
    eventually("both are there", SOON, is_whole);
    engines.kill(2);
    engines.revive(2);
    let is_whole = || (states(&engines) == both).then_some(());
    eventually("the second one is back", SOON, is_whole);
    engines.cut(2);
    let is_missed = || {
        states(&engines)
            .contains(&"node2 Down".to_owned())
            .then_some(())
    };
    eventually("the second one is missed", LONG, is_missed);
    engines.mend(2);
    let is_whole = || (states(&engines) == both).then_some(());
    eventually("its cable is mended", LONG, is_whole);
    engines.kill_engine_alone(1);
    let is_gone = || (!engines.try_docker(1, &["version"]).status.success()).then_some(());
    eventually("the first one is gone", SOON, is_gone);
    let place = engines.socket(1).parent().unwrap().to_owned();
    let address = engines.host().to_string();
    drop(engines);
    assert!(processes_of(&place).is_empty());
    assert!(!Path::new(&place).exists());
    let addresses = Command::new("ip").args(["-4", "addr"]).output().unwrap();
    let addresses = String::from_utf8_lossy(&addresses.stdout).into_owned();
    assert!(!addresses.contains(&address), "{addresses}");
}
