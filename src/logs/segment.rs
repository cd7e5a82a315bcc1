//! Segments: append, rotate, read back.
