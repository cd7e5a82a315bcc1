//! Answers of the proxy itself.
