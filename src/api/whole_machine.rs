//! What a document says about the whole machine. Tokens for some applications may not change that.

use actix_web::http::StatusCode;
use serde_json::Value;

use super::caller::Caller;
use super::problem::Problem;
use crate::account::PER_APP;

/// Accounts of the machine and what they may do, what runs as root, names that other applications may have, and of which
/// one it is a preview: it is given the deploy key of that.
const FIELDS: [&str; 5] = ["user", "group", "packages", "domain", "preview"];

/// Refuses a `document` that says something else about the machine than the present one, `base`: who may be any user is
/// not kept from other applications. `machine` is its name.
pub(super) fn check(
    caller: &Caller,
    machine: &str,
    document: &Value,
    base: &Value,
) -> Result<(), Problem> {
    if !caller.is_bound() {
        return Ok(());
    }
    let field = FIELDS
        .into_iter()
        .find(|field| differs(&document[*field], &base[*field]))
        .or_else(|| takes_names(machine, document, base));
    let Some(field) = field else {
        return Ok(());
    };
    let detail = format!(
        "/{field}: is about the whole machine, and your token is for some applications only: leave it as it is, or use a \
         token without \"apps\"."
    );
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

/// The field with a new name that is not for one application: the machine's own, where its API is, or a wildcard, which
/// takes what nobody has yet.
fn takes_names(machine: &str, document: &Value, base: &Value) -> Option<&'static str> {
    let is_shared = |name: &str| {
        let name = name.strip_suffix(".local").unwrap_or(name);
        name.starts_with("*.")
            || name == "localhost"
            || name.ends_with(".localhost")
            || name.eq_ignore_ascii_case(machine)
            || machine
                .split('.')
                .next()
                .is_some_and(|label| name.eq_ignore_ascii_case(label))
    };
    let before = hosts(base);
    let takes = hosts(document)
        .iter()
        .any(|name| is_shared(name) && !before.contains(name));
    let of_previews = &document["previews"]["hosts"];
    let takes_for_previews = of_previews.is_string() && *of_previews != base["previews"]["hosts"];
    match takes {
        true => Some("hosts"),
        false => takes_for_previews.then_some("previews/hosts"),
    }
}

fn hosts(document: &Value) -> Vec<&str> {
    let entries = document["hosts"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |entry| Value::as_str(entry).or(entry["name"].as_str());
    entries.iter().filter_map(name).collect()
}

fn differs(new: &Value, old: &Value) -> bool {
    // A user of its own lets an application do less than any other.
    let is_nothing = |value: &Value| {
        value.is_null() || value == PER_APP || value.as_array().is_some_and(Vec::is_empty)
    };
    new != old && !is_nothing(new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_the_machine_and_wildcards_are_not_for_one_application() {
        let takes = |document: Value, base: Value| takes_names("nas", &document, &base);
        for name in ["localhost", "a.localhost", "nas", "nas.local", "*.example"] {
            assert_eq!(takes(json!({"hosts": [name]}), json!({})), Some("hosts"));
            let typed = json!({"hosts": ["a.example", {"name": name, "process": "cable"}]});
            assert_eq!(
                takes(typed.clone(), json!({"hosts": ["a.example"]})),
                Some("hosts")
            );
            assert_eq!(
                takes(typed.clone(), typed),
                None,
                "what somebody else has allowed"
            );
        }
        assert_eq!(
            takes(json!({"hosts": ["a.example", "nas.example"]}), json!({})),
            None
        );
        let previews = json!({"previews": {"hosts": "*.p.example"}});
        assert_eq!(takes(previews.clone(), json!({})), Some("previews/hosts"));
        assert_eq!(takes(previews.clone(), previews), None);
    }
}
