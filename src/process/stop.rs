//! Ends a process and everything it started.
