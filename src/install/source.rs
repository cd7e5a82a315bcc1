//! The bare mirror and checkouts, through the real git.
