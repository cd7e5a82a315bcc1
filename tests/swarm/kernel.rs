//! What a kernel must have for engines to run on it, each tried in namespaces of its own.

use std::path::Path;
use std::process::Command;

/// What a machine of the swarm stands on: what it is called, and a script that fails without it, `$1` an empty directory.
const NEEDS: [(&str, &str); 4] = [
    ("network namespaces", "true"),
    ("bridges", "ip link add probe type bridge"),
    (
        "pairs of veth",
        "ip link add probe type veth peer name other",
    ),
    (
        "file systems of the type overlay",
        r#"mount -t tmpfs tmpfs "$1" && cd "$1" && mkdir low up work all &&
           mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work all"#,
    ),
];

/// What this one lacks, and how it says so.
pub(crate) fn lack(empty: &Path) -> Option<String> {
    NEEDS.iter().find_map(|(name, script)| {
        let tried = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", script, "probe"])
            .arg(empty)
            .output()
            .expect("util-linux is installed");
        let said = String::from_utf8_lossy(&tried.stderr);
        (!tried.status.success()).then(|| format!("it has no {name}: {}", said.trim()))
    })
}

#[test]
fn what_is_missing_is_named() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("no directory");
    std::fs::write(&file, "").unwrap();
    if !crate::support::machine::is_root() {
        return crate::support::machine::skip("what a kernel lacks", "it takes root to try");
    }
    if lack(place.path()).is_some() {
        return crate::support::machine::skip("what a kernel lacks", "this one lacks some");
    }
    let named = lack(&file).expect("there is no place for it");
    assert!(named.contains("overlay"), "{named}");
}
