//! [`ClientError`]: why a request failed.

use crate::cli::problem::Problem;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `--server` makes no sense.
    #[error("--server {0}: {1}")]
    Target(String, &'static str),
    #[error(
        "no server answers at {0} ({1}): is it running? Start it with \"procserver serve\" or \"systemctl start procserver\", or name another with --server"
    )]
    NoServer(String, String),
    /// Only root and the group `procserver` may connect to the socket.
    #[error(
        "{0} is not for you to use: be root, or a member of the group procserver (usermod --append --groups procserver USER, and log in again)"
    )]
    Forbidden(String),
    #[error(
        "the exchange with {0} broke off ({1}): perhaps the server was restarted. What it was asked to do may go on: \
         \"procserver apps\" and \"procserver deployments NAME\" show that"
    )]
    Broken(String, String),
    #[error("{0}")]
    Trust(String),
    #[error("no safe connection to {0}: {1}")]
    Handshake(String, String),
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The answer is not what the API promises.
    #[error("cannot make sense of the answer to {0}: {1}; is this another version of procserver?")]
    Nonsense(String, String),
}
