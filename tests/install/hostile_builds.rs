//! Builds that want more than a build should: they get nothing of root's, of the server's, or of another app's.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use procserver::install::record::Step;

use super::root::{as_app, skip};
use super::world::World;

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

#[test]
fn a_build_runs_niced_in_places_of_its_own_and_reads_nothing_of_its_parent() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    world.install(&[
        "nice > nice; echo $TMPDIR > tmp; echo $HOME > home; echo mine > $STORAGE_DIR/kept",
        "cat /proc/$PPID/environ > parent || true; umask > umask; id -G > groups; env > env",
        "cat /proc/self/limits > /dev/null; ls -l /proc/self/fd > fds",
    ]);
    let directory = world.deploy().release().directory.clone();
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    assert_eq!(read("nice").trim(), "10");
    assert_eq!(
        read("parent"),
        "",
        "the environment of the server is closed"
    );
    assert_eq!(read("tmp").trim(), world.dirs.tmp().to_str().unwrap());
    assert_eq!(read("home").trim(), world.dirs.home().to_str().unwrap());
    for own in [world.dirs.tmp(), world.dirs.home(), world.dirs.storage()] {
        let meta = std::fs::metadata(&own).unwrap();
        let uid = world.account.as_ref().unwrap().uid;
        assert_eq!((meta.uid(), meta.mode() & 0o777), (uid, 0o700), "{own:?}");
    }
    let root_group = read("groups").split_whitespace().any(|gid| gid == "0");
    assert!(!root_group, "{}", read("groups"));
    // stdin, stdout, stderr, and the directory that is listed.
    assert_eq!(read("fds").matches(" -> ").count(), 4, "{}", read("fds"));
    world.install(&["cat $STORAGE_DIR/kept > kept"]);
    let next = world.deploy().release().directory.clone();
    assert_eq!(
        std::fs::read_to_string(next.join("kept")).unwrap(),
        "mine\n"
    );
}

#[test]
fn a_descriptor_that_a_program_of_the_user_kept_writes_into_no_release() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    let account = world.account.clone().unwrap();
    world.install(&[
        "echo first > held; until [ -e $TMPDIR/holding ]; do sleep 0.05; done; touch -d 2001-01-01 held",
    ]);
    let (held, holding) = (
        world.dirs.release(1).join("held"),
        world.dirs.tmp().join("holding"),
    );
    // Not of the build: nothing ends it with that. It might have got the descriptor over a socket, too.
    let script = format!(
        "until [ -e {held} ]; do sleep 0.05; done; exec 9>>{held}; touch {holding}; read go; echo evil >&9",
        held = held.display(),
        holding = holding.display(),
    );
    let mut holder = std::process::Command::new("setpriv")
        .args([
            format!("--reuid={}", account.uid),
            format!("--regid={}", account.gid),
        ])
        .args(["--clear-groups", "sh", "-c", &script])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    world.deploy().release();
    world.deploy().release();
    holder.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(holder.wait().unwrap().success());
    let next = world.dirs.release(2).join("held");
    for file in [&held, &next] {
        assert_eq!(std::fs::read_to_string(file).unwrap(), "first\n");
    }
    let (one, two) = (
        std::fs::metadata(&held).unwrap(),
        std::fs::metadata(&next).unwrap(),
    );
    assert_eq!((one.ino(), one.uid()), (two.ino(), 0));
}

#[test]
fn what_a_build_moved_in_from_root_is_not_made_readable() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    world.deploy().release();
    // Who may write to a directory that is not sticky may move away what is in it, whosever that is.
    let open = world.dirs.storage().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::write(open.join("secret"), "root's own").unwrap();
    std::fs::set_permissions(open.join("secret"), PermissionsExt::from_mode(0o600)).unwrap();
    world.install(&[&format!("mv -f {}/secret stolen", open.display())]);
    let outcome = world.deploy();
    let failure = outcome.failure();
    assert_eq!(failure.step, Step::Install);
    assert!(
        failure
            .reason
            .contains("stolen: it belongs to another user"),
        "{failure:?}"
    );
    assert_eq!(world.left(), ["1", "1.json"]);
}

#[test]
fn what_a_build_plants_beside_files_is_gone_or_harmless_and_the_tree_can_be_removed() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    world.install(&[
        "mkfifo fifo; cp /bin/sh shell; chmod 6777 shell; mkdir closed; echo x > closed/in; chmod 0 closed",
        "mkdir -m 7777 sticky; ln -s / everything; ln -s ../../state.json state; ln -s loop loop",
        "mkdir 'a\nb'; touch \"$(printf '\\377\\001')\"; mknod null c 1 3 && exit 9 || true",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")' || true",
        "chmod 0 .; true",
    ]);
    let directory = world.deploy().release().directory.clone();
    for gone in ["fifo", "socket", "null"] {
        assert!(directory.join(gone).symlink_metadata().is_err(), "{gone}");
    }
    let mode = |name: &str| std::fs::metadata(directory.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("shell"), mode("sticky")), (0o555, 0o555));
    assert_eq!(mode(""), 0o550);
    let outside = format!("cd {} && cat state", directory.display());
    assert!(!as_app(&world, &outside), "a link opens nothing");
    let escaped = std::fs::metadata("/").unwrap();
    assert_eq!(escaped.uid(), 0);
    world.install(&[]);
    world.deploy().release();
    procserver::install::release::prune(&world.dirs, 1, &[2], 2);
    assert_eq!(world.left(), ["2", "2.json"]);
}

#[test]
fn a_procfile_that_a_build_replaced_by_something_else_is_refused() {
    for (command, word) in [
        ("ln -sf /etc/passwd Procfile", "symbolic link"),
        ("rm Procfile; mkdir Procfile", "not a regular file"),
        ("head -c 3000000 /dev/zero > Procfile", "larger than"),
        (
            "rm -f .env; ln -s ../../state .env",
            "leads out of the checkout",
        ),
    ] {
        let mut world = World::new(&[PROCFILE]);
        world.install(&[command]);
        let outcome = world.deploy();
        let reason = &outcome.failure().reason;
        assert!(reason.contains(word), "{command}: {reason}");
        assert!(world.left().is_empty());
    }
}
