//! The environment of a process, in four layers (pure).

use std::collections::BTreeMap;
use std::path::Path;

use super::account::Account;

/// The clean base: what a process gets before anything is configured. Never the daemon's own variables.
#[must_use]
pub fn base(
    account: &Account,
    home: &Path,
    tmp: &Path,
    storage: &Path,
) -> BTreeMap<String, String> {
    let _ = (account, home, tmp, storage);
    todo!()
}

/// Lays `layers` over each other, later wins. A name or value that no process can be given (empty name, `=` or NUL in
/// it) is left out.
#[must_use]
pub fn layered<'a>(
    layers: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let _ = layers.into_iter().count();
    todo!()
}
