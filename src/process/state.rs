//! The life of one process: (state, event, now) → commands (pure).
