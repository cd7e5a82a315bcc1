//! Memory and CPU time of processes, from `/proc` (blocks; call it from a blocking thread).

use std::collections::HashMap;

/// What a session of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident set of all its processes, bytes.
    pub memory_bytes: u64,
    /// User and system time of all its living processes, seconds.
    pub cpu_seconds: f64,
}

/// Usage of each of `sessions` (session leaders' pids), in one pass over `/proc`.
#[must_use]
pub fn of_sessions(sessions: &[u32]) -> HashMap<u32, Usage> {
    let _ = sessions;
    todo!()
}
