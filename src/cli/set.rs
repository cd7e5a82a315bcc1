//! `procserver set`: change fields of an application's document.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::client::{Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::document::pair;
use super::output::Output;
use crate::app::name::AppName;

/// Arguments of `set`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver set blog repo.branch=main             fields within fields by dots
  procserver set blog port=9000 strategy=recreate  several at once
  procserver set blog 'domain=[\"^blog\\\\.\"]'         JSON where it is a list or an object
  procserver set blog port=null --json             null: back to the default")]
pub struct SetArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// A field and its new value
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
    pub fields: Vec<(String, String)>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// How to reach the server.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Changes the document and follows what that takes.
///
/// # Errors
/// What the API refuses, and a deployment that fails.
pub async fn run(args: &SetArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    deploy::change(&args.name, &patch(&args.fields), args.wait, client, out).await
}

/// The merge patch that the fields describe. A value that is JSON is taken so, anything else is text.
fn patch(fields: &[(String, String)]) -> Value {
    let mut patch = Value::Object(Map::new());
    for (path, value) in fields {
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value.as_str()));
        put(&mut patch, path, value);
    }
    patch
}

fn put(at: &mut Value, path: &str, value: Value) {
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    let Value::Object(fields) = at else { return };
    match path.split_once('.') {
        None => drop(fields.insert(path.to_owned(), value)),
        Some((first, rest)) => put(fields.entry(first).or_insert(Value::Null), rest, value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_become_a_merge_patch() {
        let words = [
            "repo.branch=main",
            "repo.url=https://x/y?a=b",
            "port=9000",
            "path=false",
            "user=null",
            r#"domain=["^a"]"#,
        ];
        let fields: Vec<_> = words.iter().map(|word| pair(word).unwrap()).collect();
        let expected = json!({"repo": {"branch": "main", "url": "https://x/y?a=b"}, "port": 9000,
            "path": false, "user": null, "domain": ["^a"]});
        assert_eq!(patch(&fields), expected);
    }
}
