//! systemd's unit of the server.

use std::collections::BTreeMap;
use std::path::Path;

use super::bounded;
use super::report::Finding;

/// The unit that comes with this program.
const OWN: &str = include_str!("../../../systemd/procserver.service");

const NAME: &str = "procserver.service";
const CHECK: &str = "unit";
const PROPERTIES: &str =
    "--property=LoadState,ActiveState,UnitFileState,FragmentPath,DropInPaths,NeedDaemonReload";

#[must_use]
pub fn checks() -> Vec<Finding> {
    if !Path::new("/run/systemd/system").is_dir() {
        let todo = "start \"procserver serve\" by what starts things here";
        return vec![Finding::unseen(CHECK, "systemd does not run here", todo)];
    }
    let Some(shown) = bounded::output("systemctl", &["show", PROPERTIES, NAME]) else {
        let todo = "\"systemctl status procserver\" says more";
        return vec![Finding::unseen(CHECK, "systemctl does not answer", todo)];
    };
    let properties = read(&shown);
    let path = properties.get("FragmentPath").copied().unwrap_or_default();
    let installed = std::fs::read_to_string(path).ok();
    judge(&properties, installed.as_deref())
}

/// What `systemctl show` prints: lines of `Name=value`.
fn read(shown: &str) -> BTreeMap<&str, &str> {
    shown
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect()
}

/// What a unit says, without comments.
fn said(unit: &str) -> Vec<&str> {
    let lines = unit.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn judge(properties: &BTreeMap<&str, &str>, installed: Option<&str>) -> Vec<Finding> {
    let is = |name: &str| properties.get(name).copied().unwrap_or_default();
    if is("LoadState") != "loaded" {
        let todo = "install it with the package, or systemd/procserver.service by hand (README), then \"systemctl enable --now procserver\"";
        return vec![Finding::warning(
            CHECK,
            format!("{NAME} is not installed"),
            todo,
        )];
    }
    let path = is("FragmentPath");
    let mut found = Vec::new();
    if installed.is_some_and(|unit| said(unit) != said(OWN)) {
        let todo = "install that of this version, and \"systemctl daemon-reload\"; changes of yours belong into \"systemctl edit procserver\"";
        found.push(Finding::warning(
            CHECK,
            format!("{path} is not what this version comes with"),
            todo,
        ));
    }
    if is("NeedDaemonReload") == "yes" {
        let todo = "type \"systemctl daemon-reload\"";
        found.push(Finding::warning(
            CHECK,
            format!("{path} was changed since systemd read it"),
            todo,
        ));
    }
    if is("UnitFileState") != "enabled" {
        let todo = "type \"systemctl enable procserver\"";
        let state = is("UnitFileState");
        found.push(Finding::warning(
            CHECK,
            format!("it does not start with the machine ({state})"),
            todo,
        ));
    }
    if !is("DropInPaths").is_empty() {
        let what = format!("changed by {}", is("DropInPaths"));
        found.push(Finding::good("unit, on this machine", what));
    }
    match is("ActiveState") {
        "active" | "reloading" => found.push(Finding::good(CHECK, format!("{path} is active"))),
        state => {
            let todo = "type \"systemctl start procserver\", and \"journalctl -u procserver -n 50\" says why it ended";
            found.push(Finding::warning(CHECK, format!("{path} is {state}"), todo));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn levels(shown: &str, installed: Option<&str>) -> Vec<Level> {
        let found = judge(&read(shown), installed).into_iter();
        found.map(|finding| finding.level).collect()
    }

    const WELL: &str = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nFragmentPath=/x\nDropInPaths=\n";

    #[test]
    fn a_unit_that_is_missing_old_or_not_enabled_is_a_warning() {
        assert_eq!(levels("LoadState=not-found", None), [Level::Warning]);
        assert_eq!(levels(WELL, Some(OWN)), [Level::Ok]);
        // Comments are nothing that systemd reads.
        let commented = format!("# by hand\n{OWN}");
        assert_eq!(levels(WELL, Some(&commented)), [Level::Ok]);
        assert_eq!(
            levels(WELL, Some("[Service]\n")),
            [Level::Warning, Level::Ok]
        );
        let failed = WELL
            .replace("=active", "=failed")
            .replace("enabled", "disabled");
        assert_eq!(levels(&failed, Some(OWN)), [Level::Warning, Level::Warning]);
        let edited =
            format!("{WELL}DropInPaths=/etc/systemd/system/procserver.service.d/override.conf\n");
        assert_eq!(levels(&edited, Some(OWN)), [Level::Ok, Level::Ok]);
    }
}
