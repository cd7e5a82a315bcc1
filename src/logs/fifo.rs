//! Named pipes between a process and the log.
