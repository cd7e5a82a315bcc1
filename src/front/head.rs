//! Request and response heads (pure).
