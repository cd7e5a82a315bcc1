//! [`document_of`]: the document of a preview (pure).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::config::AppConfig;
use super::name::AppName;

/// What belongs to the application alone: the way to it, its times, and its user, whose files they would share.
const OWN: [&str; 8] = [
    "hosts", "domain", "port", "cron", "user", "group", "previews", "preview",
];

/// The document of the preview `name` of a branch.
#[must_use]
pub fn document_of(app: &AppConfig, branch: &str, name: &AppName, expires: Duration) -> Value {
    let previews = app.previews.clone().unwrap_or_default();
    let mut document = match &app.document {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    for field in OWN {
        document.shift_remove(field);
    }
    document.insert("name".to_owned(), name.as_str().into());
    if let Some(Value::Object(repo)) = document.get_mut("repo") {
        for field in ["branch", "tag", "commit"] {
            repo.shift_remove(field);
        }
        repo.insert("branch".to_owned(), branch.into());
    }
    if let Some(hosts) = previews.hosts.as_ref().and_then(|hosts| hosts.parent()) {
        document.insert("hosts".to_owned(), json!([format!("{name}.{hosts}")]));
    }
    if let Some(Value::Object(scale)) = document.get_mut("scale") {
        for quantity in scale.values_mut() {
            *quantity = quantity.as_u64().unwrap_or(1).min(1).into();
        }
    }
    if !previews.env.is_empty() {
        let env = document.entry("env").or_insert_with(|| json!({}));
        for (variable, value) in &previews.env {
            env[variable] = value.as_str().into();
        }
    }
    // Jobs send mails and clean up: they are the application's alone, those of an app.json too.
    document.insert("cron".to_owned(), json!([]));
    document.insert("sleep".to_owned(), text(previews.sleep));
    let expires = text(expires);
    document.insert(
        "preview".to_owned(),
        json!({ "of": app.name.as_str(), "expires": expires }),
    );
    Value::Object(document)
}

fn text(time: Duration) -> Value {
    humantime::format_duration(time).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::config::Rules;
    use crate::document::preview::PreviewOf;

    fn config(document: Value) -> AppConfig {
        AppConfig::from_document(document, &Rules::default()).expect("a good document")
    }

    fn name(text: &str) -> AppName {
        AppName::parse(text).expect("a name")
    }

    #[test]
    fn a_preview_has_the_document_of_its_application_but_for_what_is_that_ones_alone() {
        let app = config(json!({
            "name": "blog", "repo": {"url": "https://h/a.git", "tag": "v1", "dir": "web"}, "hosts": ["a.example"],
            "domain": ["^b"], "port": 9000, "scale": {"web": 3, "job": 0}, "env": {"A": "1", "B": "2"},
            "cron": [{"name": "mail", "schedule": "@daily", "command": "x"}], "packages": ["jq"],
            "previews": {"hosts": "*.p.example", "env": {"B": "3"}, "sleep": "10m"},
        }));
        let preview = name("blog-x");
        let document = document_of(&app, "x", &preview, Duration::from_hours(48));
        let wanted = json!({
            "name": "blog-x", "repo": {"url": "https://h/a.git", "dir": "web", "branch": "x"},
            "hosts": ["blog-x.p.example"], "scale": {"web": 1, "job": 0}, "env": {"A": "1", "B": "3"}, "cron": [],
            "packages": ["jq"], "sleep": "10m", "preview": {"of": "blog", "expires": "2days"},
        });
        assert_eq!(document, wanted);
        let of = PreviewOf {
            app: name("blog"),
            expires: Duration::from_hours(48),
        };
        assert_eq!(config(document).preview, Some(of));
    }
}
