//! Which processes a release should have (pure).
