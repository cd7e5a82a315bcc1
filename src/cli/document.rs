//! An application's document as typed: a file, standard input, or flags.

use std::io::Read;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::document::name::AppName;

/// The most that a document may have, bytes: the API takes no more.
const LARGEST: u64 = 1 << 20;

/// Why a document cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("cannot read {0}: {1}")]
    Read(String, std::io::Error),
    #[error("{0} is larger than 1 MiB: is it an application's document?")]
    TooLarge(String),
    /// It is not JSON5, and so not JSON.
    #[error("{0} is not JSON (comments, unquoted keys and trailing commas are allowed): {1}")]
    Syntax(String, json5::Error),
    /// It does not say whose it is.
    #[error("{0} has no \"name\": add the application's name, as in name: \"blog\"")]
    NoName(String),
    #[error("{0}: {1}")]
    BadName(String, crate::document::name::NameError),
}

/// A document and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub name: AppName,
    /// As it was written: the API reads JSON5 itself.
    pub text: String,
}

impl Document {
    /// Reads `file`; `-` is standard input.
    pub fn read(file: &str) -> Result<Self, DocumentError> {
        let name = if file == "-" { "standard input" } else { file };
        let mut text = String::new();
        let read = if file == "-" {
            std::io::stdin()
                .lock()
                .take(LARGEST + 1)
                .read_to_string(&mut text)
        } else {
            std::fs::File::open(Path::new(file))
                .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
        };
        read.map_err(|error| DocumentError::Read(name.into(), error))?;
        if text.len() as u64 > LARGEST {
            return Err(DocumentError::TooLarge(name.into()));
        }
        Self::parse(text, name)
    }

    fn parse(text: String, from: &str) -> Result<Self, DocumentError> {
        let value: Value =
            json5::from_str(&text).map_err(|error| DocumentError::Syntax(from.into(), error))?;
        let name = value["name"]
            .as_str()
            .ok_or_else(|| DocumentError::NoName(from.into()))?;
        let name =
            AppName::parse(name).map_err(|error| DocumentError::BadName(from.into(), error))?;
        Ok(Self { name, text })
    }
}

/// Puts `value` at `path` of `document`, unless there is nothing to put.
pub fn put(document: &mut Map<String, Value>, path: [&str; 2], value: Option<Value>) {
    let Some(value) = value else { return };
    let parent = match path[0] {
        "" => document,
        key => {
            let child = document
                .entry(key)
                .or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(child) = child else { return };
            child
        }
    };
    parent.insert(path[1].to_owned(), value);
}

/// `KEY=VALUE` as typed.
///
/// # Errors
/// A sentence, where there is no `=` or nothing before it.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}

/// `TYPE=CHOICE` as typed, or a choice for all types, of the type "".
///
/// # Errors
/// A sentence, where there is nothing before the `=`.
pub fn choice(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("write TYPE=CHOICE, or a choice for all types".into()),
        Some((process_type, choice)) => Ok((process_type.into(), choice.into())),
        None => Ok((String::new(), text.into())),
    }
}

/// `TYPE=QUANTITY` as typed.
///
/// # Errors
/// A sentence, where it is not one.
pub fn quantity(text: &str) -> Result<(String, u32), String> {
    let (process_type, number) = pair(text).map_err(|_| "write TYPE=QUANTITY, as in web=2")?;
    let number = number
        .parse()
        .map_err(|_| format!("\"{number}\" is no quantity, as in web=2"))?;
    Ok((process_type, number))
}

/// All but the unreserved characters (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[must_use]
pub fn encode_query(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json5_file_is_sent_as_it_is_written() {
        let text = "// mine\n{ name: 'blog', repo: { url: 'https://x', }, }";
        let document = Document::parse(text.into(), "f").unwrap();
        assert_eq!(
            (document.name.as_str(), document.text.as_str()),
            ("blog", text)
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        for (text, part) in [
            ("{", "not JSON"),
            ("{}", "no \"name\""),
            ("{name: 'A'}", "not a name"),
        ] {
            let error = Document::parse(text.into(), "blog.json")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(part) && error.contains("blog.json"),
                "{error}"
            );
        }
        assert!(
            Document::read("/nowhere.json")
                .unwrap_err()
                .to_string()
                .contains("/nowhere.json")
        );
    }

    #[test]
    fn pairs_and_quantities_need_both_sides() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(pair("A").is_err() && pair("=b").is_err());
        assert_eq!(quantity("web=2"), Ok(("web".into(), 2)));
        assert!(quantity("web=two").is_err() && quantity("web").is_err());
    }

    #[test]
    fn a_query_value_is_encoded() {
        assert_eq!(
            encode_query("http://a/b?c=d&e"),
            "http%3A%2F%2Fa%2Fb%3Fc%3Dd%26e"
        );
    }
}
