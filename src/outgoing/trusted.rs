//! The configuration for TLS towards a receiver.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::tls::trust::{self, TrustError};

/// Trusts the certificates of `ca` alone, or else those that this machine trusts. These are read on a blocking thread.
///
/// # Errors
/// There is nobody to trust.
pub async fn config(
    ca: Option<Arc<str>>,
    alpn: &'static [&'static [u8]],
) -> Result<Arc<ClientConfig>, TrustError> {
    let roots = tokio::task::spawn_blocking(move || match ca {
        Some(pem) => trust::of_pem(pem.as_bytes()),
        None => trust::of_machine(),
    });
    // An error: the server stops.
    let roots = roots
        .await
        .unwrap_or(Err(TrustError::MachineTrustsNobody))?;
    trust::client(roots, alpn)
}
