//! [`ByType`]: a choice for all process types, or for some of them by name (pure).

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::Value;

use crate::document::rules as rules_of;
use crate::document::walk::{Object, Walk, expected};

/// A choice for all process types, or for some of them by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByType<T> {
    /// Of types that are not named.
    default: T,
    named: BTreeMap<String, T>,
}

impl<T: Copy + Default + PartialEq> ByType<T> {
    /// The same for all types.
    #[must_use]
    pub fn all(choice: T) -> Self {
        Self {
            default: choice,
            named: BTreeMap::new(),
        }
    }

    /// The choice for a type.
    #[must_use]
    pub fn of(&self, process_type: &str) -> T {
        self.named
            .get(process_type)
            .copied()
            .unwrap_or(self.default)
    }

    /// Whether it is the same for all types, and this.
    #[must_use]
    pub fn is_all(&self, choice: T) -> bool {
        self.default == choice && self.named.is_empty()
    }

    /// Whether any type may have it.
    #[must_use]
    pub fn has(&self, choice: T) -> bool {
        self.default == choice || self.named.values().any(|named| *named == choice)
    }

    /// The types that are named.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// Reads `field`: a word that `parse` takes, or an object of them by process type, `max` at most.
    pub(crate) fn read<E: Display>(
        walk: &mut Walk,
        top: &Object<'_>,
        field: &str,
        max: usize,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Self {
        match top.get(field) {
            Some(Value::Object(_)) => Self {
                default: T::default(),
                named: walk.map(top, field, max, |name, value| {
                    rules_of::process_type(name)?;
                    let Value::String(text) = value else {
                        return Err(expected("a string", value));
                    };
                    parse(text).map_err(|error| error.to_string())
                }),
            },
            Some(Value::String(_)) => Self::all(walk.text(top, field, parse).unwrap_or_default()),
            Some(other) => {
                let wanted = "a string, or an object by process type, {\"worker\": \"…\"}";
                walk.report(top.pointer(field), expected(wanted, other));
                Self::default()
            }
            None => Self::default(),
        }
    }
}
