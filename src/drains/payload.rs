//! [`Payload`]: lines as they are sent.

/// What is sent, and where each message of it ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
}
