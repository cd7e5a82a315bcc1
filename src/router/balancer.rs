//! Which backend takes a request: least outstanding of two (pure).
