//! [`ByType`]: a choice for all process types, or for some of them by name (pure).

use std::collections::BTreeMap;

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

    /// These types have choices of their own, all others the default.
    #[must_use]
    pub fn named(named: BTreeMap<String, T>) -> Self {
        Self {
            default: T::default(),
            named,
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
}
