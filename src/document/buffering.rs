//! [`Buffering`]: the field `buffer`.

/// Which bodies are taken as fast as they come, whoever they are for: a slow client then holds no process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffering {
    /// A request is sent to a process once its body is there.
    pub requests: bool,
    /// A response is taken from a process as fast as it gives it.
    pub responses: bool,
}

impl Default for Buffering {
    fn default() -> Self {
        Self {
            requests: true,
            responses: true,
        }
    }
}
