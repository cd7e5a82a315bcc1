//! Which steps a deploy takes (pure).
