//! [`Challenges`]: what the CA is answered when it looks whether a name leads here.

use std::collections::HashMap;
use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::tls::server_config::provider;

/// A GET of this and a token is the CA's (RFC 8555 §8.3).
pub const PATH: &str = "/.well-known/acme-challenge/";

/// The protocol that the CA asks for in a handshake (RFC 8737 §6.2).
pub const ALPN: &[u8] = b"acme-tls/1";

/// The answer to one challenge, as it is kept until its order is over.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "type")]
pub enum Answer {
    #[serde(rename = "http-01")]
    Http {
        token: String,
        key_authorization: String,
    },
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn {
        name: String,
        key_authorization: String,
    },
    /// A TXT record.
    #[serde(rename = "dns-01")]
    Dns { name: String, value: String },
}

/// All answers that the front gives. Immutable: a change makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Challenges {
    by_token: HashMap<String, String>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Challenges {
    /// The body that answers a GET of this path, as `application/octet-stream`. `None`: it is nobody's, or not ours.
    #[must_use]
    pub fn body(&self, path: &str) -> Option<&str> {
        let token = path.strip_prefix(PATH)?;
        self.by_token.get(token).map(String::as_str)
    }

    /// The certificate for a handshake that offers [`ALPN`] alone.
    #[must_use]
    pub fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.by_name.get(name).cloned()
    }
}

/// Where answers are published. They outlive the actor that orders.
#[derive(Debug)]
pub struct PublishedChallenges(watch::Sender<Arc<Challenges>>);

impl Default for PublishedChallenges {
    fn default() -> Self {
        Self(watch::channel(Arc::default()).0)
    }
}

impl PublishedChallenges {
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Challenges>> {
        self.0.subscribe()
    }

    /// Answers so from now on. What DNS answers is not ours.
    ///
    /// # Errors
    /// The certificate for a handshake cannot be made.
    pub fn add(&self, answer: &Answer) -> Result<(), rcgen::Error> {
        let certificate = match answer {
            Answer::TlsAlpn {
                name,
                key_authorization,
            } => Some(alpn_certificate(name, key_authorization)?),
            _ => None,
        };
        self.0.send_modify(|challenges| {
            let challenges = Arc::make_mut(challenges);
            match (answer, certificate) {
                (
                    Answer::Http {
                        token,
                        key_authorization,
                    },
                    _,
                ) => {
                    let by_token = &mut challenges.by_token;
                    by_token.insert(token.clone(), key_authorization.clone());
                }
                (Answer::TlsAlpn { name, .. }, Some(certificate)) => {
                    challenges.by_name.insert(name.clone(), certificate);
                }
                _ => {}
            }
        });
        Ok(())
    }

    pub fn remove(&self, answer: &Answer) {
        self.0.send_modify(|challenges| {
            let challenges = Arc::make_mut(challenges);
            match answer {
                Answer::Http { token, .. } => drop(challenges.by_token.remove(token)),
                Answer::TlsAlpn { name, .. } => drop(challenges.by_name.remove(name)),
                Answer::Dns { .. } => {}
            }
        });
    }
}

/// The certificate of RFC 8737 §3. Only the CA gets it.
fn alpn_certificate(
    name: &str,
    key_authorization: &str,
) -> Result<Arc<CertifiedKey>, rcgen::Error> {
    let digest = Sha256::digest(key_authorization);
    let mut parameters = CertificateParams::new([name.to_owned()])?;
    parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    let key = provider().key_provider.load_private_key(key);
    let key = key.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    // `from_der` would refuse the critical extension, which only the CA understands.
    Ok(Arc::new(CertifiedKey::new(
        vec![certificate.der().clone()],
        key,
    )))
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::parse_x509_certificate;

    use super::*;

    #[test]
    fn what_is_added_is_answered_until_it_is_removed() {
        let published = PublishedChallenges::default();
        let seen = published.subscribe();
        let answer = Answer::Http {
            token: "abc".to_owned(),
            key_authorization: "abc.thumb".to_owned(),
        };
        published.add(&answer).unwrap();
        let body = |path: &str| seen.borrow().body(path).map(str::to_owned);
        assert_eq!(
            body("/.well-known/acme-challenge/abc").as_deref(),
            Some("abc.thumb")
        );
        assert_eq!(body("/.well-known/acme-challenge/ab"), None);
        assert_eq!(body("/.well-known/acme-challenge/"), None);
        assert_eq!(body("/abc"), None);
        published.remove(&answer);
        assert_eq!(body("/.well-known/acme-challenge/abc"), None);
    }

    #[test]
    fn a_handshake_of_the_ca_gets_a_certificate_with_the_digest_in_a_critical_extension() {
        let published = PublishedChallenges::default();
        let answer = Answer::TlsAlpn {
            name: "a.test".to_owned(),
            key_authorization: "abc.thumb".to_owned(),
        };
        published.add(&answer).unwrap();
        let challenges = published.subscribe();
        let found = challenges.borrow().certificate("a.test").unwrap();
        let (_, certificate) = parse_x509_certificate(&found.cert[0]).unwrap();
        let extensions = certificate.extensions().iter();
        let mut named = extensions.filter(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        let extension = named.next().unwrap();
        assert!(extension.critical);
        // An OCTET STRING of 32 bytes.
        assert_eq!(extension.value[..2], [0x04, 0x20]);
        assert_eq!(extension.value[2..], Sha256::digest("abc.thumb")[..]);
    }
}
