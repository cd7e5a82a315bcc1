//! JSON merge patch, RFC 7396 (pure).

use serde_json::{Map, Value};

/// `target` as `patch` changes it: objects are merged, `null` removes, anything else replaces (RFC 7396 §2).
#[must_use]
pub fn merge_patch(target: Value, patch: Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch;
    };
    let mut fields = match target {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for (name, change) in changes {
        match change {
            // Not `remove`, which moves the last field to the gap: people read this document.
            Value::Null => drop(fields.shift_remove(&name)),
            change => {
                let old = fields.get_mut(&name).map(Value::take);
                fields.insert(name, merge_patch(old.unwrap_or_default(), change));
            }
        }
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 7396, appendix A: original, patch, result.
    #[test]
    fn the_cases_of_the_rfc() {
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ];
        for (target, patch, result) in cases {
            assert_eq!(
                merge_patch(target.clone(), patch.clone()),
                result,
                "{target} {patch}"
            );
        }
    }

    #[test]
    fn fields_keep_their_order() {
        let patched = merge_patch(json!({"a":1,"b":2,"c":3}), json!({"a":null,"b":4}));
        assert_eq!(patched.to_string(), r#"{"b":4,"c":3}"#);
    }
}
