//! `engine` of the document, and what a swarm does not do (pure).

use serde_json::Value;

use crate::document::config::Rules;
use crate::document::engine::EngineKind;
use crate::document::walk::{Object, Walk};

pub(super) fn read_engine(walk: &mut Walk, top: &Object<'_>, rules: &Rules) -> EngineKind {
    let parse = |name: &str| EngineKind::parse(name, rules.has_swarm);
    let engine = walk.text(top, "engine", parse).unwrap_or_default();
    if engine == EngineKind::Swarm {
        refuse_what_it_lacks(walk, top);
    }
    engine
}

fn refuse_what_it_lacks(walk: &mut Walk, top: &Object<'_>) {
    if top.get("sandbox").and_then(Value::as_bool) == Some(false) {
        let why = "cannot be turned off on a swarm, where each process has a container";
        walk.report(top.pointer("sandbox"), why);
    }
    let disk = top.get("limits").and_then(|limits| limits.get("disk"));
    if disk.is_some() {
        let why = "is not kept on a swarm, whose volumes have no quota: leave it out";
        walk.report(format!("{}/disk", top.pointer("limits")), why);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::config::AppConfig;

    fn read(extra: Value, has_swarm: bool) -> Result<EngineKind, Vec<String>> {
        let mut document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
        for (field, value) in extra.as_object().expect("an object") {
            document[field] = value.clone();
        }
        let rules = Rules {
            has_swarm,
            ..Rules::default()
        };
        let told = |e: crate::document::config::FieldError| format!("{} {}", e.pointer, e.detail);
        AppConfig::from_document(document, &rules)
            .map(|config| config.engine)
            .map_err(|errors| errors.into_iter().map(told).collect())
    }

    #[test]
    fn the_swarm_is_an_engine_where_the_settings_have_one() {
        assert_eq!(read(json!({}), true), Ok(EngineKind::Local));
        assert_eq!(
            read(json!({"engine": "local"}), false),
            Ok(EngineKind::Local)
        );
        assert_eq!(
            read(json!({"engine": "swarm"}), true),
            Ok(EngineKind::Swarm)
        );
        let told = read(json!({"engine": "swarm"}), false).unwrap_err();
        assert!(
            told[0].starts_with("/engine ") && told[0].contains("[engine.swarm]"),
            "{told:?}"
        );
        let told = read(json!({"engine": "podman"}), true).unwrap_err();
        assert!(told[0].contains("\"local\" or \"swarm\""), "{told:?}");
    }

    #[test]
    fn what_a_swarm_does_not_do_is_refused_by_name() {
        let told = read(json!({"engine": "swarm", "sandbox": false}), true).unwrap_err();
        assert!(told[0].starts_with("/sandbox "), "{told:?}");
        let told = read(json!({"engine": "swarm", "limits": {"disk": "1G"}}), true).unwrap_err();
        assert!(told[0].starts_with("/limits/disk "), "{told:?}");
        let job = json!([{"name": "j", "schedule": "@daily", "command": "true"}]);
        let harmless = json!({"engine": "swarm", "cron": job, "shared": ["log"], "sandbox": true, "limits": {"memory": "64M"}});
        assert_eq!(read(harmless, true), Ok(EngineKind::Swarm));
    }
}
