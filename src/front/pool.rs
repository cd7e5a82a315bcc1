//! Connections to backends, kept for the next request.
