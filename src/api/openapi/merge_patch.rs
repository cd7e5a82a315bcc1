//! The schema of a merge patch (RFC 7396) of what another schema describes (pure).

use serde_json::{Map, Value, json};

/// The schema of a patch: every field may be left out, or be null. What a list holds is replaced as a whole. `known` are
/// the schemas that others refer to.
pub(super) fn patch_of(schema: &Value, known: &Map<String, Value>) -> Value {
    let own = referred(schema, known);
    let fields = fields_of(own);
    if fields.is_empty() && own.get("additionalProperties").is_none() {
        let mut same = schema.clone();
        if let Some(same) = same.as_object_mut() {
            // A patch has no defaults: what it leaves out stays.
            same.shift_remove("default");
        }
        if let Some(variants) = same.get_mut("anyOf").and_then(Value::as_array_mut) {
            for variant in variants {
                *variant = patch_of(variant, known);
            }
        }
        return same;
    }
    let nullable = |field: &Value| json!({ "anyOf": [patch_of(field, known), { "type": "null" }] });
    let fields = fields.into_iter();
    let fields: Map<String, Value> = fields
        .map(|(name, field)| (name, nullable(&field)))
        .collect();
    let mut patch = json!({ "type": "object", "properties": fields });
    if let Some(description) = own.get("description") {
        patch["description"] = description.clone();
    }
    if let Some(names) = own.get("propertyNames") {
        patch["propertyNames"] = names.clone();
    }
    patch["additionalProperties"] = match own.get("additionalProperties") {
        Some(others @ Value::Object(_)) => nullable(others),
        _ => Value::Bool(false),
    };
    patch
}

/// What a schema refers to, or itself.
fn referred<'a>(schema: &'a Value, known: &'a Map<String, Value>) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    let name = reference.and_then(|text| text.rsplit('/').next());
    name.and_then(|name| known.get(name)).unwrap_or(schema)
}

/// The fields of an object, or of all objects that it may be one of.
fn fields_of(schema: &Value) -> Map<String, Value> {
    let variants = schema.get("oneOf").and_then(Value::as_array);
    let all = std::iter::once(schema).chain(variants.into_iter().flatten());
    let fields = all.filter_map(|one| one.get("properties")?.as_object());
    fields.flat_map(|fields| fields.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_left_out_or_be_null_and_lists_are_replaced() {
        let known = json!({"Repo": {"oneOf": [
            {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}},
            {"type": "object", "required": ["push"], "properties": {"push": {"const": true}}},
        ]}});
        let document = json!({
            "type": "object",
            "required": ["repo"],
            "additionalProperties": false,
            "properties": {
                "repo": {"$ref": "#/components/schemas/Repo"},
                "hosts": {"type": "array", "items": {"type": "string"}, "default": []},
                "scale": {"type": "object", "additionalProperties": {"type": "integer"}},
            },
        });
        let none = json!({"type": "null"});
        assert_eq!(
            patch_of(&document, known.as_object().unwrap()),
            json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "repo": {"anyOf": [
                        {
                            "type": "object",
                            "additionalProperties": false,
                            "properties": {
                                "url": {"anyOf": [{"type": "string"}, none]},
                                "push": {"anyOf": [{"const": true}, none]},
                            },
                        },
                        none,
                    ]},
                    "hosts": {"anyOf": [{"type": "array", "items": {"type": "string"}}, none]},
                    "scale": {"anyOf": [
                        {
                            "type": "object",
                            "properties": {},
                            "additionalProperties": {"anyOf": [{"type": "integer"}, none]},
                        },
                        none,
                    ]},
                },
            })
        );
    }
}
