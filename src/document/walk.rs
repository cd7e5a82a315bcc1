//! [`Walk`]: reads the fields of a JSON object one by one and keeps everything that is wrong, with its JSON pointer
//! (RFC 6901), so that a person can mend a document in one go (pure).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::config::FieldError;
use super::nearest::nearest;
use super::size;

/// Beyond this, further errors help nobody.
const MAX_ERRORS: usize = 100;

/// An object of the document and where it stands.
pub(super) struct Object<'v> {
    fields: &'v Map<String, Value>,
    pointer: String,
}

impl<'v> Object<'v> {
    /// The value of `field`.
    pub(super) fn get(&self, field: &str) -> Option<&'v Value> {
        self.fields.get(field)
    }

    /// The JSON pointer of `field`.
    pub(super) fn pointer(&self, field: &str) -> String {
        join(&self.pointer, field)
    }
}

fn join(pointer: &str, token: &str) -> String {
    format!("{pointer}/{}", token.replace('~', "~0").replace('/', "~1"))
}

/// What was wrong so far.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) errors: Vec<FieldError>,
}

/// Reads a duration, such as [`Walk::duration`].
type ReadDuration =
    fn(&mut Walk, &Object<'_>, &str, RangeInclusive<Duration>, Duration) -> Duration;

impl Walk {
    /// Reports `detail` at `pointer`.
    pub(super) fn report(&mut self, pointer: String, detail: impl Display) {
        if self.errors.len() < MAX_ERRORS {
            let detail = detail.to_string();
            self.errors.push(FieldError { pointer, detail });
        }
    }

    /// `value` as an object with no other fields than `known`.
    pub(super) fn object<'v>(
        &mut self,
        value: &'v Value,
        pointer: String,
        known: &[&str],
    ) -> Option<Object<'v>> {
        let Value::Object(fields) = value else {
            self.report(pointer, expected("an object", value));
            return None;
        };
        for field in fields.keys().filter(|f| !known.contains(&f.as_str())) {
            self.report(join(&pointer, field), unknown(field, known));
        }
        Some(Object { fields, pointer })
    }

    /// The object in `field`.
    pub(super) fn child<'v>(
        &mut self,
        object: &Object<'v>,
        field: &str,
        known: &[&str],
    ) -> Option<Object<'v>> {
        self.object(object.get(field)?, object.pointer(field), known)
    }

    /// The string in `field`, taken by `parse`.
    pub(super) fn text<T, E: Display>(
        &mut self,
        object: &Object<'_>,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = object.get(field)?;
        self.parse_text(value, object.pointer(field), parse)
    }

    pub(super) fn parse_text<T, E: Display>(
        &mut self,
        value: &Value,
        pointer: String,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Value::String(text) = value else {
            self.report(pointer, expected("a string", value));
            return None;
        };
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.report(pointer, error);
                None
            }
        }
    }

    /// The list of strings in `field`, each taken by `parse`; at most `max` of them.
    pub(super) fn list<T, E: Display>(
        &mut self,
        object: &Object<'_>,
        field: &str,
        max: usize,
        mut parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let shape = "a list of strings, [\"…\"]";
        self.items(object, field, (shape, max), |walk, item, pointer| {
            walk.parse_text(item, pointer, &mut parse)
        })
    }

    /// The list in `field`, each entry taken by `parse` with its pointer. `shape` says what it is to be, and `max` how many
    /// there may be.
    pub(super) fn items<T>(
        &mut self,
        object: &Object<'_>,
        field: &str,
        (shape, max): (&str, usize),
        mut parse: impl FnMut(&mut Self, &Value, String) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = object.get(field) else {
            return Vec::new();
        };
        let pointer = object.pointer(field);
        let Value::Array(items) = value else {
            self.report(pointer, expected(shape, value));
            return Vec::new();
        };
        if items.len() > max {
            let detail = format!("has {} entries: at most {max} are allowed", items.len());
            self.report(pointer, detail);
            return Vec::new();
        }
        items
            .iter()
            .enumerate()
            .filter_map(|(i, item)| parse(self, item, join(&pointer, &i.to_string())))
            .collect()
    }

    /// The object in `field` whose names are free, each entry taken by `parse`; at most `max` of them.
    pub(super) fn map<T>(
        &mut self,
        object: &Object<'_>,
        field: &str,
        max: usize,
        mut parse: impl FnMut(&str, &Value) -> Result<T, String>,
    ) -> BTreeMap<String, T> {
        let mut parsed = BTreeMap::new();
        let Some(value) = object.get(field) else {
            return parsed;
        };
        let pointer = object.pointer(field);
        let Value::Object(entries) = value else {
            self.report(pointer, expected("an object", value));
            return parsed;
        };
        if entries.len() > max {
            let detail = format!("has {} entries: at most {max} are allowed", entries.len());
            self.report(pointer, detail);
            return parsed;
        }
        for (name, value) in entries {
            match parse(name, value) {
                Ok(entry) => {
                    parsed.insert(name.clone(), entry);
                }
                Err(detail) => self.report(join(&pointer, name), detail),
            }
        }
        parsed
    }

    /// The boolean in `field`, else `default`.
    pub(super) fn flag(&mut self, object: &Object<'_>, field: &str, default: bool) -> bool {
        match object.get(field) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.report(object.pointer(field), expected("true or false", other));
                default
            }
        }
    }

    /// The whole number in `field`.
    pub(super) fn number(
        &mut self,
        object: &Object<'_>,
        field: &str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        match number(object.get(field)?, range) {
            Ok(number) => Some(number),
            Err(detail) => {
                self.report(object.pointer(field), detail);
                None
            }
        }
    }

    /// The number of bytes of `range` in `field`, such as `"512M"`.
    pub(super) fn size(
        &mut self,
        object: &Object<'_>,
        field: &str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        if let Some(number @ Value::Number(n)) = object.get(field) {
            let shape = expected("a size in quotes, as in \"512M\"", number);
            let hint = format!("{shape}; write \"{n}\" for bytes, \"{n}M\" for MiB");
            self.report(object.pointer(field), hint);
            return None;
        }
        self.text(object, field, |text| size::parse(text, range))
    }

    /// A duration of `range` in whole seconds, else `default`.
    pub(super) fn seconds(
        &mut self,
        object: &Object<'_>,
        field: &str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let duration = self.duration(object, field, range, default);
        if duration.subsec_nanos() == 0 {
            return duration;
        }
        let detail = "must be whole seconds, as in \"30s\" or \"365days\"";
        self.report(object.pointer(field), detail.to_owned());
        default
    }

    /// What `read` makes of a field that may be absent: [`Walk::duration`] or [`Walk::seconds`].
    pub(super) fn optional(
        &mut self,
        object: &Object<'_>,
        field: &str,
        range: RangeInclusive<Duration>,
        read: ReadDuration,
    ) -> Option<Duration> {
        object.get(field)?;
        let least = *range.start();
        Some(read(self, object, field, range, least))
    }

    /// The duration in `field`, such as `"30s"`, else `default`.
    pub(super) fn duration(
        &mut self,
        object: &Object<'_>,
        field: &str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let parse = |text: &str| {
            let parsed = humantime::parse_duration(text).map_err(|error| {
                format!("is not a duration ({error}): write it as \"500ms\", \"30s\" or \"2m\"")
            })?;
            if range.contains(&parsed) {
                return Ok(parsed);
            }
            let (from, to) = (in_words(*range.start()), in_words(*range.end()));
            Err(format!("must be from \"{from}\" to \"{to}\""))
        };
        match object.get(field) {
            Some(number @ Value::Number(n)) => {
                let hint = format!(
                    "{}; write \"{n}s\" for seconds",
                    expected("a duration string", number)
                );
                self.report(object.pointer(field), hint);
                default
            }
            _ => self.text(object, field, parse).unwrap_or(default),
        }
    }
}

/// As a document has it; days are not made into months of 30.44 of them.
fn in_words(duration: Duration) -> String {
    const DAY: u64 = 86_400;
    let days = duration.as_secs() / DAY;
    match days > 1 && duration == Duration::from_secs(days * DAY) {
        true => format!("{days}days"),
        false => humantime::format_duration(duration).to_string(),
    }
}

/// `value` as a whole number of `range`.
pub(super) fn number(value: &Value, range: RangeInclusive<u64>) -> Result<u64, String> {
    // JSON has one kind of number: 2.0 is as whole as 2.
    let whole = value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked"
        )]
        (float.fract() == 0.0 && (0.0..=1e15).contains(&float)).then_some(float as u64)
    });
    let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
    match (whole, value) {
        (Some(number), _) if range.contains(&number) => Ok(number),
        (_, Value::Number(number)) => Err(format!("must be {}, not {number}", wanted())),
        _ => Err(expected(&wanted(), value)),
    }
}

/// The error for a value of the wrong kind.
pub(super) fn expected(what: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => return format!("must be {what}, not null: leave the field out instead"),
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("must be {what}, not {found}")
}

fn unknown(field: &str, known: &[&str]) -> String {
    let shown: String = field.chars().take(80).collect();
    match nearest(field, known) {
        Some(near) => format!("there is no field \"{shown}\": did you mean \"{near}\"?"),
        None => format!(
            "there is no field \"{shown}\" here: known are {}",
            known.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_range_are_written_as_people_write_them() {
        for (seconds, text) in [
            (0, "0s"),
            (10, "10s"),
            (3600, "1h"),
            (86_400, "1day"),
            (365 * 86_400, "365days"),
            (90_000, "1day 1h"),
        ] {
            let written = in_words(Duration::from_secs(seconds));
            assert_eq!(written, text);
            assert!(humantime::parse_duration(&written).is_ok());
        }
    }

    #[test]
    fn pointers_escape_what_rfc_6901_says() {
        assert_eq!(join("/env", "a/b~c"), "/env/a~1b~0c");
    }

    #[test]
    fn whole_numbers_are_of_the_range() {
        let range = || 0..=100;
        assert_eq!(number(&2.into(), range()), Ok(2));
        assert_eq!(number(&2.0.into(), range()), Ok(2));
        for wrong in [
            Value::from(-1),
            101.into(),
            1.5.into(),
            "2".into(),
            Value::Null,
        ] {
            assert!(number(&wrong, range()).is_err(), "{wrong}");
        }
    }
}
