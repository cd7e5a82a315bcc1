//! What to say of a change of the engine, or of the user on a swarm: files do not come along.

use serde_json::Value;

use crate::document::config::AppConfig;
use crate::document::engine::EngineKind;

/// What an application leaves behind when its document is `base`, and is to be `config`.
pub(super) fn told(base: &Value, config: &AppConfig) -> Option<String> {
    let name = &config.name;
    let was_on_swarm = base["engine"].as_str() == Some("swarm");
    let stays = match (was_on_swarm, config.engine) {
        (false, EngineKind::Swarm) => {
            "stays on this server, and its processes begin with empty volumes on the nodes"
        }
        (true, EngineKind::Local) => {
            "stays in the volumes of the nodes, and its processes see what this server had before"
        }
        (true, EngineKind::Swarm) if base["user"].as_str() != config.user.as_deref() => {
            return Some(format!(
                "user: on the nodes, what is in $STORAGE_DIR and $HOME of \"{name}\" stays its former user's, and the new one \
                 cannot read it: \"On a swarm\" in the README says how to give it"
            ));
        }
        _ => return None,
    };
    Some(format!(
        "engine: what is in $STORAGE_DIR and $HOME of \"{name}\" {stays}: \"On a swarm\" in the README says how to copy it"
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

    #[test]
    fn who_changes_the_user_on_a_swarm_is_told_whose_the_volumes_stay() {
        let document = |engine: &str, user: &str| {
            json!({
                "name": "a", "repo": {"url": "https://h/a.git"}, "engine": engine, "user": user
            })
        };
        let of = |engine: &str, before: &str, after: &str| {
            let rules = Rules {
                has_swarm: true,
                ..Rules::default()
            };
            let config = AppConfig::from_document(document(engine, after), &rules).unwrap();
            told(&document(engine, before), &config)
        };
        assert!(
            of("swarm", "www-data", "daemon")
                .unwrap()
                .contains("former user's")
        );
        assert_eq!(of("swarm", "daemon", "daemon"), None);
        assert_eq!(of("local", "www-data", "daemon"), None);
    }
}
