//! [`Fields`]: the fields of a head, with a set of the names among them (pure).
//!
//! The front end asks a head for some twenty names, most of which it does not have. The set answers that in one look.

use std::ops::Deref;

use super::field::{Field, Name};

/// The fields of a head, in order.
#[derive(Clone, Debug, Default)]
pub struct Fields<'b> {
    all: Vec<Field<'b>>,
    /// A bit for each [`Name`] that a field is like.
    like: u64,
}

impl<'b> Fields<'b> {
    /// Makes an empty list with room for `count` fields.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self {
            all: Vec::with_capacity(count),
            like: 0,
        }
    }

    pub fn push(&mut self, field: Field<'b>) {
        self.like |= bit(field.like());
        self.all.push(field);
    }

    /// Returns the fields of this name, in order.
    pub fn named(&self, name: Name) -> impl DoubleEndedIterator<Item = &Field<'b>> {
        let all = if self.like & bit(name) == 0 {
            &[]
        } else {
            &*self.all
        };
        all.iter().filter(move |field| field.is(name))
    }

    /// Returns the elements of all lists of this name, without blanks around them and without empty ones.
    pub(crate) fn tokens(&self, name: Name) -> impl Iterator<Item = &'b [u8]> {
        self.named(name)
            .flat_map(|f| f.value.split(|b| *b == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|t| !t.is_empty())
    }

    #[must_use]
    pub fn has(&self, name: Name) -> bool {
        self.named(name).next().is_some()
    }
}

fn bit(name: Name) -> u64 {
    1 << name as u32
}

impl<'b> Deref for Fields<'b> {
    type Target = [Field<'b>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<'f, 'b> IntoIterator for &'f Fields<'b> {
    type Item = &'f Field<'b>;
    type IntoIter = std::slice::Iter<'f, Field<'b>>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl<'b> FromIterator<Field<'b>> for Fields<'b> {
    fn from_iter<T: IntoIterator<Item = Field<'b>>>(from: T) -> Self {
        let mut fields = Self::default();
        from.into_iter().for_each(|field| fields.push(field));
        fields
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [(&str, Name); 5] = [
        ("Accept", Name::Accept),
        ("Host", Name::Host),
        ("X-Request-ID", Name::XRequestId),
        ("X-Other", Name::Other),
        ("X_App", Name::XApp),
    ];

    proptest! {
        #[test]
        fn what_is_named_so_is_found_in_order(picked in proptest::collection::vec(0..NAMES.len(), 0..6)) {
            let values: Vec<u8> = (0..6).collect();
            let named = picked.iter().zip(values.chunks(1));
            let fields: Fields<'_> = named
                .map(|(n, value)| Field::new(NAMES[*n].0, value).expect("a token"))
                .collect();
            prop_assert_eq!(fields.len(), picked.len());
            for (_, name) in NAMES {
                let wanted: Vec<_> = fields.iter().filter(|f| f.is(name)).collect();
                prop_assert_eq!(fields.has(name), !wanted.is_empty());
                prop_assert_eq!(fields.named(name).collect::<Vec<_>>(), wanted);
            }
        }
    }
}
