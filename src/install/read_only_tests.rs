use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::mkdirat;

use super::super::tree::{give, remove};
use super::*;
use crate::test_support::is_root;

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path)
        .unwrap()
        .permissions()
        .mode()
        & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Somebody who is neither root nor a real user.
const SOMEBODY: Owner = Owner {
    uid: 54_321,
    gid: 54_322,
};
const ROOT: Owner = Owner {
    uid: 0,
    gid: 54_322,
};

#[test]
fn a_read_only_tree_has_no_write_and_no_set_id_bit_and_can_be_removed() {
    let home = tempfile::tempdir().unwrap();
    let top = home.path().join("1");
    std::fs::create_dir_all(top.join("a/b")).unwrap();
    std::fs::write(top.join("a/b/run"), "x").unwrap();
    set_mode(&top.join("a/b/run"), 0o6755);
    set_mode(&top.join("a/b"), 0o2777);
    make(&top, None).unwrap();
    assert_eq!(mode(&top.join("a/b/run")), 0o555);
    assert_eq!(mode(&top.join("a/b")), 0o555);
    remove(&top).unwrap();
    assert!(!top.exists());
    remove(&top).unwrap();
}

#[test]
fn links_out_of_the_tree_are_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let outside = home.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "x").unwrap();
    let top = home.path().join("1");
    std::fs::create_dir(&top).unwrap();
    symlink(&outside, top.join("directory")).unwrap();
    symlink(outside.join("file"), top.join("file")).unwrap();
    let before = (mode(&outside), mode(&outside.join("file")));
    make(&top, None).unwrap();
    remove(&top).unwrap();
    assert_eq!(before, (mode(&outside), mode(&outside.join("file"))));
    assert!(outside.join("file").exists());
    symlink(&outside, &top).unwrap();
    assert!(make(&top, None).is_err(), "the top must be a directory");
    remove(&top).unwrap();
    assert!(outside.join("file").exists());
}

#[test]
fn a_file_with_other_names_is_copied_and_the_other_name_stays_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let outside = home.path().join("outside");
    std::fs::write(&outside, "content").unwrap();
    set_mode(&outside, 0o644);
    let top = home.path().join("1");
    std::fs::create_dir_all(top.join("deep")).unwrap();
    std::fs::hard_link(&outside, top.join("deep/link")).unwrap();
    make(&top, None).unwrap();
    assert_eq!(mode(&outside), 0o644);
    assert_eq!(mode(&top.join("deep/link")), 0o444);
    assert_eq!(mode(&top.join("deep")) & 0o222, 0);
    assert_eq!(std::fs::read(top.join("deep/link")).unwrap(), b"content");
    let inode = |p: &Path| std::fs::metadata(p).unwrap().ino();
    assert_ne!(inode(&outside), inode(&top.join("deep/link")));
    remove(&top).unwrap();
}

#[test]
fn as_root_the_tree_is_handed_over_and_its_group_may_read_what_its_user_could() {
    if !is_root("as root the tree is handed over and its group may read what its user could") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let outside = home.path().join("shadow");
    std::fs::write(&outside, "secret").unwrap();
    set_mode(&outside, 0o600);
    let top = home.path().join("1");
    std::fs::create_dir(&top).unwrap();
    std::fs::write(top.join("private"), "x").unwrap();
    set_mode(&top.join("private"), 0o600);
    symlink(&outside, top.join("link")).unwrap();
    give(&top, SOMEBODY).unwrap();
    let owner = |p: &Path| {
        let meta = std::fs::symlink_metadata(p).unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!(owner(&top.join("private")), (SOMEBODY.uid, SOMEBODY.gid));
    assert_eq!(owner(&top.join("link")), (SOMEBODY.uid, SOMEBODY.gid));
    make(&top, Some(ROOT)).unwrap();
    for path in [&top, &top.join("private"), &top.join("link")] {
        assert_eq!(owner(path), (ROOT.uid, ROOT.gid));
    }
    assert_eq!(mode(&top.join("private")), 0o440);
    assert_eq!(owner(&outside), (0, 0));
    assert_eq!(mode(&outside), 0o600);
}

#[test]
fn a_tree_deeper_than_any_path_is_refused_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let top = home.path().join("1");
    std::fs::create_dir(&top).unwrap();
    let mut here = open_directory(CWD, &top).unwrap();
    for _ in 0..3000 {
        mkdirat(&here, c"abcdefghij", Mode::from_raw_mode(0o700)).unwrap();
        here = open_directory(here.as_fd(), c"abcdefghij").unwrap();
    }
    drop(here);
    assert!(make(&top, None).is_err());
    remove(&top).unwrap();
    assert!(!top.exists());
}

#[test]
fn a_file_of_another_user_is_not_handed_over() {
    if !is_root("a file of another user is not handed over") {
        return;
    }
    for has_other_name in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("1");
        std::fs::create_dir(&top).unwrap();
        give(&top, SOMEBODY).unwrap();
        let (shadow, planted) = (home.path().join("shadow"), top.join("planted"));
        std::fs::write(&shadow, "secret").unwrap();
        set_mode(&shadow, 0o600);
        match has_other_name {
            true => std::fs::hard_link(&shadow, &planted).unwrap(),
            false => std::fs::rename(&shadow, &planted).unwrap(),
        }
        let error = make(&top, Some(ROOT)).unwrap_err().to_string();
        assert!(
            error.contains("planted: it belongs to another user"),
            "{error}"
        );
        let meta = std::fs::metadata(&planted).unwrap();
        assert_eq!((meta.uid(), meta.gid(), mode(&planted)), (0, 0, 0o600));
        remove(&top).unwrap();
        assert_eq!(shadow.exists(), has_other_name);
    }
}

#[test]
fn a_copy_of_a_file_with_a_hole_takes_no_room_for_it() {
    const LENGTH: u64 = 512 << 20;
    let home = tempfile::tempdir().unwrap();
    let top = home.path().join("1");
    std::fs::create_dir(&top).unwrap();
    let file = top.join("sparse");
    let made = File::create(&file).unwrap();
    made.set_len(LENGTH).unwrap();
    let before = made.metadata().unwrap();
    make_beside(&top, Origin::Open(before.uid()), None, None).unwrap();
    let after = std::fs::metadata(&file).unwrap();
    assert!(after.ino() != before.ino() && after.len() == LENGTH);
    assert!(after.blocks() * 512 < 1 << 20, "{}", after.blocks());
}
