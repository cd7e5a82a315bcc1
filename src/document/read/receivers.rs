//! `drains` and `notify` of the document: who gets its logs, and who is told (pure).

use serde_json::Value;

use crate::document::drain::{self, DrainConfig, STREAMS};
use crate::document::notify::{self, APP_EVENTS, NotifyConfig};
use crate::document::rules as rules_of;
use crate::document::walk::{Object, Walk, expected};

/// Each is a connection, and reads the log.
const MAX_DRAINS: usize = 8;

const MAX_RECEIVERS: usize = 16;

const MAX_TYPES: usize = 64;

/// Reads `drains` of the document.
pub(super) fn read_drains(walk: &mut Walk, top: &Object<'_>) -> Vec<DrainConfig> {
    let mut keys: Vec<String> = Vec::new();
    let shape = "a list of receivers, [{url: \"syslog+tls://…\"}]";
    walk.items(top, "drains", (shape, MAX_DRAINS), |walk, item, pointer| {
        let fields = ["url", "streams", "types", "ca"];
        let given = object(walk, item, pointer.clone(), &fields)?;
        if given.get("url").is_none() {
            let detail =
                "is required: \"syslog+tls://HOST:PORT\", \"https://…\" or \"loki+https://…\"";
            walk.report(given.pointer("url"), detail);
        }
        let streams = walk.list(&given, "streams", STREAMS.len(), drain::stream);
        let types = walk.list(&given, "types", MAX_TYPES, |text| {
            rules_of::process_type(text).map(|()| text.to_owned())
        });
        let ca = walk.text(&given, "ca", drain::ca);
        if given
            .get("streams")
            .is_some_and(|value| *value == Value::Array(vec![]))
        {
            walk.report(
                given.pointer("streams"),
                "must name a log, such as \"stdout\"",
            );
        }
        let mut read = walk.text(&given, "url", DrainConfig::to)?;
        if ca.is_some() && !read.is_by_tls() {
            let detail = format!("has no use: {}:// is not encrypted", read.url.scheme);
            walk.report(given.pointer("ca"), detail);
        }
        if keys.contains(&read.url.key()) {
            walk.report(given.pointer("url"), "is there already");
            return None;
        }
        keys.push(read.url.key());
        if given.get("streams").is_some() {
            read.streams = streams;
        }
        Some(DrainConfig { types, ca, ..read })
    })
}

/// Reads `notify` of the document.
pub(super) fn read_notify(walk: &mut Walk, top: &Object<'_>) -> Vec<NotifyConfig> {
    let shape = "a list of receivers, [{url: \"https://…\"}]";
    let bounds = (shape, MAX_RECEIVERS);
    walk.items(top, "notify", bounds, |walk, item, pointer| {
        let given = object(walk, item, pointer, &["url", "events"])?;
        if given.get("url").is_none() {
            let detail = "is required: \"https://…\", or \"mailto:ops@example.org\"";
            walk.report(given.pointer("url"), detail);
        }
        let events = walk.list(&given, "events", APP_EVENTS.len(), |text| {
            notify::event(text, &APP_EVENTS)
        });
        let read = walk.text(&given, "url", NotifyConfig::to)?;
        Some(NotifyConfig { events, ..read })
    })
}

fn object<'v>(
    walk: &mut Walk,
    item: &'v Value,
    pointer: String,
    fields: &[&str],
) -> Option<Object<'v>> {
    if !item.is_object() {
        walk.report(pointer, expected("an object {url: \"…\"}", item));
        return None;
    }
    walk.object(item, pointer, fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::config::{AppConfig, Rules};

    fn read(field: &str, value: Value) -> Result<AppConfig, Vec<String>> {
        let mut document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
        document[field] = value;
        AppConfig::from_document(document, &Rules::default())
            .map_err(|errors| errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn a_drain_is_a_url_and_what_goes_there() {
        let config = read(
            "drains",
            json!([
                {"url": "syslog+tls://logs.example:6514"},
                {"url": "https://h/in", "streams": ["access"], "types": ["web"]},
            ]),
        )
        .unwrap();
        assert_eq!(config.drains[0].streams, ["stdout", "stderr"]);
        assert_eq!(config.drains[1].streams, ["access"]);
        assert_eq!(config.drains[1].types, ["web"]);
        for (wrong, pointer) in [
            (json!("https://h"), "/drains"),
            (json!(["https://h"]), "/drains/0"),
            (json!([{}]), "/drains/0/url"),
            (json!([{"url": "ftp://h"}]), "/drains/0/url"),
            (json!([{"url": "https://h", "to": 1}]), "/drains/0/to"),
            (
                json!([{"url": "https://h", "streams": ["all"]}]),
                "/drains/0/streams/0",
            ),
            (
                json!([{"url": "https://h", "types": ["a b"]}]),
                "/drains/0/types/0",
            ),
            (
                json!([{"url": "https://h", "streams": []}]),
                "/drains/0/streams",
            ),
            (
                json!([{"url": "https://h", "ca": "/etc/passwd"}]),
                "/drains/0/ca",
            ),
            (
                json!([{"url": "https://h"}, {"url": "https://t@h"}]),
                "/drains/1/url",
            ),
        ] {
            assert_eq!(
                read("drains", wrong.clone()).unwrap_err(),
                [pointer],
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_receiver_of_notices_may_want_some_events_only() {
        let one = json!([{"url": "mailto:a@b.example", "events": ["deploy"]}]);
        let config = read("notify", one).unwrap();
        assert!(config.notify[0].wants("deploy") && !config.notify[0].wants("crash"));
        for (wrong, pointer) in [
            (json!([{"url": "a@b.example"}]), "/notify/0/url"),
            (json!([{"events": []}]), "/notify/0/url"),
            (
                json!([{"url": "https://h", "events": ["disk"]}]),
                "/notify/0/events/0",
            ),
        ] {
            assert_eq!(
                read("notify", wrong.clone()).unwrap_err(),
                [pointer],
                "{wrong}"
            );
        }
    }

    #[test]
    fn urls_of_receivers_are_masked() {
        let document = json!({
            "drains": [{"url": "https://me:sesame@h/in/abcdef"}],
            "notify": [{"url": "https://hooks.example/T0/abcdef"}, {"url": "mailto:a@b.example"}],
        });
        let mut shown = document.clone();
        let secrets = crate::document::mask::of_document(&document);
        crate::document::mask::Mask::new(secrets).value(&mut shown);
        let expected = json!({
            "drains": [{"url": "https://••••@h/••••"}],
            "notify": [{"url": "https://hooks.example/••••"}, {"url": "mailto:a@b.example"}],
        });
        assert_eq!(shown, expected);
    }
}
