//! The description is complete, and says of documents what is true of them.

use std::collections::BTreeSet;

use super::*;
use crate::api::resources;
use crate::document::config::{AppConfig, Rules};

fn whole() -> Value {
    description(&resources::declared()).expect("the files of src/api/openapi are JSON5")
}

#[test]
fn every_call_is_described_and_nothing_else() {
    let whole = whole();
    let described = whole["paths"].as_object().unwrap().iter();
    let described: BTreeSet<(String, String)> = described
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    let declared: BTreeSet<(String, String)> = calls(&resources::declared())
        .into_iter()
        .map(|(method, path, _)| (path, method))
        .collect();
    if let Some((path, method)) = declared.difference(&described).next() {
        let near = PARTS.iter().rev().find(|(_, text)| {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            !parent.is_empty() && text.contains(&format!("\"{parent}"))
        });
        let file = near.map_or("server.json5", |(file, _)| *file);
        panic!(
            "src/api/resources.rs declares {method} {path}, which is not described: add \"{path}\": {{ {method}: {{ operationId: …, tags: […], \
             summary: …, responses: {{ \"200\": {{ description: …, json: SCHEMA }} }}, errors: [409] }} }} to `paths` of \
             src/api/openapi/{file}, with its parameters and requestBody. 400, 401, 403, 404 of an application, 429 and 503 \
             are there by themselves"
        );
    }
    if let Some((path, method)) = described.difference(&declared).next() {
        panic!(
            "src/api/openapi describes {method} {path}, which src/api/resources.rs does not declare: remove it"
        );
    }
}

#[test]
fn each_call_has_a_name_of_its_own_a_summary_and_a_tag_that_there_is() {
    let whole = whole();
    let tags: Vec<&Value> = whole["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["name"])
        .collect();
    let mut names = BTreeSet::new();
    for (path, methods) in whole["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let name = call["operationId"].as_str();
            let name = name.unwrap_or_else(|| panic!("{method} {path} has no operationId"));
            assert!(
                names.insert(name.to_owned()),
                "{method} {path}: {name} is the name of another call"
            );
            assert!(
                call["summary"].is_string(),
                "{method} {path} has no summary"
            );
            assert!(
                tags.contains(&&call["tags"][0]),
                "{method} {path} has no tag of info.json5"
            );
            let is_good = |status: &String| status.starts_with(['1', '2']);
            assert!(
                call["responses"].as_object().unwrap().keys().any(is_good),
                "{method} {path} says nothing of its answer: add `responses`, or `outcome` where it takes time"
            );
            for parameter in path
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split('}').next())
            {
                let all = call["parameters"].as_array().unwrap().iter();
                let mut all = all.map(|one| referred(&whole, one));
                assert!(
                    all.any(|one| one["in"] == "path" && one["name"] == parameter),
                    "{method} {path}: `parameters` has no {parameter}"
                );
            }
        }
    }
}

#[test]
fn what_is_referred_to_is_there() {
    fn look(whole: &Value, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref") {
                    let pointer = reference.as_str().unwrap().trim_start_matches('#');
                    assert!(whole.pointer(pointer).is_some(), "there is no {reference}");
                }
                fields.values().for_each(|value| look(whole, value));
            }
            Value::Array(items) => items.iter().for_each(|value| look(whole, value)),
            _ => {}
        }
    }
    look(&whole(), &whole());
}

#[test]
fn it_is_of_a_size_that_is_sane() {
    let size = whole().to_string().len();
    assert!(size < 256 << 10, "{size} bytes");
}

fn referred<'a>(whole: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    reference.map_or(schema, |text| {
        whole.pointer(text.trim_start_matches('#')).unwrap()
    })
}

/// A document with `value` at `pointer`.
fn with(pointer: &[String], value: Value) -> Value {
    let mut document = json!({"name": "a", "repo": {"url": "https://h/a.git"}});
    let mut at = &mut document;
    for part in pointer {
        at = match part.parse::<usize>() {
            Ok(_) => {
                *at = json!([null]);
                &mut at[0]
            }
            Err(_) => &mut at[part.as_str()],
        };
    }
    *at = value;
    document
}

/// The fields that an object at `pointer` may have, as the code refuses another one.
fn known_to_the_code(pointer: &[String]) -> BTreeSet<String> {
    const NONE: &str = "not-a-field-of-anything-that-there-is-in-a-document";
    let refused = AppConfig::from_document(with(pointer, json!({NONE: 1})), &Rules::default());
    let refused = refused.unwrap_err();
    let at = format!("/{NONE}");
    let told = refused.iter().find(|error| error.pointer.ends_with(&at));
    let told = told.unwrap_or_else(|| panic!("/{}: {refused:?}", pointer.join("/")));
    let (_, known) = told.detail.split_once("known are ").unwrap();
    known.split(", ").map(str::to_owned).collect()
}

/// Objects of the document with fields of their own, and where they stand.
fn objects(whole: &Value, schema: &Value, pointer: &[String]) -> Vec<(Vec<String>, Value)> {
    let own = referred(whole, schema);
    let variants = ["anyOf", "oneOf"]
        .iter()
        .filter_map(|word| own[*word].as_array());
    let mut found: Vec<_> = variants
        .flatten()
        .flat_map(|one| objects(whole, one, pointer))
        .collect();
    let below = |part: &str| [pointer, &[part.to_owned()]].concat();
    if let Some(fields) = own["properties"].as_object() {
        found.push((pointer.to_vec(), own.clone()));
        found.extend(
            fields
                .iter()
                .flat_map(|(name, field)| objects(whole, field, &below(name))),
        );
    }
    if own["items"].is_object() {
        found.extend(objects(whole, &own["items"], &below("0")));
    }
    found
}

fn objects_of_document() -> Vec<(Vec<String>, Value)> {
    let whole = whole();
    let document = &whole["components"]["schemas"]["Application"];
    let mut all = objects(&whole, document, &[]);
    // Its only field there names a variable that is special.
    all.retain(|(pointer, _)| pointer.last().is_none_or(|last| last != "env"));
    all
}

#[test]
fn every_field_of_the_document_is_described_and_nothing_else() {
    let all = objects_of_document();
    assert!(all.len() > 10, "{all:?}");
    for (pointer, _) in &all {
        let at = pointer.join("/");
        let here = all.iter().filter(|(other, _)| other == pointer);
        let described: BTreeSet<String> = here
            .flat_map(|(_, schema)| schema["properties"].as_object().unwrap().keys().cloned())
            .collect();
        let known = known_to_the_code(pointer);
        if let Some(field) = known.difference(&described).next() {
            panic!(
                "the document may have the field /{at}/{field}, which is not described: add `{field}` to the properties of \
                 /{at} in src/api/openapi/document.json5, with its type, limits, default and a description"
            );
        }
        if let Some(field) = described.difference(&known).next() {
            panic!(
                "src/api/openapi/document.json5 describes /{at}/{field}, which the document does not have: remove it"
            );
        }
    }
}

#[test]
fn every_default_that_is_described_is_what_an_absent_field_means() {
    let read = |document: Value| {
        let config = AppConfig::from_document(document.clone(), &Rules::default());
        let config = config.unwrap_or_else(|errors| panic!("{document}: {errors:?}"));
        AppConfig {
            document: Value::Null,
            ..config
        }
    };
    let required = |pointer: &[String]| match pointer.join("/").as_str() {
        "cron/0" => json!({"name": "a", "schedule": "@daily", "command": "id"}),
        "hosts/0" => json!({"name": "a.example"}),
        "repo" => json!({"push": true}),
        "redirects/0" => json!({"from": "/old", "to": "/new"}),
        "preview" => json!({"of": "b"}),
        "drains/0" | "notify/0" => json!({"url": "https://h/a"}),
        _ => json!({}),
    };
    let mut seen = 0;
    for (pointer, schema) in objects_of_document() {
        for (name, field) in schema["properties"].as_object().unwrap() {
            let Some(default) = field.get("default") else {
                continue;
            };
            seen += 1;
            let mut object = match pointer.is_empty() {
                true => with(
                    &[],
                    json!({"name": "a", "repo": {"url": "https://h/a.git"}}),
                ),
                false => required(&pointer),
            };
            let absent = read(with(&pointer, object.clone()));
            object[name.as_str()] = default.clone();
            let at = format!("/{}/{name}", pointer.join("/"));
            assert_eq!(
                read(with(&pointer, object)),
                absent,
                "src/api/openapi/document.json5: the default of {at} is another one"
            );
        }
    }
    assert!(seen > 25, "{seen}");
}
