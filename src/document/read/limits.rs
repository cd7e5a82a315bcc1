//! `limits` of a document (pure).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::MAX_TYPES;
use crate::document::limits::{AppLimits, Limits};
use crate::document::rules;
use crate::document::walk::{Object, Walk, expected};

/// What a process can have a limit of.
const OF_PROCESS: [&str; 4] = ["memory", "cpu", "tasks", "files"];

/// A shell alone needs a few MiB; who writes "8" has meant something else.
const MEMORY: RangeInclusive<u64> = (8 << 20)..=(1 << 50);
/// Cores. The kernel hands out no less than a millisecond in a tenth of a second.
const CPU: RangeInclusive<f64> = 0.01..=4096.0;
/// A shell and what it starts, up to as many as Linux has ids (proc_sys_kernel(5), `pid_max`).
const TASKS: RangeInclusive<u64> = 4..=(1 << 22);
/// Up to the usual fs.nr_open. With fewer than a dozen no program can load its libraries.
const FILES: RangeInclusive<u64> = 16..=(1 << 20);
const DISK: RangeInclusive<u64> = (1 << 20)..=(1 << 60);

pub(super) fn read_limits(walk: &mut Walk, top: &Object<'_>) -> AppLimits {
    let Some(value) = top.get("limits") else {
        return AppLimits::default();
    };
    let Value::Object(fields) = value else {
        let wanted = "an object, as in {memory: \"512M\", cpu: 1.5, worker: {memory: \"1G\"}}";
        walk.report(top.pointer("limits"), expected(wanted, value));
        return AppLimits::default();
    };
    let types = types_of(fields);
    // What is no object under another name is a limit that is misspelled.
    let mut known = OF_PROCESS.to_vec();
    known.push("disk");
    known.extend(&types);
    let Some(limits) = walk.object(value, top.pointer("limits"), &known) else {
        return AppLimits::default();
    };
    AppLimits {
        each: read_process(walk, &limits),
        by_type: read_types(walk, &limits, &types),
        disk: walk.size(&limits, "disk", DISK),
    }
}

/// The names of what is an object: process types.
fn types_of(fields: &Map<String, Value>) -> Vec<&str> {
    let of_types = fields
        .iter()
        .filter(|(name, value)| value.is_object() && !is_limit(name));
    of_types.map(|(name, _)| name.as_str()).collect()
}

fn is_limit(name: &str) -> bool {
    name == "disk" || OF_PROCESS.contains(&name)
}

fn read_types(walk: &mut Walk, limits: &Object<'_>, types: &[&str]) -> BTreeMap<String, Limits> {
    let mut by_type = BTreeMap::new();
    if types.len() > MAX_TYPES {
        let detail = format!(
            "limits names {} process types: at most {MAX_TYPES} are allowed",
            types.len()
        );
        walk.report(limits.pointer(types[MAX_TYPES]), detail);
        return by_type;
    }
    for name in types {
        if let Err(detail) = rules::process_type(name) {
            walk.report(limits.pointer(name), detail);
            continue;
        }
        if let Some(own) = walk.child(limits, name, &OF_PROCESS) {
            by_type.insert((*name).to_owned(), read_process(walk, &own));
        }
    }
    by_type
}

fn read_process(walk: &mut Walk, limits: &Object<'_>) -> Limits {
    Limits {
        memory: walk.size(limits, "memory", MEMORY),
        cpu: read_cpu(walk, limits),
        tasks: count_of(walk, limits, "tasks", TASKS),
        files: count_of(walk, limits, "files", FILES),
    }
}

fn count_of(
    walk: &mut Walk,
    limits: &Object<'_>,
    field: &str,
    range: RangeInclusive<u64>,
) -> Option<u32> {
    let number = walk.number(limits, field, range)?;
    u32::try_from(number).ok()
}

fn read_cpu(walk: &mut Walk, limits: &Object<'_>) -> Option<u32> {
    let value = limits.get("cpu")?;
    let wanted = format!(
        "a number of cores from {} to {}, as in 1.5",
        CPU.start(),
        CPU.end()
    );
    let detail = match (value.as_f64(), value) {
        (Some(cores), _) if CPU.contains(&cores) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is in the range"
            )]
            return Some((cores * 1000.0).round() as u32);
        }
        (_, Value::Number(number)) => format!("must be {wanted}, not {number}"),
        _ => expected(&wanted, value),
    };
    walk.report(limits.pointer("cpu"), detail);
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::config::{AppConfig, Rules};

    fn read(limits: Value) -> Result<AppLimits, Vec<(String, String)>> {
        let mut document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
        document["limits"] = limits;
        let config = AppConfig::from_document(document, &Rules::default());
        config.map(|config| config.limits).map_err(|errors| {
            let told = errors.into_iter().map(|e| (e.pointer, e.detail));
            told.collect()
        })
    }

    #[test]
    fn limits_are_read_for_each_process_and_by_type() {
        let limits = json!({"memory": "512M", "cpu": 1.5, "tasks": 200, "files": 4096, "disk": "10G",
            "web": {"memory": "1G"}, "install": {"cpu": 2}});
        let limits = read(limits).unwrap();
        let (web, each) = (limits.of("web"), limits.of("worker"));
        assert_eq!((each.memory, each.cpu), (Some(512 << 20), Some(1500)));
        assert_eq!((each.tasks, each.files), (Some(200), Some(4096)));
        assert_eq!((web.memory, web.cpu), (Some(1 << 30), Some(1500)));
        assert_eq!(limits.of_install().cpu, Some(2000));
        assert_eq!(limits.disk, Some(10 << 30));
        assert_eq!(limits.types().collect::<Vec<_>>(), ["web"]);
    }

    #[test]
    fn what_is_wrong_is_pointed_to() {
        for (wrong, pointer, part) in [
            (json!("512M"), "/limits", "an object"),
            (json!({"memory": 512}), "/limits/memory", "\"512M\" for MiB"),
            (json!({"memory": "1K"}), "/limits/memory", "from 8M"),
            (
                json!({"memory": {"web": "1G"}}),
                "/limits/memory",
                "a string",
            ),
            (json!({"memroy": "1G"}), "/limits/memroy", "\"memory\""),
            (json!({"web": "1G"}), "/limits/web", "known are memory, cpu"),
            (
                json!({"web": {"disk": "1G"}}),
                "/limits/web/disk",
                "no field",
            ),
            (
                json!({"web": {"cpu": "2"}}),
                "/limits/web/cpu",
                "a number of cores",
            ),
            (json!({"cpu": 0}), "/limits/cpu", "from 0.01"),
            (json!({"cpu": -1.5}), "/limits/cpu", "not -1.5"),
            (json!({"tasks": 1}), "/limits/tasks", "from 4"),
            (json!({"files": 3.5}), "/limits/files", "a whole number"),
            (json!({"a b": {}}), "/limits/a b", "not a process type"),
        ] {
            let errors = read(wrong.clone()).unwrap_err();
            assert_eq!(errors.len(), 1, "{wrong}: {errors:?}");
            assert_eq!(errors[0].0, pointer, "{wrong}");
            assert!(errors[0].1.contains(part), "{wrong}: {errors:?}");
        }
    }
}
