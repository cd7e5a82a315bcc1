//! The rustls configuration that all listeners share.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, ServerConfig, SupportedProtocolVersion, version};
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
    /// AES-128 first, whatever the client has first.
    aes: Protocols,
    /// In the client's order, for those without AES in hardware.
    chacha: Protocols,
    pub certificates: watch::Receiver<Arc<Certificates>>,
}

/// For clients that may speak HTTP/2, and for those that may not. All else is the same.
#[derive(Clone, Debug)]
struct Protocols {
    http2: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
}

impl From<ServerConfig> for Protocols {
    fn from(http1: ServerConfig) -> Self {
        let mut http2 = http1.clone();
        http2.alpn_protocols.insert(0, HTTP2.to_vec());
        let (http2, http1) = (Arc::new(http2), Arc::new(http1));
        Self { http2, http1 }
    }
}

impl Tls {
    /// # Errors
    /// The provider has no random numbers for the keys of tickets.
    pub fn new(
        certificates: watch::Receiver<Arc<Certificates>>,
        oldest: MinVersion,
    ) -> Result<Self, rustls::Error> {
        let chacha = server_config(certificates.clone(), oldest)?;
        let mut aes = chacha.clone();
        aes.ignore_client_order = true;
        Ok(Self {
            aes: aes.into(),
            chacha: chacha.into(),
            certificates,
        })
    }

    /// What to shake hands with, where HTTP/2 is offered and where it is not.
    #[must_use]
    pub fn config(&self, hello: &ClientHello<'_>, offers_http2: bool) -> Arc<ServerConfig> {
        let protocols = match prefers_chacha(hello.cipher_suites()) {
            true => &self.chacha,
            false => &self.aes,
        };
        Arc::clone(match offers_http2 {
            true => &protocols.http2,
            false => &protocols.http1,
        })
    }

    /// Whether there is a certificate to answer with when a client asks for `name`.
    #[must_use]
    pub fn has_certificate(&self, name: Option<&str>) -> bool {
        self.certificates.borrow().choose(name).is_some()
    }
}

/// The provider with AES-128 before AES-256: nobody breaks either, and the hash that comes with the latter, SHA-384,
/// takes a fifth of a handshake's time on processors that have instructions for SHA-256 only.
fn server_provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let suites = &mut provider.cipher_suites;
    suites.sort_by_key(|suite| !is_aes_128(suite.suite()));
    Arc::new(provider)
}

fn is_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// Whether ChaCha20 comes first of what we have, too: so do phones order whose processors have no AES.
fn prefers_chacha(offered: &[CipherSuite]) -> bool {
    let known = aws_lc_rs::DEFAULT_CIPHER_SUITES;
    let first = offered
        .iter()
        .find(|offer| known.iter().any(|suite| suite.suite() == **offer));
    matches!(
        first,
        Some(
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    )
}

fn server_config(
    certificates: watch::Receiver<Arc<Certificates>>,
    oldest: MinVersion,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[&SupportedProtocolVersion] = match oldest {
        MinVersion::Tls12 => &[&version::TLS13, &version::TLS12],
        MinVersion::Tls13 => &[&version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(server_provider())
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(BySni { certificates }));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // Each connection brings the ticket of the next. rustls' default is two; OpenSSL sends one to who resumes, Go always.
    config.send_tls13_tickets = 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_comes_first_but_for_clients_that_have_chacha_first() {
        let suites = &server_provider().cipher_suites;
        let first_of = |is_13| suites.iter().find(|suite| suite.tls13().is_some() == is_13);
        assert!(
            [true, false]
                .map(first_of)
                .iter()
                .all(|suite| suite.is_some_and(|s| is_aes_128(s.suite())))
        );
        assert_eq!(suites.len(), aws_lc_rs::DEFAULT_CIPHER_SUITES.len());

        let chacha = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
        let aes = CipherSuite::TLS13_AES_256_GCM_SHA384;
        let grease = CipherSuite::Unknown(0x1a1a);
        assert!(prefers_chacha(&[grease, chacha, aes]));
        assert!(!prefers_chacha(&[grease, aes, chacha]));
        assert!(!prefers_chacha(&[]));
    }
}
