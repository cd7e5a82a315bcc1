//! What a merge patch changes in a document, as lines for people (pure). Values that may be secret are not shown.

use serde_json::Value;

use crate::document::secrets;

/// A longer value is not shown: it would hide the rest.
const LONGEST: usize = 60;

/// A line for each field of `patch` that makes a difference to `document`.
#[must_use]
pub fn told(document: &Value, patch: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let fields = patch.as_object().into_iter().flatten();
    for (name, value) in fields {
        if name == "env" && value.is_object() {
            lines.extend(variables(&document["env"], value));
        } else if name == "hosts" {
            lines.extend(hosts(&document["hosts"], value));
        } else {
            compare(name, &document[name.as_str()], value, &mut lines);
        }
    }
    lines
}

fn compare(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    if let Value::Object(fields) = new {
        for (name, value) in fields {
            compare(&format!("{path}.{name}"), &old[name.as_str()], value, lines);
        }
    } else if old != new {
        lines.push(format!(
            "{path}: {} -> {}",
            shown(path, old),
            shown(path, new)
        ));
    }
}

/// Variables by name only: many are secret.
fn variables(old: &Value, patch: &Value) -> Vec<String> {
    let changed = |is_set: bool| {
        let fields = patch.as_object().into_iter().flatten();
        let names: Vec<_> = fields
            .filter(|(name, value)| old[name.as_str()] != **value && value.is_null() != is_set)
            .map(|(name, _)| name.as_str())
            .collect();
        names.join(", ")
    };
    [("set", changed(true)), ("removed", changed(false))]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("env: {names} {what}"))
        .collect()
}

/// Names that came and went: a whole list would be too long to be shown.
fn hosts(old: &Value, new: &Value) -> Vec<String> {
    let entries = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let (old, new) = (entries(old), entries(new));
    let missing_in = |list: &[Value], from: &[Value]| {
        let missing = from.iter().filter(|entry| !list.contains(entry));
        missing.map(host).collect::<Vec<_>>().join(", ")
    };
    let (added, removed) = (missing_in(&old, &new), missing_in(&new, &old));
    [(added, "added"), (removed, "removed")]
        .into_iter()
        .filter(|(names, _)| !names.is_empty())
        .map(|(names, what)| format!("hosts: {names} {what}"))
        .collect()
}

/// An entry of `hosts`, as `NAME` or `NAME=TYPE`.
fn host(entry: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    match entry.get("process") {
        Some(process) => format!("{}={}", text(&entry["name"]), text(process)),
        None => text(entry),
    }
}

fn shown(path: &str, value: &Value) -> String {
    let text = match value {
        Value::Null => return "(default)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match secrets::password_in_url(&text) {
        Some(secret) => text.replacen(secret, "***", 1),
        None if secrets::is_secret(path, &text) || text.chars().count() > LONGEST => "…".to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_a_line_without_secrets() {
        let document = json!({"repo": {"url": "https://tok@h/x", "branch": "main"}, "scale": {"web": 1},
            "env": {"A": "1", "OLD": "x"}, "port": 9000, "hosts": ["a.example", "b.example"]});
        let patch = json!({"repo": {"url": "https://newer@h/x", "branch": "dev"}, "scale": {"web": 2, "worker": 1},
            "env": {"A": "1", "B": "secret", "OLD": null, "NEVER": null}, "port": null, "path": false,
            "hosts": ["b.example", "c.example", {"name": "d.example", "process": "cable"}]});
        assert_eq!(
            told(&document, &patch),
            [
                "repo.url: https://***@h/x -> https://***@h/x",
                "repo.branch: main -> dev",
                "scale.web: 1 -> 2",
                "scale.worker: (default) -> 1",
                "env: B set",
                "env: OLD removed",
                "port: 9000 -> (default)",
                "path: (default) -> false",
                "hosts: c.example, d.example=cable added",
                "hosts: a.example removed",
            ]
        );
        assert!(told(&document, &json!({"port": 9000})).is_empty());
    }
}
