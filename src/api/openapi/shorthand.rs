//! Writes out what the files of the description say in short, since many calls have it in common (pure).
//!
//! - `json: SCHEMA` in a body or an answer is `content` of the type `application/json`.
//! - `errors: [409, 422]` in a call are answers from `components.responses`.
//! - `outcome: "200"` in a call: what it asks for takes time. It is answered 202, or with this status when it is done.

use serde_json::{Map, Value, json};

/// The errors of a call that takes time.
const OF_OUTCOME: [u16; 3] = [409, 422, 507];

/// The errors of a call that reads a document.
const OF_BODY: [u16; 3] = [413, 415, 422];

/// Writes out what a call says in short, and returns the errors that it names.
pub(super) fn write_out(call: &mut Map<String, Value>) -> Vec<u16> {
    let errors = call.shift_remove("errors");
    let named = errors.as_ref().and_then(Value::as_array).into_iter();
    let named = named.flatten().filter_map(Value::as_u64);
    let mut errors: Vec<u16> = named.filter_map(|error| error.try_into().ok()).collect();
    if let Some(body) = call.get_mut("requestBody").and_then(Value::as_object_mut) {
        json_content(body);
        let reads = |kind: &String| kind.ends_with("json");
        let content = body["content"].as_object();
        if content.is_some_and(|content| content.keys().any(reads)) {
            errors.extend(OF_BODY);
        }
    }
    if let Some(done) = call.shift_remove("outcome") {
        errors.extend(OF_OUTCOME);
        outcome(call, done.as_str().unwrap_or_default());
    }
    let responses = call.entry("responses").or_insert_with(|| json!({}));
    for (_, response) in responses.as_object_mut().into_iter().flatten() {
        response.as_object_mut().into_iter().for_each(json_content);
    }
    errors
}

fn json_content(of: &mut Map<String, Value>) {
    if let Some(schema) = of.shift_remove("json") {
        let content = json!({ "application/json": { "schema": schema } });
        of.insert("content".to_owned(), content);
    }
}

fn outcome(call: &mut Map<String, Value>, done: &str) {
    let parameters = call.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.push(json!({ "$ref": "#/components/parameters/prefer" }));
    }
    let progress = json!({ "$ref": "#/components/schemas/Progress" });
    let location = json!({ "$ref": "#/components/headers/location" });
    let applied = json!({ "$ref": "#/components/headers/preferenceApplied" });
    let mut of_done = json!({
        "description": "It is done, or was so already.",
        "headers": { "Preference-Applied": applied },
        "json": progress,
    });
    if done == "201" {
        of_done["headers"]["Location"] = location.clone();
    }
    let responses = call.entry("responses").or_insert_with(|| json!({}));
    responses[done] = of_done;
    responses["202"] = json!({
        "description": "It is being done.",
        "headers": { "Location": location, "Preference-Applied": applied },
        "json": progress,
    });
}
