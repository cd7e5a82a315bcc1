//! What every resource of the API needs.

use std::sync::Arc;

use crate::app::apps::Apps;
use crate::app::config::Rules;
use crate::supervision::ChildRef;

/// What every resource of the API needs.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The applications.
    pub apps: ChildRef<Apps>,
    /// What documents may say.
    pub rules: Rules,
    /// The account of apps that name none.
    pub default_user: String,
    /// Whether accounts can be switched to (the daemon is root).
    pub can_switch: bool,
    /// The bearer token.
    pub token: Arc<str>,
}
