//! [`Wish`]: the key that somebody wants to push with (pure).

use serde_json::{Map, Value};

use super::public_key::PublicKey;
use crate::document::config::FieldError;
use crate::document::name::AppName;
use crate::tokens::wish::{apps, checked_name, error, unknown};

const FIELDS: [&str; 3] = ["name", "key", "apps"];

/// The key that somebody wants to push with.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    pub name: String,
    pub apps: Option<Vec<AppName>>,
    pub public: PublicKey,
}

impl Wish {
    /// Reads `{name?, key, apps?}`. Without a name it is the comment of the key.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn read(document: &Value) -> Result<Self, Vec<FieldError>> {
        let Value::Object(fields) = document else {
            let wanted = "must be an object, such as {key: \"ssh-ed25519 AAAA… ann@laptop\"}";
            return Err(vec![error("", wanted.to_owned())]);
        };
        let mut errors: Vec<_> = fields
            .keys()
            .filter_map(|field| unknown(field, &FIELDS))
            .collect();
        let mut keep = |field: &str, detail| errors.push(error(&format!("/{field}"), detail));
        let public = public(fields).map_err(|e| keep("key", e)).ok();
        let name = name(fields, public.as_ref());
        let name = name.map_err(|e| keep("name", e)).ok();
        let apps = apps(fields).map_err(|e| keep("apps", e)).ok();
        match (name, apps, public) {
            (Some(name), Some(apps), Some(public)) if errors.is_empty() => {
                Ok(Self { name, apps, public })
            }
            _ => Err(errors),
        }
    }
}

fn public(fields: &Map<String, Value>) -> Result<PublicKey, String> {
    let text = fields.get("key").and_then(Value::as_str);
    let text = text.ok_or("must be a public key, as in \"ssh-ed25519 AAAA… ann@laptop\"")?;
    PublicKey::parse(text).map_err(|error| error.to_string())
}

fn name(fields: &Map<String, Value>, public: Option<&PublicKey>) -> Result<String, String> {
    match fields.get("name") {
        Some(Value::String(name)) => checked_name(name),
        None | Some(Value::Null) => {
            // What is wrong with the key is told already.
            let Some(public) = public else {
                return Ok(String::new());
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
            let plain = public.comment.split(|c| !plain(c)).collect::<Vec<_>>();
            let name: String = plain.join("-").chars().take(64).collect();
            checked_name(&name).map_err(|_| {
                "is needed, since the key has no comment that could be its name".to_owned()
            })
        }
        Some(_) => Err("must be a text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn a_key_has_the_name_of_its_comment_unless_it_is_given_one() {
        let read = |document: Value| Wish::read(&document);
        let named = read(json!({"name": "ci", "key": KEY, "apps": ["blog"]})).unwrap();
        assert_eq!((named.name.as_str(), named.apps.unwrap().len()), ("ci", 1));
        let by_comment = read(json!({"key": format!("{KEY} ann@my laptop")})).unwrap();
        assert_eq!(
            (by_comment.name.as_str(), by_comment.apps),
            ("ann@my-laptop", None)
        );
        let errors = read(json!({"key": KEY})).unwrap_err();
        assert_eq!(errors[0].pointer, "/name");
        let errors = read(json!({"name": "a b", "key": "x", "apps": [], "scope": "admin"}));
        let pointers: Vec<_> = errors.unwrap_err().into_iter().map(|e| e.pointer).collect();
        assert_eq!(pointers, ["/scope", "/key", "/name", "/apps"]);
        read(json!([])).unwrap_err();
    }
}
