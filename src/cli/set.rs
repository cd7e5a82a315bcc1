//! `procserver set`: change fields of an application's document.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::client::{Client, ClientArgs};
use super::deploy::{self, WaitArgs};
use super::document::pair;
use super::input;
use super::output::Output;
use crate::document::json5::parse_document;
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver set blog repo.branch=main             fields within fields by dots
  procserver set blog port=9000 strategy=recreate  several at once
  procserver set blog 'domain=[\"^blog\\\\.\"]'         JSON where it is a list or an object
  procserver set blog port=null --json             null: back to the default
  procserver set blog repo.url=- < url.txt         from standard input: a URL with a token")]
pub struct SetArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// A field and its new value; - reads it from standard input
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
    pub fields: Vec<(String, String)>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

impl SetArgs {
    /// With what standard input says.
    ///
    /// # Errors
    /// It says nothing, or two fields ask for it.
    pub fn settled(mut self) -> anyhow::Result<Self> {
        let name = &self.name;
        for (field, value) in &self.fields {
            let safer = format!("procserver set {name} {field}=- < FILE");
            input::note_on_url(value, &safer)
                .iter()
                .for_each(|note| input::warn(note));
        }
        input::fill(&mut self.fields)?;
        Ok(self)
    }
}

/// Changes the document and follows what that takes.
pub async fn run(args: &SetArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    deploy::change(&args.name, &patch(&args.fields), args.wait, client, out).await
}

/// The merge patch that the fields describe.
fn patch(fields: &[(String, String)]) -> Value {
    let mut patch = Value::Object(Map::new());
    for (path, text) in fields {
        put(&mut patch, path, value(path, text));
    }
    patch
}

/// What `text` means at `path`: JSON is taken so, and lists and objects as documents have them (JSON5); anything else is
/// text, and so is every variable but for `null`, which removes it.
pub(super) fn value(path: &str, text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Number(_) | Value::Bool(_)) if path.starts_with("env.") => Value::from(text),
        Ok(value) => value,
        Err(_) if text.starts_with(['[', '{']) && !path.starts_with("env.") => {
            parse_document(text.as_bytes()).unwrap_or_else(|_| Value::from(text))
        }
        Err(_) => Value::from(text),
    }
}

/// Puts `value` at the dotted `path`.
pub(super) fn put(at: &mut Value, path: &str, value: Value) {
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
            "env.PIN=0123",
            "env.N=8",
            "env.OLD=null",
            r#"domain=["^a"]"#,
            "cron=[{name: 'a', schedule: '@daily', command: 'true'}]",
            "env.SET=[a-z]",
        ];
        let fields: Vec<_> = words.iter().map(|word| pair(word).unwrap()).collect();
        let expected = json!({"repo": {"branch": "main", "url": "https://x/y?a=b"}, "port": 9000,
            "path": false, "user": null, "env": {"PIN": "0123", "N": "8", "OLD": null, "SET": "[a-z]"},
            "domain": ["^a"], "cron": [{"name": "a", "schedule": "@daily", "command": "true"}]});
        assert_eq!(patch(&fields), expected);
    }
}
