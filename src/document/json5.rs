//! [`parse_document`]: bytes of a request or a file, JSON or JSON5, as a [`Value`] (pure).
//!
//! The bytes are hostile: size and nesting are bounded before a recursive parser sees them, and a key that appears
//! twice is refused, because parsers differ in which of the two counts.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Bytes of the largest document.
pub const MAX_SIZE: usize = 1024 * 1024;

/// The deepest nesting of objects and lists. The document itself needs three.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are no document. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// The line of the offending character.
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl SyntaxError {
    fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let position = position_of(text, offset);
        Self {
            line: position.0,
            column: position.1,
            message: message.into(),
        }
    }
}

/// Parses JSON or JSON5 (comments, unquoted keys, single quotes, trailing commas).
///
/// # Errors
/// [`SyntaxError`] for anything else, for more than [`MAX_SIZE`] bytes or [`MAX_DEPTH`] levels, and for a key that an
/// object has twice.
pub fn parse_document(bytes: &[u8]) -> Result<Value, SyntaxError> {
    if bytes.len() > MAX_SIZE {
        let message = format!("the document is larger than {} KiB", MAX_SIZE / 1024);
        return Err(SyntaxError {
            line: 1,
            column: 1,
            message,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(not_utf8(bytes))?;
    check_depth(text)?;
    match json5::from_str(text) {
        Ok(Unique(value)) => Ok(value),
        Err(error) => Err(syntax_error(text, &error)),
    }
}

fn not_utf8(bytes: &[u8]) -> impl FnOnce(std::str::Utf8Error) -> SyntaxError + '_ {
    |error| {
        let valid = &bytes[..error.valid_up_to()];
        let text = std::str::from_utf8(valid).unwrap_or_default();
        SyntaxError::at(text, text.len(), "this is not UTF-8")
    }
}

fn syntax_error(text: &str, error: &json5::Error) -> SyntaxError {
    let Some(position) = error.position() else {
        let message = "the document ends before its value";
        return SyntaxError::at(text, text.trim_end().len(), message);
    };
    let full = error.to_string();
    // The parser appends the position to its message; it is a field of its own here.
    let suffix = format!(" at {position}");
    let message = full.strip_suffix(&suffix).unwrap_or(&full);
    if let Some(what) = message.strip_prefix("EOF parsing ") {
        // It names the beginning of what is not finished; the person looks for the end.
        let message = format!(
            "the document ends within the {what} of line {}",
            position.line + 1
        );
        return SyntaxError::at(text, text.trim_end().len(), message);
    }
    SyntaxError {
        line: position.line + 1,
        column: position.column + 1,
        message: message.to_owned(),
    }
}

/// Line and column of `offset`, from 1.
fn position_of(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

/// Refuses nesting that would overflow the stack of the parser, which recurses per level.
fn check_depth(text: &str) -> Result<(), SyntaxError> {
    let mut depth = 0_usize;
    let mut chars = text.char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        match c {
            '{' | '[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    let message = format!("nested deeper than {MAX_DEPTH} levels");
                    return Err(SyntaxError::at(text, offset, message));
                }
            }
            '}' | ']' => depth = depth.saturating_sub(1),
            '"' | '\'' => skip_string(&mut chars, c),
            '/' => skip_comment(&mut chars),
            _ => {}
        }
    }
    Ok(())
}

/// Whether `text`, which is JSON5, has a comment.
#[must_use]
pub fn has_comments(text: &str) -> bool {
    let mut chars = text.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        match c {
            '"' | '\'' => skip_string(&mut chars, c),
            // Outside of strings nothing else begins with it.
            '/' => return true,
            _ => {}
        }
    }
    false
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

fn skip_string(chars: &mut Chars<'_>, quote: char) {
    while let Some((_, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            _ if c == quote => return,
            _ => {}
        }
    }
}

fn skip_comment(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some((_, '/')) => {
            // The same line ends as the parser's, or a bracket could hide from one of the two.
            let is_line_end = |c: char| matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}');
            while chars.next().is_some_and(|(_, c)| !is_line_end(c)) {}
        }
        Some((_, '*')) => {
            chars.next();
            while let Some((_, c)) = chars.next() {
                if c == '*' && chars.next_if(|(_, next)| *next == '/').is_some() {
                    return;
                }
            }
        }
        _ => {}
    }
}

/// A [`Value`] whose objects have each key once.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Unique)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        let fits = i64::try_from(value).map_err(|_| E::custom("the number is too large"))?;
        Ok(fits.into())
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        let fits = u64::try_from(value).map_err(|_| E::custom("the number is too large"))?;
        Ok(fits.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if object.contains_key(&key) {
                let shown: String = key.chars().take(80).collect();
                let message =
                    format!("the field \"{shown}\" appears twice in the object that begins here");
                return Err(A::Error::custom(message));
            }
            let Unique(value) = fields.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_json5_are_read() {
        let parsed =
            parse_document(b"{a: 1, 'b': [-2, .5,], // c\n \"c\": null, /* {[ */ d: true}");
        assert_eq!(
            parsed,
            Ok(json!({"a": 1, "b": [-2, 0.5], "c": null, "d": true}))
        );
        assert_eq!(
            parse_document(br#"{"smile": "\ud83d\ude00"}"#),
            Ok(json!({"smile": "😀"}))
        );
    }

    #[test]
    fn an_error_has_the_line_and_the_column() {
        let error = parse_document(b"{\n  name: \"a\"\n  user: \"b\"\n}").unwrap_err();
        assert_eq!((error.line, error.column), (3, 3));
        let error = parse_document(b"{\n  name: \"a\",").unwrap_err();
        assert_eq!((error.line, error.column), (2, 13));
        assert!(error.message.contains("ends within the object of line 1"));
        let error = parse_document(b"{\n \xff}").unwrap_err();
        assert_eq!((error.line, error.column), (2, 2));
        assert!(parse_document(b"").is_err());
        assert!(parse_document(b"{} {}").is_err());
    }

    #[test]
    fn a_field_that_appears_twice_is_refused_by_name() {
        for twice in [r#"{"a": 1, "a": 2}"#, "{b: {a: 1, 'a': 1}}"] {
            let error = parse_document(twice.as_bytes()).unwrap_err();
            assert!(error.message.contains("\"a\" appears twice"), "{error}");
        }
        let error = parse_document(b"{\n b: {a: 1, a: 1}}").unwrap_err();
        assert_eq!((error.line, error.column), (2, 5));
        for nothing in ["", " ", "// only a remark"] {
            let error = parse_document(nothing.as_bytes()).unwrap_err();
            assert!(error.message.contains("before its value"), "{error}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_the_parser_recurses() {
        let deep = "[".repeat(500_000);
        let error = parse_document(deep.as_bytes()).unwrap_err();
        assert_eq!(error.column, MAX_DEPTH + 1);
        let hidden = format!(
            "/* ' */ \"{}\" //\u{2028}{}",
            "\\\"[",
            "{a:".repeat(200_000)
        );
        assert!(parse_document(hidden.as_bytes()).is_err());
        let fine = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse_document(fine.as_bytes()).is_ok());
        let quoted = format!("[\"{}\", '\\'{}']", "[".repeat(100), "{".repeat(100));
        assert!(parse_document(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn comments_are_found_and_what_is_text_is_none() {
        for with in ["{} // a", "/* a */{}", "{a: 'b' /* c */}"] {
            assert!(has_comments(with), "{with}");
        }
        for without in ["", "{\"url\": \"https://h/a\"}", "{a: '/*', b: '\\'//'}"] {
            assert!(!has_comments(without), "{without}");
        }
    }

    #[test]
    fn a_document_beyond_the_size_is_refused() {
        let large = format!("\"{}\"", "a".repeat(MAX_SIZE));
        assert!(parse_document(large.as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, text in "[\\[\\]{}:,'\"/*\\\\\n a1.-]{0,60}") {
            let _ = parse_document(&bytes);
            let _ = parse_document(text.as_bytes());
        }
    }
}
