//! The rustls configuration that all listeners share.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use tokio::sync::watch;

use super::certificates::Certificates;

/// What HTTP/2 is called in a handshake (RFC 9113 §3.2).
pub const HTTP2: &[u8] = b"h2";

/// The oldest version of TLS that a client may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    #[default]
    Tls12,
    Tls13,
}

/// The one provider of cryptography. With two compiled in, rustls cannot choose by itself.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What all workers make handshakes with. One for all: a client that comes back to another worker resumes its session,
/// since the keys of tickets are the configuration's. They change every six hours.
#[derive(Clone, Debug)]
pub struct Tls {
    /// For clients that may speak HTTP/2, and for those that may not. All else is the same.
    http2: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    pub certificates: watch::Receiver<Arc<Certificates>>,
}

impl Tls {
    /// # Errors
    /// The provider has no random numbers for the keys of tickets.
    pub fn new(
        certificates: watch::Receiver<Arc<Certificates>>,
        oldest: MinVersion,
    ) -> Result<Self, rustls::Error> {
        let http1 = server_config(certificates.clone(), oldest)?;
        let mut http2 = http1.clone();
        http2.alpn_protocols.insert(0, HTTP2.to_vec());
        Ok(Self {
            http2: Arc::new(http2),
            http1: Arc::new(http1),
            certificates,
        })
    }

    /// What to shake hands with, where HTTP/2 is offered and where it is not.
    #[must_use]
    pub fn config(&self, offers_http2: bool) -> Arc<ServerConfig> {
        Arc::clone(match offers_http2 {
            true => &self.http2,
            false => &self.http1,
        })
    }

    /// Whether there is a certificate to answer with when a client asks for `name`.
    #[must_use]
    pub fn has_certificate(&self, name: Option<&str>) -> bool {
        self.certificates.borrow().choose(name).is_some()
    }
}

fn server_config(
    certificates: watch::Receiver<Arc<Certificates>>,
    oldest: MinVersion,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[&SupportedProtocolVersion] = match oldest {
        MinVersion::Tls12 => &[&version::TLS13, &version::TLS12],
        MinVersion::Tls13 => &[&version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(BySni { certificates }));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

/// A configuration that shows one certificate to clients of one protocol.
///
/// # Errors
/// The provider cannot do any version of TLS.
pub fn proving(key: Arc<CertifiedKey>, protocol: &[u8]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// Answers with the certificate of the newest snapshot for the name that the client asks for. Without one, rustls
/// refuses the handshake.
#[derive(Debug)]
struct BySni {
    certificates: watch::Receiver<Arc<Certificates>>,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificates.borrow().choose(hello.server_name())
    }
}
