//! [`Certificate`]: a chain and its key, read from PEM.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{GeneralName, X509Certificate};

/// Where a certificate comes from. Of two for one name, the files of the settings win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Acme,
    File,
}

/// A chain and its key, ready for handshakes, with what its leaf says of itself.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub key: Arc<CertifiedKey>,
    pub source: Source,
    /// The DNS names of the subject's alternative names, in lower case; the first label may be `*`.
    pub names: Vec<String>,
    /// The addresses among the subject's alternative names: who asks for an address sends no name.
    pub addresses: Vec<IpAddr>,
    pub issuer: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// Why PEM text is no certificate with its key. Never quotes the key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(
        "it holds no certificate (a PEM block that begins with \"-----BEGIN CERTIFICATE-----\")"
    )]
    NoCertificate,
    #[error("its block {block} is no certificate: {reason}")]
    Malformed { block: usize, reason: String },
    #[error(
        "it holds no private key (a PEM block \"PRIVATE KEY\", \"EC PRIVATE KEY\" or \"RSA PRIVATE KEY\" without a \
         password; `openssl pkey -in FILE` takes a password off)"
    )]
    NoKey,
    #[error("its private key cannot be used: {0}")]
    Key(String),
    #[error(
        "the private key is not the one of the certificate; the certificate of the name itself must come first in the \
         chain"
    )]
    OtherKey,
    #[error(
        "the certificate is for no DNS name and no address (subjectAltName): clients accept none without"
    )]
    NoName,
}

impl Certificate {
    /// Reads a chain, the leaf first, and the leaf's key.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong with either text.
    pub fn from_pem(
        chain: &[u8],
        key: &[u8],
        source: Source,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let chain = read_chain(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| CertificateError::Key(error.to_string()))?;
        let leaf = Leaf::read(&chain[0])?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) | Ok(()) => {}
            Err(_) => return Err(CertificateError::OtherKey),
        }
        Ok(Self {
            key: Arc::new(key),
            source,
            names: leaf.names,
            addresses: leaf.addresses,
            issuer: leaf.issuer,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
        })
    }

    /// Whether it is for this name.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        covers(&self.names, name)
    }

    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// Whether a certificate with these names is for `name`: exactly, or by a wildcard for its first label (RFC 6125 §6.4.3).
#[must_use]
pub fn covers(names: &[String], name: &str) -> bool {
    let parent = name.split_once('.').map(|(_, parent)| parent);
    let mut names = names.iter();
    names.any(|own| own == name || parent.is_some() && own.strip_prefix("*.") == parent)
}

fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem)
        .enumerate()
        .map(|(index, certificate)| {
            certificate.map_err(|error| CertificateError::Malformed {
                block: index + 1,
                reason: error.to_string(),
            })
        })
        .collect();
    let chain = chain?;
    match chain.is_empty() {
        true => Err(CertificateError::NoCertificate),
        false => Ok(chain),
    }
}

/// What the certificate of the name itself says.
struct Leaf {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    issuer: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Leaf {
    fn read(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let malformed = |reason: String| CertificateError::Malformed { block: 1, reason };
        let (_, leaf) = x509_parser::parse_x509_certificate(der)
            .map_err(|error| malformed(error.to_string()))?;
        let (names, addresses) = subjects(&leaf).map_err(malformed)?;
        if names.is_empty() && addresses.is_empty() {
            return Err(CertificateError::NoName);
        }
        let time = |time: &x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|error| malformed(error.to_string()))
        };
        Ok(Self {
            names,
            addresses,
            issuer: issuer(&leaf),
            not_before: time(&leaf.validity().not_before)?,
            not_after: time(&leaf.validity().not_after)?,
        })
    }
}

/// The DNS names and the addresses that it is for.
fn subjects(leaf: &X509Certificate<'_>) -> Result<(Vec<String>, Vec<IpAddr>), String> {
    let alternatives = leaf
        .subject_alternative_name()
        .map_err(|error| error.to_string())?;
    let alternatives = alternatives
        .iter()
        .flat_map(|names| &names.value.general_names);
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for alternative in alternatives {
        match alternative {
            GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Ok((names, addresses))
}

/// An address by its 4 or 16 bytes (RFC 5280 §4.2.1.6).
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// The issuer's common name, which is how people know it; all of its name where it has none.
fn issuer(leaf: &X509Certificate<'_>) -> String {
    let common_name = leaf.issuer().iter_common_name().next();
    let common_name = common_name.and_then(|name| name.as_str().ok());
    common_name.map_or_else(|| leaf.issuer().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};

    use super::*;
    use crate::tls::server_config::provider;

    fn generate(names: &[&str]) -> Generated<rcgen::KeyPair> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        generate_simple_self_signed(names).unwrap()
    }

    fn read(chain: &str, key: &str) -> Result<Certificate, CertificateError> {
        Certificate::from_pem(chain.as_bytes(), key.as_bytes(), Source::File, &provider())
    }

    #[test]
    fn a_chain_and_its_key_tell_names_and_times() {
        let made = generate(&["Shop.example.org", "*.example.org"]);
        let read = read(&made.cert.pem(), &made.signing_key.serialize_pem()).unwrap();
        assert_eq!(read.names, ["shop.example.org", "*.example.org"]);
        assert_eq!(read.issuer, "rcgen self signed cert");
        assert!(read.is_valid_at(Timestamp::now()));
        assert!(!read.is_valid_at(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn one_for_addresses_alone_is_taken_too() {
        let made = generate(&["192.0.2.1", "2001:db8::1"]);
        let read = read(&made.cert.pem(), &made.signing_key.serialize_pem()).unwrap();
        let expected: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!((read.names.len(), &read.addresses[..]), (0, &expected[..]));
        assert_eq!(address(&[1, 2, 3]), None);
    }

    #[test]
    fn a_name_is_covered_exactly_or_by_a_wildcard_for_its_first_label() {
        let made = generate(&["a.test", "*.b.test"]);
        let read = read(&made.cert.pem(), &made.signing_key.serialize_pem()).unwrap();
        for name in ["a.test", "x.b.test", "*.b.test"] {
            assert!(read.covers(name), "{name}");
        }
        for name in ["x.a.test", "b.test", "x.y.b.test", "*.a.test", "test", ""] {
            assert!(!read.covers(name), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart_and_no_key_is_quoted() {
        let (one, other) = (generate(&["a.test"]), generate(&["a.test"]));
        let (cert, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let told = |chain: &str, key: &str| read(chain, key).unwrap_err();
        assert!(matches!(told("", &key), CertificateError::NoCertificate));
        assert!(matches!(told(&key, &key), CertificateError::NoCertificate));
        assert!(matches!(told(&cert, &cert), CertificateError::NoKey));
        let other = other.signing_key.serialize_pem();
        assert!(matches!(told(&cert, &other), CertificateError::OtherKey));
        let torn = cert.replace("\nMII", "\nAAA");
        assert!(matches!(
            told(&torn, &key),
            CertificateError::Malformed { block: 1, .. }
        ));
        assert!(matches!(
            told(&generate(&[]).cert.pem(), &key),
            CertificateError::NoName
        ));
        let body = key.lines().nth(1).unwrap();
        assert!(!format!("{:?}", read(&cert, &key).unwrap()).contains(body));
    }
}
