//! Reads `previews` and `preview` of the document (pure).

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{MAX_VARIABLES, SLEEP, read_variable};
use crate::document::host_name::HostName;
use crate::document::name::AppName;
use crate::document::preview::{PreviewOf, Previews};
use crate::document::walk::{Object, Walk};

pub(in crate::document) const EXPIRES: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(365 * 86_400);

pub(super) fn read_previews(walk: &mut Walk, top: &Object<'_>) -> Option<Previews> {
    let given = walk.child(top, "previews", &["hosts", "env", "expires", "sleep"])?;
    let default = Previews::default();
    Some(Previews {
        hosts: walk.text(&given, "hosts", wildcard),
        env: walk.map(&given, "env", MAX_VARIABLES, read_variable),
        expires: walk.seconds(&given, "expires", EXPIRES, default.expires),
        sleep: walk.seconds(&given, "sleep", SLEEP, default.sleep),
    })
}

pub(super) fn read_preview(walk: &mut Walk, top: &Object<'_>) -> Option<PreviewOf> {
    let given = walk.child(top, "preview", &["of", "expires"])?;
    if given.get("of").is_none() {
        walk.report(
            given.pointer("of"),
            "is required: the application that it is a preview of",
        );
    }
    let app = walk.text(&given, "of", AppName::parse);
    let expires = walk.seconds(&given, "expires", EXPIRES, Previews::default().expires);
    Some(PreviewOf { app: app?, expires })
}

fn wildcard(text: &str) -> Result<HostName, String> {
    let name = HostName::parse(text)?;
    match name.parent() {
        Some(_) => Ok(name),
        None => Err("must be a wildcard, as in \"*.preview.example.org\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::document::config::{AppConfig, Rules};

    fn read(fields: Value) -> Result<AppConfig, Vec<String>> {
        let mut document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
        for (field, value) in fields.as_object().unwrap() {
            document[field] = value.clone();
        }
        let config = AppConfig::from_document(document, &Rules::default());
        config.map_err(|errors| errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn previews_have_defaults_and_hosts_with_a_star() {
        let config =
            read(json!({"previews": {"hosts": "*.P.example", "env": {"A": "1"}}})).unwrap();
        let previews = config.previews.unwrap();
        let hosts = previews.hosts.as_ref().map(HostName::as_str);
        assert_eq!(hosts, Some("*.p.example"));
        assert_eq!(previews.expires, Duration::from_secs(7 * 86_400));
        assert_eq!(read(json!({})).unwrap().previews, None);
        for (wrong, pointer) in [
            (
                json!({"previews": {"hosts": "p.example"}}),
                "/previews/hosts",
            ),
            (json!({"previews": {"expires": "1s"}}), "/previews/expires"),
            (json!({"previews": {"sleep": "1s"}}), "/previews/sleep"),
            (json!({"previews": {"env": {"A": 1}}}), "/previews/env/A"),
            (json!({"previews": {"host": "*.p"}}), "/previews/host"),
            (json!({"preview": {"expires": "1d"}}), "/preview/of"),
            (json!({"preview": {"of": "A B"}}), "/preview/of"),
            (json!({"sleep": "9s"}), "/sleep"),
            (json!({"sleep": 30}), "/sleep"),
        ] {
            assert_eq!(
                read(wrong.clone()),
                Err(vec![pointer.to_owned()]),
                "{wrong}"
            );
        }
    }
}
