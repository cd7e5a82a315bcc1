//! [`pick`]: which value of a field is carried over where a document changes (pure).

/// `base`, unless `old` changes to `new`.
pub(super) fn pick<T: PartialEq + Clone>(base: &T, old: &T, new: &T) -> T {
    if old == new { base } else { new }.clone()
}
