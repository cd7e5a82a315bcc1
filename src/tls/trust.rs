//! Whom the server and its command line trust where they call others by TLS. No file here reads a name from a document:
//! certificates come as text, or are the machine's.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::server_config::provider;

/// Why there is nobody to trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error(
        "it holds no certificate (a PEM block that begins with \"-----BEGIN CERTIFICATE-----\")"
    )]
    NoCertificate,
    #[error("{0}")]
    Damaged(String),
    #[error("this machine trusts no certificate authority: apt-get install ca-certificates")]
    MachineTrustsNobody,
}

/// The certificates in `pem`.
///
/// # Errors
/// There is none, or one is damaged.
pub fn of_pem(pem: &[u8]) -> Result<RootCertStore, TrustError> {
    let damaged = |error: String| TrustError::Damaged(error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| damaged(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| damaged(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(TrustError::NoCertificate),
        false => Ok(roots),
    }
}

/// Those that this machine trusts. Blocks.
///
/// # Errors
/// It trusts nobody.
pub fn of_machine() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err(TrustError::MachineTrustsNobody),
        false => Ok(roots),
    }
}

/// What a client makes handshakes with that trusts `roots`.
///
/// # Errors
/// [`TrustError::Damaged`]: the provider lacks what TLS takes.
pub fn client(roots: RootCertStore, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TrustError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TrustError::Damaged(error.to_string()))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}
