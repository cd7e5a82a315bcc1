//! Which processes a release should have (pure).

use std::collections::{BTreeMap, BTreeSet};

use super::procfile::Procfile;

/// The process type that the proxy routes to where nothing names another one.
pub const ROUTED: &str = "web";
/// The process type that runs once per deploy, before the new processes start, whatever `scale` says of it.
pub const RELEASE: &str = "release";

/// Process types whose names say that they end by themselves: nobody wants them restarted for ever.
const TASKS: [&str; 8] = [
    RELEASE,
    "console",
    "shell",
    "init",
    "setup",
    "seed",
    "migrate",
    "postdeploy",
];

/// One process that should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// `web.1`.
    pub id: String,
    /// `web`.
    pub process_type: String,
    /// For `/bin/sh -c`.
    pub command: String,
    /// Whether the proxy routes to it.
    pub routed: bool,
}

/// The processes of a Procfile at a scale, in Procfile order, and warnings about the scale. The proxy routes to those of
/// the types in `routed`.
#[must_use]
pub fn formation(
    procfile: &Procfile,
    scale: &BTreeMap<String, u32>,
    routed: &BTreeSet<&str>,
) -> (Vec<Slot>, Vec<String>) {
    let mut slots = Vec::new();
    for entry in procfile.entries.iter().filter(|e| e.name != RELEASE) {
        let quantity = scale
            .get(&entry.name)
            .copied()
            .unwrap_or_else(|| u32::from(!is_task(&entry.name)));
        for index in 1..=quantity {
            slots.push(Slot {
                id: format!("{}.{index}", entry.name),
                process_type: entry.name.clone(),
                command: entry.command.clone(),
                routed: routed.contains(entry.name.as_str()),
            });
        }
    }
    let mut warnings = tasks(procfile, scale);
    for name in scale.keys() {
        if name == RELEASE {
            warnings.push(
                "scale.release is ignored: a release command runs once per deploy".to_owned(),
            );
        } else if procfile.command(name).is_none() {
            warnings.push(procfile.lacks("scale", name));
        }
    }
    (slots, warnings)
}

fn is_task(name: &str) -> bool {
    TASKS.contains(&name)
}

/// Warnings about types that are not started because of their names.
#[must_use]
pub fn tasks(procfile: &Procfile, scale: &BTreeMap<String, u32>) -> Vec<String> {
    let names = procfile.entries.iter().map(|entry| &entry.name);
    let left_out = names.filter(|n| *n != RELEASE && is_task(n) && !scale.contains_key(*n));
    left_out
        .map(|name| {
            format!(
                "\"{name}\" is not started, as that is the name of a task: scale: {{\"{name}\": 1}} starts it, and \
                 restart: {{\"{name}\": \"never\"}} lets it end"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::procfile::Entry;

    fn procfile(names: &[&str]) -> Procfile {
        let entries = names
            .iter()
            .enumerate()
            .map(|(i, name)| Entry {
                name: (*name).into(),
                command: format!("./{name}"),
                line: i + 1,
            })
            .collect();
        Procfile {
            entries,
            warnings: vec![],
        }
    }

    fn ids(names: &[&str], scale: &[(&str, u32)]) -> Vec<String> {
        let scale = scale.iter().map(|(n, q)| ((*n).to_owned(), *q)).collect();
        formation(&procfile(names), &scale, &[ROUTED].into())
            .0
            .into_iter()
            .map(|s| s.id)
            .collect()
    }

    #[test]
    fn every_type_runs_once_unless_scaled_and_release_never() {
        assert_eq!(ids(&["web", "job", "release"], &[]), ["web.1", "job.1"]);
        assert_eq!(
            ids(&["web", "job"], &[("web", 3), ("job", 0)]),
            ["web.1", "web.2", "web.3"]
        );
        assert_eq!(ids(&["release", "web"], &[("release", 2)]), ["web.1"]);
    }

    #[test]
    fn tasks_are_started_where_scale_names_them_and_else_told_of() {
        let names = ["web", "console", "migrate", "release"];
        assert_eq!(ids(&names, &[("migrate", 1)]), ["web.1", "migrate.1"]);
        let (_, told) = formation(&procfile(&names), &BTreeMap::new(), &[ROUTED].into());
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("scale: {\"console\": 1}"), "{told:?}");
    }

    #[test]
    fn only_web_is_routed() {
        let (slots, _) = formation(
            &procfile(&["web", "websocket"]),
            &BTreeMap::new(),
            &[ROUTED].into(),
        );
        assert_eq!(
            slots.iter().map(|s| s.routed).collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn a_scaled_type_that_the_procfile_lacks_is_named() {
        let scale = BTreeMap::from([("wbe".to_owned(), 2), ("release".to_owned(), 1)]);
        let (_, warnings) = formation(&procfile(&["web", "release"]), &scale, &[ROUTED].into());
        assert_eq!(warnings.len(), 2);
        assert!(
            warnings[1].contains("\"wbe\"") && warnings[1].ends_with("did you mean \"web\"?"),
            "{warnings:?}"
        );
    }

    #[test]
    fn any_scale_of_release_is_ignored_with_a_warning() {
        for quantity in [0, 1, 2] {
            let scale = BTreeMap::from([(RELEASE.to_owned(), quantity)]);
            for names in [&["web"][..], &["web", "release"]] {
                let (slots, warnings) = formation(&procfile(names), &scale, &[ROUTED].into());
                assert_eq!(slots.len(), 1);
                assert!(
                    warnings[0].starts_with("scale.release is ignored"),
                    "{warnings:?}"
                );
            }
        }
    }
}
