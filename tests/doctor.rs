//! `procserver doctor` beside what the machine really does.

use crate::support::command::{finish, launched, procserver};
use crate::support::machine::{is_root, skip};

fn said(words: &[&str]) -> (Option<i32>, String) {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let ended = finish(launched(&words).arg("doctor"));
    assert_eq!(ended.stderr, "");
    (ended.code, ended.stdout)
}

#[test]
fn it_names_what_is_missing_and_what_to_do_and_changes_nothing() {
    if !is_root() {
        return skip("a machine without unshare", "only root has it");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (code, all) = said(&[]);
    let view = "ok      a view of the machine for each application";
    assert!(
        all.contains(view) && all.contains("ok      a user for each"),
        "{all}"
    );
    assert_eq!(all.contains("MISSING"), code == Some(1), "{all}");
    let (code, without) = said(&["setpriv", "--bounding-set", "-sys_admin"]);
    assert_eq!(code, Some(1), "{without}");
    assert!(
        without.contains("MISSING a view of the machine"),
        "{without}"
    );
    assert!(
        without.contains("unshare: ") && without.contains("CAP_SYS_ADMIN"),
        "{without}"
    );
    let hide = "mount --bind /dev/null /usr/sbin/useradd; exec \"$@\"";
    let (code, without) = said(&["unshare", "--mount", "sh", "-c", hide, "sh"]);
    assert_eq!(code, Some(1), "{without}");
    assert!(without.contains("apt-get install passwd"), "{without}");
    assert_eq!(
        std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
        mounts
    );
    let ended = finish(procserver().args(["doctor", "--json"]));
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told.as_array().map(Vec::len), Some(3), "{told}");
}
