//! What the flags say of the proxy beside passing requests on.

use serde_json::{Map, Value};

use super::CreateArgs;
use crate::cli::document::put;

/// A path or all below one, and where it is instead.
pub(super) fn redirect(text: &str) -> Result<Value, &'static str> {
    const WANTED: &str =
        "write it as '/old=/new', '/old/*=/new/*' or '308:/old=https://www.example.org/new'";
    let (status, rest) = match text.split_once(":/") {
        Some((status, _)) if status.bytes().all(|b| b.is_ascii_digit()) && !status.is_empty() => {
            let rest = &text[status.len() + 1..];
            (Some(status.parse::<u32>().map_err(|_| WANTED)?), rest)
        }
        _ => (None, text),
    };
    let (from, to) = rest.split_once('=').ok_or(WANTED)?;
    let mut redirect = serde_json::json!({ "from": from, "to": to });
    if let Some(status) = status {
        redirect["status"] = status.into();
    }
    Ok(redirect)
}

/// Puts there what the proxy does beside passing requests on.
pub(super) fn put_policies(document: &mut Value, args: &CreateArgs) {
    let Some(document) = document.as_object_mut() else {
        return;
    };
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let mut set = |path, value| put(document, path, value);
    let is_plain = args.maintenance && args.maintenance_page.is_none();
    set(["", "maintenance"], is_plain.then(|| true.into()));
    set(["maintenance", "page"], text(&args.maintenance_page));
    set(
        ["", "allow"],
        (!args.allow.is_empty()).then(|| args.allow.clone().into()),
    );
    set(["rate", "requests"], text(&args.rate));
    set(["rate", "burst"], args.rate_burst.map(Value::from));
    let users = args.basic_auth.iter();
    let users: Map<_, _> = users
        .map(|(user, hash)| (user.clone(), hash.clone().into()))
        .collect();
    set(
        ["auth", "basic"],
        (!users.is_empty()).then_some(Value::Object(users)),
    );
    set(["auth", "realm"], text(&args.basic_auth_realm));
    let redirects = (!args.redirect.is_empty()).then(|| args.redirect.clone().into());
    set(["", "redirects"], redirects);
    let fields = args.response_header.iter().map(|(name, value)| {
        let value = match value.as_str() {
            "" => Value::from(false),
            value => value.into(),
        };
        (name.clone(), value)
    });
    let fields: Map<_, _> = fields.collect();
    set(
        ["headers", "response"],
        (!fields.is_empty()).then_some(Value::Object(fields)),
    );
    set(["timeouts", "connect"], text(&args.timeout_connect));
    set(["timeouts", "response"], text(&args.timeout_response));
    set(["timeouts", "idle"], text(&args.timeout_idle));
    set(["timeouts", "tunnel_idle"], text(&args.timeout_tunnel_idle));
    set(["", "body"], text(&args.body));
    set(["", "upstream_keep_alive"], text(&args.upstream_keep_alive));
    let is_plain = args.sticky && args.sticky_cookie.is_none();
    set(["", "sticky"], is_plain.then(|| true.into()));
    set(["sticky", "cookie"], text(&args.sticky_cookie));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_stands_in_front_of_a_redirect_however_it_is_written() {
        for (text, wanted) in [
            ("/old=/new", json!({"from": "/old", "to": "/new"})),
            (
                "308:/old=/new",
                json!({"from": "/old", "to": "/new", "status": 308}),
            ),
            (
                "0308:/old=/new",
                json!({"from": "/old", "to": "/new", "status": 308}),
            ),
        ] {
            assert_eq!(redirect(text), Ok(wanted), "{text}");
        }
        assert!(redirect("308:/old").is_err());
    }
}
