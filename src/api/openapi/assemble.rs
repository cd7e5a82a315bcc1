//! Makes one description of the files of this folder and of the calls that are declared.

use serde_json::{Map, Value, json};

use super::merge_patch::patch_of;
use super::shorthand;
use crate::api::needs::{Needs, Of};
use crate::document::json5::parse_document;

/// What is true of the whole API.
const INFO: (&str, &str) = ("info.json5", include_str!("info.json5"));

/// The parts of the API, each with `paths`, `parameters`, `responses` and `schemas`.
const PARTS: [(&str, &str); 6] = [
    ("document.json5", include_str!("document.json5")),
    ("applications.json5", include_str!("applications.json5")),
    ("deployments.json5", include_str!("deployments.json5")),
    ("processes.json5", include_str!("processes.json5")),
    ("server.json5", include_str!("server.json5")),
    ("access.json5", include_str!("access.json5")),
];

/// A call as the code declares it: the method, the path, and what it needs.
pub(super) type Declared = (&'static str, &'static str, Needs);

/// Calls that need no token.
const OPEN: [(&str, &str); 2] = [("get", "/healthz"), ("post", "/hooks/{name}")];

/// What everybody may be answered, and what those may be who need a token.
const ALWAYS: [u16; 2] = [400, 503];
const GUARDED: [u16; 3] = [401, 403, 429];

/// The whole description.
pub(super) fn description(declared: &[Declared]) -> Result<Value, String> {
    let mut whole = read(INFO)?;
    whole["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    whole["paths"] = json!({});
    whole["components"]["schemas"] = json!({});
    for part in PARTS {
        add(&mut whole, part)?;
    }
    let components = &mut whole["components"];
    variants_of_document(&mut components["schemas"]);
    give_type_to_errors(&mut components["responses"]);
    let calls = calls(declared);
    for (path, methods) in whole["paths"].as_object_mut().into_iter().flatten() {
        for (method, call) in methods.as_object_mut().into_iter().flatten() {
            let needs = calls
                .iter()
                .find(|known| known.0 == *method && known.1 == *path);
            let needs = needs.and_then(|(_, _, needs)| *needs);
            call.as_object_mut()
                .into_iter()
                .for_each(|call| complete(call, path, needs));
        }
    }
    Ok(whole)
}

fn read((file, text): (&str, &str)) -> Result<Value, String> {
    parse_document(text.as_bytes()).map_err(|error| format!("{file}: {error}"))
}

/// Adds what a part has; nothing may be there twice.
fn add(whole: &mut Value, part: (&str, &str)) -> Result<(), String> {
    let Value::Object(sections) = read(part)? else {
        return Err(format!("{}: it is no object", part.0));
    };
    for (section, entries) in sections {
        let to = match section.as_str() {
            "paths" => &mut whole["paths"],
            "parameters" | "responses" | "schemas" => &mut whole["components"][section.as_str()],
            _ => return Err(format!("{}: there is no section {section}", part.0)),
        };
        let (Value::Object(to), Value::Object(entries)) = (to, entries) else {
            return Err(format!("{}: {section} is no object", part.0));
        };
        for (name, entry) in entries {
            if to.insert(name.clone(), entry).is_some() {
                return Err(format!("{}: {name} is there already", part.0));
            }
        }
    }
    Ok(())
}

/// The forms of a document that calls about one application take.
fn variants_of_document(schemas: &mut Value) {
    let mut of_path = schemas["Application"].clone();
    of_path["required"] = json!(["repo"]);
    of_path["description"] = "The document; the path says its name.".into();
    let known = schemas.as_object().cloned().unwrap_or_default();
    let mut patch = patch_of(&known["Application"], &known);
    patch["description"] =
        "A merge patch of the document: null removes a field. An application keeps its name."
            .into();
    if let Some(fields) = patch["properties"].as_object_mut() {
        fields.shift_remove("name");
    }
    schemas["ApplicationOfPath"] = of_path;
    schemas["ApplicationPatch"] = patch;
}

/// Every error is a problem.
fn give_type_to_errors(responses: &mut Value) {
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        if status.starts_with(['4', '5']) {
            let schema = json!({ "$ref": "#/components/schemas/Problem" });
            response["content"] = json!({ "application/problem+json": { "schema": schema } });
        }
    }
}

/// All calls by method and path as the description has them; `None`: no token is needed.
fn calls(declared: &[Declared]) -> Vec<(String, String, Option<Needs>)> {
    let guarded = declared.iter().flat_map(|(method, path, needs)| {
        let method = method.to_ascii_lowercase();
        let paths = written_out(path).into_iter();
        paths.map(move |path| (method.clone(), path, Some(*needs)))
    });
    let open = OPEN.map(|(method, path)| (method.to_owned(), path.to_owned(), None));
    guarded.chain(open).collect()
}

/// `/a/{action:start|stop}` is two paths.
fn written_out(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once("{action:") else {
        return vec![path.to_owned()];
    };
    let (words, after) = rest.split_once('}').unwrap_or((rest, ""));
    let words = words.split('|');
    words.map(|word| format!("{before}{word}{after}")).collect()
}

/// Adds to a call what is said of it nowhere else: who may make it, and the errors that anybody may be answered.
fn complete(call: &mut Map<String, Value>, path: &str, needs: Option<Needs>) {
    let mut errors = shorthand::write_out(call);
    errors.extend(ALWAYS);
    let is_git = path.starts_with("/git/");
    match needs {
        None => {
            call.insert("security".to_owned(), json!([]));
        }
        Some(needs) => {
            errors.extend(GUARDED);
            say_needs(call, needs);
            if is_git {
                let security = json!([{ "token": [] }, { "password": [] }]);
                call.insert("security".to_owned(), security);
            }
        }
    }
    if path.contains("{name}") && !path.starts_with("/certificates") {
        let parameters = call.entry("parameters").or_insert_with(|| json!([]));
        if let Some(parameters) = parameters.as_array_mut() {
            parameters.insert(0, json!({ "$ref": "#/components/parameters/name" }));
        }
    }
    if needs.is_some_and(|needs| needs.of == Of::App) {
        errors.push(404);
    }
    if let Some(responses) = call.get_mut("responses").and_then(Value::as_object_mut) {
        for error in errors {
            let answer = match is_git {
                // git shows people nothing else.
                true => json!({
                    "description": "See the text.",
                    "content": { "text/plain": { "schema": { "type": "string" } } },
                }),
                false => json!({ "$ref": format!("#/components/responses/{error}") }),
            };
            responses.entry(error.to_string()).or_insert(answer);
        }
        responses.sort_keys();
    }
}

fn say_needs(call: &mut Map<String, Value>, needs: Needs) {
    let bound = match needs.of {
        Of::App | Of::Apps => "",
        Of::Server => ", for all applications",
    };
    let mut text = format!("Needs the scope `{}`{bound}.", needs.scope);
    if let Some(said) = call.get("description").and_then(Value::as_str) {
        text = format!("{said} {text}");
    }
    call.insert("description".to_owned(), text.into());
    call.insert("x-scope".to_owned(), needs.scope.name().into());
}

#[cfg(test)]
mod tests;
