//! [`Stay`]: a client that is to stay with its process.

use crate::router::backend::InstanceId;

/// What is known of a client that is to stay with its process.
#[derive(Debug)]
pub struct Stay {
    /// The process that its cookie names, where that serves.
    pub came_with: Option<InstanceId>,
    /// The attributes of a new cookie.
    pub attributes: String,
}
