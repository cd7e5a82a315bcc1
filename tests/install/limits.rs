//! git is neither root nor without bounds, whatever it is made to read.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use procserver::install::record::Step;

use super::root::{as_app, skip};
use super::world::World;

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// A shell in the repository.
fn shell(world: &World, script: &str) {
    let status = Command::new("sh")
        .args(["-ec", script])
        .current_dir(world.repo())
        .env("GIT_AUTHOR_NAME", "t")
        .env("GIT_AUTHOR_EMAIL", "t@t")
        .env("GIT_COMMITTER_NAME", "t")
        .env("GIT_COMMITTER_EMAIL", "t@t")
        .status()
        .unwrap();
    assert!(status.success());
}

/// Ten million files of the same bytes, in a dozen objects.
const BOMB: &str = r#"
    blob=$(echo x | git hash-object -w --stdin)
    tree=$(awk -v b="$blob" 'BEGIN { for (i = 0; i < 10000; i++) printf "100644 blob %s\tf%05d\n", b, i }' | git mktree)
    for depth in 1 2 3; do
        tree=$(awk -v t="$tree" 'BEGIN { for (i = 0; i < 10; i++) printf "040000 tree %s\td%d\n", t, i }' | git mktree)
    done
    git update-ref refs/heads/master "$(git commit-tree -m bomb "$tree")"
"#;

#[test]
fn a_small_pack_that_asks_for_gigabytes_is_refused_with_the_reason() {
    let mut world = World::new(&[PROCFILE]);
    world.deploy().release();
    shell(&world, BOMB);
    let outcome = world.deploy();
    let failure = outcome.failure();
    assert_eq!(failure.step, Step::Checkout, "{outcome:#?}");
    let reason = &failure.reason;
    assert!(
        reason.contains("needs more than the 1 GiB of memory"),
        "{failure:#?}"
    );
    assert_eq!(world.left(), ["1", "1.json"]);
    // The next commit is deployed as ever.
    shell(&world, "git symbolic-ref HEAD refs/heads/next");
    let world_is_well = world.commit(&[PROCFILE]);
    shell(&world, "git update-ref refs/heads/master HEAD");
    assert_eq!(world.deploy().commit, Some(world_is_well));
}

#[test]
fn a_mirror_is_gits_own_also_one_that_root_has_made() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    world.deploy().release();
    let (mirror, uid) = (world.dirs.mirror(), world.account.as_ref().unwrap().uid);
    let owners = || {
        let top = std::fs::metadata(&mirror).unwrap();
        let head = std::fs::metadata(mirror.join("HEAD")).unwrap();
        assert_eq!((top.uid(), top.mode() & 0o777), (0, 0o770));
        assert_eq!((head.uid(), head.gid()), (uid, top.gid()));
        assert_ne!(top.gid(), world.account.as_ref().unwrap().gid);
    };
    owners();
    assert!(!as_app(&world, &format!("cd {}", mirror.display())));
    let status = Command::new("chown")
        .args(["-R", "0:0"])
        .arg(&mirror)
        .status();
    assert!(status.unwrap().success());
    std::fs::set_permissions(&mirror, PermissionsExt::from_mode(0o700)).unwrap();
    owners_after(&mut world);
    let (top, head) = (
        std::fs::metadata(&mirror).unwrap(),
        std::fs::metadata(mirror.join("HEAD")).unwrap(),
    );
    assert_eq!((top.uid(), head.uid(), head.gid()), (0, uid, top.gid()));
}

fn owners_after(world: &mut World) {
    let commit = world.commit(&[("new", "x")]);
    let outcome = world.deploy();
    assert_eq!(outcome.commit, Some(commit));
    assert!(!outcome.logged("mirror was"), "{:#?}", outcome.lines);
}

#[test]
fn a_repository_that_only_root_can_read_is_deployed_all_the_same() {
    let mut world = World::new(&[PROCFILE]);
    std::fs::set_permissions(world.repo(), PermissionsExt::from_mode(0o700)).unwrap();
    world.deploy().release();
    let commit = world.commit(&[("new", "x")]);
    assert_eq!(world.deploy().commit, Some(commit));
}

/// Whether `command` succeeds as the user and group.
fn succeeds_as(uid: u32, gid: u32, command: &str) -> bool {
    let status = Command::new("setpriv")
        .args([format!("--reuid={uid}"), format!("--regid={gid}")])
        .args(["--clear-groups", "sh", "-c", command])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .status();
    status.unwrap().success()
}

/// The processes with `text` in their command line.
fn pids(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let has_text = |p: &std::fs::DirEntry| {
        std::fs::read(p.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    };
    let found = processes.filter(has_text);
    found
        .map(|p| p.file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_password_is_closed_to_processes_of_the_same_user_while_git_runs() {
    if skip() {
        return;
    }
    let mut world = World::new(&[PROCFILE]);
    let account = world.account.clone().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    world.fetch_from(format!("http://ann:s3cret@{address}/x.git"));
    let look = std::thread::spawn(move || {
        let held = silent.accept().unwrap();
        let found = pids(&silent.local_addr().unwrap().to_string());
        for pid in &found {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = |name: &str| {
                status
                    .lines()
                    .find(|l| l.starts_with(name))
                    .unwrap()
                    .to_owned()
            };
            assert!(line("Uid:").contains(&account.uid.to_string()), "{status}");
            assert!(line("CapEff:").ends_with(&"0".repeat(16)), "{status}");
            assert!(line("CapBnd:").ends_with(&"0".repeat(16)), "{status}");
            for secret in ["environ", "fd/0", "mem"] {
                let read = format!("head -c 1 /proc/{pid}/{secret}");
                assert!(!succeeds_as(account.uid, account.gid, &read), "{read}");
            }
        }
        drop(held);
        found.len()
    });
    assert!(world.deploy().result.is_some_and(|r| r.is_err()));
    assert!(
        look.join().unwrap() >= 2,
        "git and its way to http were seen"
    );
}
