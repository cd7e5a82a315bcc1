//! The application that the tests deploy (`web.py`), and documents for it.

use serde_json::{Value, json};

use super::repo::Repo;

/// The application's source.
const WEB: &str = include_str!("web.py");

/// The Procfile that runs it.
const PROCFILE: &str = "web: exec python3 web.py\n";

/// The example of the original specification, character for character.
pub(crate) const ORIGINAL_EXAMPLE: &str = include_str!("original_example.json5");

/// A repository of the application, answering with `version`.
pub(crate) fn web_repo(version: &str) -> Repo {
    Repo::new(&web_files(version))
}

/// The application's files.
pub(crate) fn web_files(version: &str) -> [(&str, &str); 3] {
    [
        ("Procfile", PROCFILE),
        ("web.py", WEB),
        ("VERSION", version),
    ]
}

/// A document for `repo`, looking for readiness often, so that tests are fast.
pub(crate) fn document(name: &str, repo: &Repo) -> Value {
    json!({
        "name": name,
        "repo": { "url": repo.url() },
        "health_check": { "interval": "100ms", "boot_timeout": "20s" },
    })
}

/// `document` with the members of `changes` set.
pub(crate) fn with(mut document: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        panic!("changes are an object");
    };
    let members = document.as_object_mut().expect("a document is an object");
    members.extend(changes);
    document
}
