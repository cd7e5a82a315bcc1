//! [`Usage`]: the arguments make no sense together.

/// The arguments make no sense together; the text says what to write instead. Exit code 2, as for what clap refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
