//! [`Mask`]: what is shown of an application to those who may look at it and not at its secrets (pure).
//!
//! Values of `env`, headers of the health check and credentials of a URL are masked wherever a document has them. In all
//! other text, also in logs, they are looked for: an application prints what it likes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::config::FieldError;
use super::repository_url::Parts;
use super::secrets;
pub use super::secrets::DOTS;
use super::target_url;

/// Shorter values are masked in documents only: in other text they would hide half of it.
const SHORTEST: usize = 6;

/// Objects whose values are secret, all of them.
const SECRET_OBJECTS: [&str; 3] = ["env", "headers", "basic"];

/// Lists of receivers: their URLs may be secret as a whole.
const RECEIVERS: [&str; 2] = ["drains", "notify"];

/// Fields with names, times and words of ours: whoever looks at an application needs them as they are.
const PLAIN: [&str; 25] = [
    "name",
    "engine",
    "app",
    "id",
    "state",
    "status",
    "type",
    "process",
    "step",
    "commit",
    "user",
    "group",
    "hosts",
    "domain",
    "branch",
    "tag",
    "shell",
    "strategy",
    "restart",
    "created",
    "started",
    "started_at",
    "finished",
    "at",
    "time",
];

/// Hides the secrets of one application.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Mask(Vec<String>);

impl fmt::Debug for Mask {
    /// Without the secrets: this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// A mask that hides these, and what they are written as in a URL.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let is_long = |secret: &String| secret.trim().len() >= SHORTEST;
        let mut secrets: Vec<_> = secrets.into_iter().filter(is_long).collect();
        secrets.sort_unstable();
        secrets.dedup();
        Self(secrets)
    }

    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        Self::new(self.0)
    }

    /// `text` without the secrets.
    #[must_use]
    pub fn bytes<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let found = self.0.iter().flat_map(|secret| {
            let ends = move |at| (at, at + secret.len());
            memchr::memmem::find_iter(text, secret.as_bytes()).map(ends)
        });
        let mut found: Vec<(usize, usize)> = found.collect();
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_unstable();
        let (mut masked, mut copied) = (Vec::with_capacity(text.len()), 0);
        for (begin, end) in found {
            // One that begins within another hides the rest of that one as well.
            if begin > copied || masked.is_empty() {
                masked.extend_from_slice(&text[copied.min(begin)..begin]);
                masked.extend_from_slice(DOTS.as_bytes());
            }
            copied = copied.max(end);
        }
        masked.extend_from_slice(&text[copied..]);
        Cow::Owned(masked)
    }

    /// As [`Self::bytes`], for text.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// Masks an answer about the application, or its document.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    self.field(field, value);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::String(text) => *text = self.text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn field(&self, field: &str, value: &mut Value) {
        match value {
            Value::Object(secret) if SECRET_OBJECTS.contains(&field) => {
                for (name, value) in secret {
                    match value {
                        // What all clients are sent is no secret.
                        Value::Object(_) if field == "headers" && name == "response" => {}
                        value => *value = DOTS.into(),
                    }
                }
            }
            Value::Array(receivers) if RECEIVERS.contains(&field) => receivers
                .iter_mut()
                .filter_map(|receiver| receiver.get_mut("url"))
                .for_each(mask_receiver),
            Value::String(_) if PLAIN.contains(&field) => {}
            Value::Array(items) if PLAIN.contains(&field) && items.iter().all(Value::is_string) => {
            }
            Value::String(url) if field == "url" => {
                *url = self.text(&without_credentials(url));
            }
            value => self.value(value),
        }
    }
}

/// Shows of a receiver only where it is; an address of electronic mail is no secret.
fn mask_receiver(url: &mut Value) {
    if let Some(text) = url.as_str().filter(|text| !text.starts_with("mailto:")) {
        *url = target_url::masked(text).into();
    }
}

/// The secrets of a document: values of `env`, headers of the health check, credentials of the repository, and what may
/// be secret in the URLs of receivers.
pub fn of_document(document: &Value) -> impl Iterator<Item = String> {
    let values = |object: &Value| {
        let object = object.as_object().cloned().unwrap_or_default();
        object
            .into_iter()
            .filter_map(|(_, value)| value.as_str().map(str::to_owned))
    };
    let (env, headers) = (&document["env"], &document["health_check"]["headers"]);
    let hashes = &document["auth"]["basic"];
    let of_previews = &document["previews"]["env"];
    let url = document["repo"]["url"].as_str().unwrap_or_default();
    let all = [env, headers, hashes, of_previews]
        .into_iter()
        .flat_map(values);
    let receivers = RECEIVERS
        .iter()
        .filter_map(|list| document[*list].as_array());
    let receivers = receivers.flatten().filter_map(|one| one["url"].as_str());
    let secrets = receivers.flat_map(target_url::secrets_of);
    of_values(all)
        .chain(credentials(url))
        .chain(secrets.flat_map(|secret| decoded(&secret)))
}

/// Whether `before` has secrets that `after` has no more.
#[must_use]
pub fn gives_up(before: &Value, after: &Value) -> bool {
    let kept: HashSet<String> = of_document(after).collect();
    of_document(before).any(|secret| !kept.contains(&secret))
}

/// What secret `values` are written as: each as a whole, line by line, and the password of one that is a URL.
pub fn of_values(values: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    values.into_iter().flat_map(|value| {
        let mut written: Vec<_> = value.lines().map(str::to_owned).collect();
        written.extend(
            secrets::password_in_url(&value)
                .into_iter()
                .flat_map(decoded),
        );
        written
    })
}

/// What is secret in the URL of a repository.
fn credentials(url: &str) -> Vec<String> {
    let query = url.split_once('?').map(|(_, query)| query);
    let all = secrets::password_in_url(url).into_iter().chain(query);
    all.flat_map(decoded).collect()
}

fn decoded(text: &str) -> [String; 2] {
    let plain = percent_decode_str(text).decode_utf8_lossy();
    [text.to_owned(), plain.into_owned()]
}

/// A URL with dots in place of the password, or of a user that is a token, and of the query.
fn without_credentials(url: &str) -> String {
    let Some(Parts::Url {
        scheme,
        user_info,
        host_port,
        path,
    }) = Parts::of(url)
    else {
        return url.to_owned();
    };
    let user = match (user_info, secrets::password_in_url(url)) {
        (None, _) => String::new(),
        (Some(user), None) => format!("{user}@"),
        (Some(user), Some(_)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{DOTS}@"),
            None => format!("{DOTS}@"),
        },
    };
    let path = match path.split_once('?') {
        Some((path, _)) => format!("{path}?{DOTS}"),
        None => path.to_owned(),
    };
    format!("{scheme}://{user}{host_port}{path}")
}

/// The fields of `document` that hold dots, but for those that `base` has as well: whoever sends them means something
/// else.
#[must_use]
pub fn dotted(document: &Value, base: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    collect(document, base, &mut String::new(), &mut errors);
    errors
}

fn collect(value: &Value, base: Option<&Value>, at: &mut String, errors: &mut Vec<FieldError>) {
    let mut go_on = |part: &str, value: &Value, base: Option<&Value>| {
        let length = at.len();
        at.push('/');
        at.push_str(&part.replace('~', "~0").replace('/', "~1"));
        collect(value, base, at, errors);
        at.truncate(length);
    };
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                go_on(field, value, base.and_then(|base| base.get(field)));
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                let same = base.and_then(|base| base.get(number));
                go_on(&number.to_string(), item, same);
            }
        }
        Value::String(text) if text.contains(DOTS) && base != Some(value) => {
            errors.push(FieldError {
                pointer: at.clone(),
                detail: format!(
                    "holds \"{DOTS}\", which stands for a secret that the reader of the document may not see: write the \
                     value itself, or leave the field out of a PATCH"
                ),
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        Mask::new(secrets.iter().map(|s| (*s).to_owned()))
    }

    #[test]
    fn a_document_shows_no_value_of_env_and_no_credentials() {
        let document = json!({
            "name": "production",
            "repo": {"url": "https://me:s%40same@h/a.git?token=abcdef", "branch": "main"},
            "env": {"A": "1", "RAILS_ENV": "production", "DB": "postgres://u:sesame@h/db"},
            "health_check": {"path": "/up", "headers": {"X-Key": "open"}},
            "install": ["echo postgres://u:sesame@h/db", "make"],
            "hosts": ["production"],
            "auth": {"basic": {"ann": "$2b$10$abc"}, "realm": "Staging"},
            "headers": {"response": {"X-Frame-Options": "DENY", "X-Powered-By": false}},
        });
        let mut shown = document.clone();
        Mask::new(of_document(&document)).value(&mut shown);
        assert_eq!(
            shown,
            json!({
                "name": "production",
                "repo": {"url": "https://me:••••@h/a.git?••••", "branch": "main"},
                "env": {"A": "••••", "RAILS_ENV": "••••", "DB": "••••"},
                "health_check": {"path": "/up", "headers": {"X-Key": "••••"}},
                "install": ["echo ••••", "make"],
                "hosts": ["production"],
                "auth": {"basic": {"ann": "••••"}, "realm": "Staging"},
                "headers": {"response": {"X-Frame-Options": "DENY", "X-Powered-By": false}},
            })
        );
        let secrets: Vec<_> = of_document(&document).collect();
        for secret in ["sesame", "s@same", "s%40same", "token=abcdef", "production"] {
            assert!(secrets.iter().any(|s| s == secret), "{secret}: {secrets:?}");
        }
        assert_eq!(without_credentials("https://tok@h/a"), "https://••••@h/a");
        assert_eq!(without_credentials("ssh://git@h/a"), "ssh://git@h/a");
        assert_eq!(without_credentials("git@h:a"), "git@h:a");
    }

    #[test]
    fn a_secret_is_given_up_where_no_field_has_it_any_more() {
        let of = |env: Value| json!({"env": env, "scale": {"web": 1}});
        let before = of(json!({"A": "sesame", "B": "b"}));
        for (after, gives_up) in [
            (before.clone(), false),
            (of(json!({"C": "sesame", "B": "b", "D": "more"})), false),
            (of(json!({"A": "sesame-2", "B": "b"})), true),
            (json!({}), true),
        ] {
            assert_eq!(super::gives_up(&before, &after), gives_up, "{after}");
        }
    }

    #[test]
    fn text_hides_secrets_also_those_that_overlap() {
        let mask = mask(&["abcdef", "defghi", "short", "abcdefxyz"]);
        for (text, shown) in [
            ("nothing", "nothing"),
            ("abcdef", "••••"),
            ("-abcdefghi-", "-••••-"),
            ("abcdefxyz abcdef", "•••• ••••"),
            ("abcdefabcdef", "••••"),
            ("short", "short"),
        ] {
            assert_eq!(mask.text(text), shown);
        }
        assert!(!format!("{mask:?}").contains("abc"));
        assert_eq!(mask.clone().and(&mask), mask);
    }

    #[test]
    fn dots_are_found_by_their_pointer_unless_they_were_there() {
        let document = json!({"env": {"A/B": "••••", "C": "x"}, "repo": {"url": "https://••••@h/"}, "install": ["", "a••••"]});
        let found = dotted(&document, None);
        let pointers: Vec<_> = found.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/env/A~1B", "/repo/url", "/install/1"]);
        assert!(dotted(&document, Some(&document)).is_empty());
    }
}
