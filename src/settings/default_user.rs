//! [`DefaultUser`]: as whom applications run that name no user.

use crate::account::PER_APP;

/// As whom applications run that name no user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultUser {
    /// Each as a system user of its own; as `former` those that did so before there were such users.
    PerApp { former: String },
    /// All as this one.
    Named(String),
}

impl DefaultUser {
    /// The setting `named`, where there is one. `former` is whom the machine has for all of them.
    pub(super) fn new(named: Option<&str>, is_root: bool, former: &str) -> Self {
        let former = former.to_owned();
        match named {
            Some(user) if user != PER_APP => Self::Named(user.to_owned()),
            None if !is_root => Self::Named(former),
            _ => Self::PerApp { former },
        }
    }
}
