//! [`Wish`]: what is wanted of a name (pure).

use std::collections::BTreeMap;

/// What is wanted of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// A certificate that is kept answers until it ends; none is asked for.
    Keep,
    /// There is to be a certificate, which is renewed.
    Order,
}

/// By name. A wildcard gets a certificate of its own.
pub type Wishes = BTreeMap<String, Wish>;
