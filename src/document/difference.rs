//! [`told`]: what is told of a change of a document: which fields, and the numbers of the scale (pure). No other value: they
//! may be secret.

use serde_json::{Map, Value};

use super::read::FIELDS;

/// Fields that are named: as many as a document may have.
const MOST: usize = FIELDS.len();

/// Types of processes whose scale is told.
const MOST_TYPES: usize = 10;

/// The fields by which `new` differs from `old`: `scale web 1→3, env`. `None`: by none.
#[must_use]
pub fn told(old: &Value, new: &Value) -> Option<String> {
    let nothing = Map::new();
    let (old, new) = (
        old.as_object().unwrap_or(&nothing),
        new.as_object().unwrap_or(&nothing),
    );
    let gone = old.keys().filter(|field| !new.contains_key(*field));
    let fields = new.keys().chain(gone);
    let changed = fields.filter(|field| old.get(*field) != new.get(*field));
    let named = changed.take(MOST).map(|field| match &**field {
        "scale" => scale(old.get("scale"), new.get("scale")),
        _ => field.clone(),
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| named.join(", "))
}

fn scale(old: Option<&Value>, new: Option<&Value>) -> String {
    let nothing = Map::new();
    let of = |scale: Option<&Value>| scale.and_then(Value::as_object).cloned();
    let (old, new) = (
        of(old).unwrap_or_else(|| nothing.clone()),
        of(new).unwrap_or(nothing),
    );
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let types = new.keys().chain(gone);
    let changed = types.filter(|name| old.get(*name) != new.get(*name));
    let number = |scale: &Map<String, Value>, name: &str| match scale.get(name) {
        Some(number) => number.to_string(),
        None => "default".to_owned(),
    };
    let told = changed
        .take(MOST_TYPES)
        .map(|name| format!(" {name} {}→{}", number(&old, name), number(&new, name)));
    format!("scale{}", told.collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_named_and_only_the_scale_has_values() {
        let old = json!({"name": "a", "env": {"KEY": "secret"}, "scale": {"web": 1, "clock": 1}, "hosts": ["a"]});
        let new = json!({"name": "a", "env": {"KEY": "other"}, "scale": {"web": 3, "clock": 1, "worker": 2}, "port": 8});
        assert_eq!(
            told(&old, &new).as_deref(),
            Some("env, scale web 1→3 worker default→2, port, hosts")
        );
        assert_eq!(told(&old, &old), None);
    }

    #[test]
    fn a_document_that_changes_altogether_has_each_field_named() {
        let all = FIELDS.map(|field| (field.to_owned(), json!("new")));
        let named = told(&json!({}), &Value::Object(all.into_iter().collect())).unwrap();
        assert_eq!(named.split(", ").count(), FIELDS.len(), "{named}");
    }
}
