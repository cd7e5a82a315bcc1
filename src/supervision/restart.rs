//! The supervisor as a state machine: (state, event, now) → commands (pure).
