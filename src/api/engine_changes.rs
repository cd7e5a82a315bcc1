//! What to say of a change of the engine: files do not come along.

use serde_json::Value;

use crate::document::config::AppConfig;
use crate::document::engine::EngineKind;

/// What an application leaves behind when its document is `base`, and is to be `config`.
pub(super) fn told(base: &Value, config: &AppConfig) -> Option<String> {
    let was_on_swarm = base["engine"].as_str() == Some("swarm");
    let stays = match (was_on_swarm, config.engine) {
        (false, EngineKind::Swarm) => {
            "stays on this server, and its processes begin with empty volumes on the nodes"
        }
        (true, EngineKind::Local) => {
            "stays in the volumes of the nodes, and its processes see what this server had before"
        }
        _ => return None,
    };
    Some(format!(
        "engine: what is in $STORAGE_DIR and $HOME of \"{}\" {stays}: \"On a swarm\" in the README says how to copy it",
        config.name
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::config::Rules;

    #[test]
    fn who_changes_the_engine_is_told_what_stays_behind() {
        let document = |engine: Option<&str>| {
            let mut document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
            if let Some(engine) = engine {
                document["engine"] = engine.into();
            }
            document
        };
        let of = |before: Option<&str>, after: Option<&str>| {
            let rules = Rules {
                has_swarm: true,
                ..Rules::default()
            };
            let config = AppConfig::from_document(document(after), &rules).unwrap();
            told(&document(before), &config)
        };
        assert!(of(None, Some("swarm")).unwrap().contains("empty volumes"));
        assert!(of(Some("swarm"), None).unwrap().contains("of the nodes"));
        assert_eq!(of(None, Some("local")), None);
        assert_eq!(of(Some("swarm"), Some("swarm")), None);
    }
}
