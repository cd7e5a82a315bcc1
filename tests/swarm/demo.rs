//! `procserver demo --swarm`, by the program itself, on the machine of a real engine.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::engines::Engines;
use super::images::{here, prepare, release};
use crate::support::command::{BINARY, Finished, finish, launched};
use crate::support::machine::{processes_of, send_signal};
use crate::support::setup::{install, world_readable_directory};
use crate::support::wait::eventually;

use super::echo::LONG;

/// The demo, on the machine of this engine.
fn demo(engines: &Engines, engine: usize, directory: &Path) -> Command {
    demo_by(&[], engines, engine, directory)
}

/// As [`demo`], started by these words.
fn demo_by(words: &[&str], engines: &Engines, engine: usize, directory: &Path) -> Command {
    let place = format!("--net=/run/netns/{}", engines.namespace(engine));
    let words = words.iter().map(|word| (*word).to_owned());
    let launcher = ["nsenter".to_owned(), place].into_iter().chain(words);
    let mut command = launched(&launcher.collect::<Vec<_>>());
    command
        .args(["demo", "--swarm", "--socket"])
        .arg(engines.socket(engine))
        .arg("--base-from")
        .arg(directory.join("server"))
        .env("TMPDIR", directory.join("tmp"));
    command
}

/// What a command prints that ends well, in its own time.
#[track_caller]
fn within_limit(command: &mut Command) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let out = || file.reopen().unwrap();
    let mut child = command.stdout(out()).stderr(out()).spawn().unwrap();
    let ended = eventually("it ends", LONG, || child.try_wait().unwrap());
    let printed = std::fs::read_to_string(file.path()).unwrap();
    assert!(ended.success(), "{ended}: {printed}");
    printed
}

/// What an engine has.
fn all_of(engines: &Engines, engine: usize) -> [String; 3] {
    [
        &["image", "ls", "--all", "--quiet"][..],
        &["volume", "ls", "--quiet"],
        &["container", "ls", "--all", "--quiet"],
    ]
    .map(|command| engines.docker(engine, command))
}

/// A directory with a server that has made a root file system.
fn directory() -> tempfile::TempDir {
    let directory = world_readable_directory();
    let server = directory.path().join("server");
    std::fs::create_dir(directory.path().join("tmp")).unwrap();
    prepare(&server, here("host:1"), &[&release(&server, "shop", 1)]);
    directory
}

#[test]
fn the_demo_on_a_swarm_checks_itself_and_leaves_the_engine_as_it_was() {
    let Some(engines) = Engines::start(2, "the demo on a swarm") else {
        return;
    };
    let directory = directory();
    let tmp = directory.path().join("tmp");
    let before = [1, 2].map(|engine| all_of(&engines, engine));
    let is_as_before = || {
        assert_eq!(processes_of(&tmp), [0; 0]);
        assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
        assert_eq!(engines.docker(1, &["service", "ls", "--quiet"]), "");
        assert_eq!([1, 2].map(|engine| all_of(&engines, engine)), before);
    };
    let printed = within_limit(demo(&engines, 1, directory.path()).arg("--once"));
    for part in [
        "the manager of a swarm with 2 nodes",
        "The app runs on this node",
        "web.2     ready  node1",
        "requests were answered meanwhile, none failed",
        "So does another commit.",
        "delete the app",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(!printed.contains("node2"), "{printed}");
    is_as_before();
    // Somebody has seen enough before there is anything to see.
    let mut demo = demo(&engines, 1, directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let has_begun = || (!engines.docker(1, &["service", "ls", "--quiet"]).is_empty()).then_some(());
    eventually("it has a service", LONG, has_begun);
    send_signal(i32::try_from(demo.id()).unwrap(), Signal::SIGINT);
    let ended = || demo.try_wait().unwrap();
    let ended = eventually("it ends", LONG, ended);
    assert!(ended.success(), "{ended}");
    is_as_before();
}

#[test]
fn the_demo_says_what_an_engine_lacks_and_what_to_do() {
    let Some(engines) = Engines::start(2, "the demo without a swarm") else {
        return;
    };
    let directory = directory();
    let fails = |ended: Finished, parts: &[&str]| {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for part in parts {
            assert!(ended.stderr.contains(part), "{part}: {ended:?}");
        }
        let left = std::fs::read_dir(directory.path().join("tmp")).unwrap();
        assert_eq!(left.count(), 0, "{ended:?}");
    };
    let demo = |engine| demo(&engines, engine, directory.path());
    let parts = ["node2", "is a worker", "docker node promote"];
    fails(finish(&mut demo(2)), &parts);
    engines.docker(2, &["swarm", "leave"]);
    let parts = ["node2", "in no swarm", "docker swarm init"];
    fails(finish(&mut demo(2)), &parts);
    let parts = ["apt-get install mmdebstrap"];
    fails(
        finish(&mut demo_by(
            &["env", "PATH=/nowhere"],
            &engines,
            1,
            directory.path(),
        )),
        &parts,
    );
    // Whoever may open the socket has to be root all the same.
    let binary = directory.path().join("procserver");
    install(Path::new(BINARY), &binary);
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&binary)
            .args(["demo", "--swarm", "--socket"])
            .arg(engines.socket(1));
        finish(&mut command)
    };
    let mode = |mode: u32, path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let socket = engines.socket(1);
    mode(0o755, socket.parent().unwrap());
    mode(0o755, socket.parent().unwrap().parent().unwrap());
    fails(as_nobody(), &["not for this user", "group docker"]);
    mode(0o666, &socket);
    fails(as_nobody(), &["sudo procserver demo --swarm"]);
}
