//! [`Wish`]: the token that somebody asks for (pure).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::scope::Scope;
use super::token::FIRST;
use crate::document::config::FieldError;
use crate::document::name::AppName;

const LONGEST_NAME: usize = 64;
const MOST_APPS: usize = 64;
/// A longer time is as good as none.
const LONGEST: Duration = Duration::from_hours(24 * 366 * 100);

const FIELDS: [&str; 4] = ["name", "scope", "apps", "expires"];

/// The token that somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    pub name: String,
    pub scope: Scope,
    pub apps: Option<Vec<AppName>>,
    pub expires: Option<Timestamp>,
}

impl Wish {
    /// Reads `{name, scope, apps?, expires?}`.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn read(document: &Value, now: Timestamp) -> Result<Self, Vec<FieldError>> {
        let Value::Object(fields) = document else {
            let wanted = "must be an object, such as {name: \"ci\", scope: \"deploy\"}";
            return Err(vec![error("", wanted.to_owned())]);
        };
        let mut errors: Vec<_> = fields
            .keys()
            .filter_map(|field| unknown(field, &FIELDS))
            .collect();
        let mut keep = |field: &str, detail| errors.push(error(&format!("/{field}"), detail));
        let name = name(fields).map_err(|e| keep("name", e)).ok();
        let scope = scope(fields).map_err(|e| keep("scope", e)).ok();
        let apps = apps(fields).map_err(|e| keep("apps", e)).ok();
        let expires = expires(fields, now).map_err(|e| keep("expires", e)).ok();
        match (name, scope, apps, expires) {
            (Some(name), Some(scope), Some(apps), Some(expires)) if errors.is_empty() => Ok(Self {
                name,
                scope,
                apps,
                expires,
            }),
            _ => Err(errors),
        }
    }
}

pub(crate) fn error(pointer: &str, detail: String) -> FieldError {
    let pointer = pointer.to_owned();
    FieldError { pointer, detail }
}

/// What is said of a field that is none of `known`.
pub(crate) fn unknown(field: &str, known: &[&str]) -> Option<FieldError> {
    let shown: String = field.chars().take(80).collect();
    let pointer = format!("/{}", shown.replace('~', "~0").replace('/', "~1"));
    let detail = format!(
        "there is no such field here: known are {}",
        known.join(", ")
    );
    (!known.contains(&field)).then_some(error(&pointer, detail))
}

fn name(fields: &Map<String, Value>) -> Result<String, String> {
    let name = fields.get("name").and_then(Value::as_str).unwrap_or("");
    if name == FIRST {
        return Err(format!(
            "\"{FIRST}\" is the name of the token in the file: choose another"
        ));
    }
    checked_name(name)
}

/// Checks a name that people give, of a token or of a key.
pub(crate) fn checked_name(name: &str) -> Result<String, String> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    let is_sound = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= LONGEST_NAME
        && name.bytes().all(is_part);
    match is_sound {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "must be a name of up to {LONGEST_NAME} letters, digits, dots, hyphens, underscores and @, such as \"ci\""
        )),
    }
}

fn scope(fields: &Map<String, Value>) -> Result<Scope, String> {
    let scope = fields.get("scope").and_then(Value::as_str);
    scope
        .and_then(Scope::parse)
        .ok_or_else(|| "must be \"admin\", \"deploy\" or \"read\"".to_owned())
}

/// The field `apps`; `None`: it is for all.
pub(crate) fn apps(fields: &Map<String, Value>) -> Result<Option<Vec<AppName>>, String> {
    let wanted = || {
        format!(
            "must be a list of 1 to {MOST_APPS} names of applications, or absent for all of them"
        )
    };
    let list = match fields.get("apps") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) if (1..=MOST_APPS).contains(&list.len()) => list,
        Some(_) => return Err(wanted()),
    };
    let mut names = Vec::new();
    for name in list {
        let name = name.as_str().ok_or_else(wanted)?;
        let name = AppName::parse(name).map_err(|error| error.to_string())?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(Some(names))
}

fn expires(fields: &Map<String, Value>, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let text = match fields.get("expires") {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_str(),
    };
    let text = text.ok_or(EXPIRES)?;
    let time = match (moment(text), humantime::parse_duration(text)) {
        (Some(time), _) => time,
        (None, Ok(span)) if span <= LONGEST => now.checked_add(span).map_err(|_| EXPIRES)?,
        _ => return Err(EXPIRES.to_owned()),
    };
    match time > now {
        true => Ok(Some(time)),
        false => Err(format!("{time} is over already: it is {now:.0}")),
    }
}

const EXPIRES: &str = "must be a time such as \"2027-01-31T12:00:00Z\", a day such as \"2027-01-31\", or a span such as \"90d\" or \"12h\"";

/// A time, or the day at whose beginning in UTC it expires.
fn moment(text: &str) -> Option<Timestamp> {
    let whole = || format!("{text}T00:00:00Z").parse().ok();
    text.parse().ok().or_else(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(document: Value) -> Result<Wish, Vec<FieldError>> {
        Wish::read(&document, "2026-11-29T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_wish_is_read() {
        let wish = read(
            json!({"name": "ci", "scope": "deploy", "apps": ["blog", "blog"], "expires": "90d"}),
        );
        let wish = wish.unwrap();
        assert_eq!((wish.name.as_str(), wish.scope), ("ci", Scope::Deploy));
        assert_eq!(wish.apps.unwrap().len(), 1);
        assert_eq!(wish.expires.unwrap().to_string(), "2027-02-27T12:00:00Z");
        for (text, at) in [
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
        ] {
            let wish = read(json!({"name": "a", "scope": "read", "expires": text}));
            assert_eq!(wish.unwrap().expires.unwrap().to_string(), at);
        }
        let least = read(json!({"name": "a", "scope": "admin", "apps": null})).unwrap();
        assert_eq!((least.apps, least.expires), (None, None));
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let wrong = json!({"name": "a b", "scope": "root", "apps": [], "expires": "2020-01-01", "token": "x", "a/b": 1});
        let errors = read(wrong).unwrap_err();
        let pointers: Vec<_> = errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            ["/token", "/a~1b", "/name", "/scope", "/apps", "/expires"]
        );
        for wrong in [
            json!([]),
            json!({}),
            json!({"name": "first", "scope": "read"}),
            json!({"name": "-a", "scope": "read"}),
            json!({"name": "a".repeat(65), "scope": "read"}),
            json!({"name": "a", "scope": "read", "apps": "blog"}),
            json!({"name": "a", "scope": "read", "apps": ["No Name"]}),
            json!({"name": "a", "scope": "read", "expires": 90}),
            json!({"name": "a", "scope": "read", "expires": "soon"}),
            json!({"name": "a", "scope": "read", "expires": "90000000000d"}),
            json!({"name": "a", "scope": "read", "expires": "0s"}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
