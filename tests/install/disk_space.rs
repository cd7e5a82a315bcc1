//! Deploys on a small file system of their own, which fills up.

use procserver::install::record::Step;

use super::world::{World, root};
use crate::support::machine::{SmallDisk, skip};

const PROCFILE: (&str, &str) = ("Procfile", "web: ./serve\n");

/// A world whose data lie on a disk of this size; nothing, and a word about it, where that cannot be.
fn on_a_small_disk(mebibytes: u64) -> Option<(World, SmallDisk)> {
    if !root() {
        skip("a small disk", "it needs root");
        return None;
    }
    let world = World::new(&[PROCFILE]);
    let Some(disk) = SmallDisk::mount(world.path().join("data"), mebibytes) else {
        skip("a small disk", "mounting is not allowed here");
        return None;
    };
    Some((world, disk))
}

impl SmallDisk {
    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.0).unwrap();
        disk.f_bavail * disk.f_frsize
    }

    /// Leaves so many bytes free.
    fn fill(&self, free: u64) {
        let more = usize::try_from(self.free() - free).unwrap();
        std::fs::write(self.0.join("filler"), vec![1; more]).unwrap();
    }
}

#[test]
fn with_too_little_room_a_deploy_is_refused_before_it_begins_and_says_how_much_is_missing() {
    let Some((mut world, disk)) = on_a_small_disk(60) else {
        return;
    };
    world.deploy().release();
    // A twentieth of the disk is to be free.
    disk.fill(1 << 20);
    world.in_use = vec![1];
    let outcome = world.deploy();
    let failure = outcome.failure();
    assert_eq!(failure.step, Step::Fetch);
    let missing = "has 1 MiB free, a deploy needs 3 MiB: 2 MiB are missing";
    assert!(failure.reason.contains(missing), "{failure:?}");
    assert!(
        failure
            .hint
            .as_ref()
            .is_some_and(|h| h.contains("keep_releases"))
    );
    assert!(outcome.started.is_empty(), "{outcome:?}");
    assert!(outcome.logged(missing));
    assert_eq!(world.left(), ["1", "1.json"]);
    std::fs::remove_file(disk.0.join("filler")).unwrap();
    world.deploy().release();
}

#[test]
fn the_oldest_release_goes_before_the_deploy_when_that_makes_the_room() {
    let Some((mut world, disk)) = on_a_small_disk(60) else {
        return;
    };
    world.config.keep_releases = 3;
    world.install(&["head -c 4000000 /dev/urandom > big"]);
    for _ in 0..3 {
        world.deploy().release();
    }
    world.in_use = vec![2, 3];
    disk.fill(2 << 20);
    world.install(&[]);
    world.deploy().release();
    let left = ["2", "2.json", "3", "3.json", "4", "4.json"];
    assert_eq!(world.left(), left);
    // What runs is never taken: then there is no room.
    world.in_use = vec![2, 3, 4];
    std::fs::remove_file(disk.0.join("filler")).unwrap();
    disk.fill(2 << 20);
    assert!(world.deploy().failure().reason.contains("are missing"));
    assert_eq!(world.left(), left);
}

#[test]
fn a_full_disk_is_told_and_the_old_release_stays_whole() {
    let Some((mut world, _disk)) = on_a_small_disk(3) else {
        return;
    };
    world.deploy().release();
    world.install(&["head -c 8000000 /dev/zero > big"]);
    let failure = world.deploy().failure().clone();
    assert_eq!(failure.step, Step::Install);
    assert!(
        failure.reason.starts_with("the disk is full"),
        "{failure:?}"
    );
    assert_eq!(world.left(), ["1", "1.json"]);
    // A file that does not get smaller, so that the mirror itself does not fit.
    let mut noise = vec![0; 8_000_000];
    std::io::Read::read_exact(
        &mut std::fs::File::open("/dev/urandom").unwrap(),
        &mut noise,
    )
    .unwrap();
    std::fs::write(world.repo().join("noise"), noise).unwrap();
    world.commit(&[]);
    let failure = world.deploy().failure().clone();
    assert_eq!(failure.step, Step::Fetch);
    assert!(
        failure.reason.starts_with("the disk is full"),
        "{failure:?}"
    );
    assert_eq!(world.left(), ["1", "1.json"]);
    world.install(&[]);
    world.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    world.deploy().release();
}
