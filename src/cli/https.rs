//! What the command line trusts where the server is reached by HTTPS.

use std::path::Path;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use crate::regular;
use crate::tls::trust;

/// The largest file of certificates that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// Trusts the certificates in `ca`, or else those that this machine trusts. Blocks.
///
/// # Errors
/// There are none, in a sentence.
pub(super) fn config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let roots = match ca {
        Some(file) => of_file(file).map_err(|why| format!("--ca {}: {why}", file.display()))?,
        None => trust::of_machine()
            .map_err(|error| format!("{error}, or name a certificate with --ca FILE"))?,
    };
    trust::client(roots, &[b"http/1.1"]).map_err(|error| error.to_string())
}

fn of_file(file: &Path) -> Result<RootCertStore, String> {
    let text = regular::read(file, LARGEST).map_err(|error| error.to_string())?;
    trust::of_pem(&text).map_err(|error| error.to_string())
}

/// Why no handshake came about, and what to do.
pub(super) fn told(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "nobody whom this machine trusts has signed its certificate; where that is meant to be so, name the one to \
             trust: --ca FILE"
                .to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired (or this machine's clock is wrong)".to_owned()
        }
        // webpki tells by its name alone.
        Error::InvalidCertificate(CertificateError::Other(other)) if other.to_string() == "CaUsedAsEndEntity" => {
            "its certificate is one for an authority (CA:TRUE), which may sign others and not answer itself; one for a \
             server comes of openssl req -x509 with -addext basicConstraints=critical,CA:FALSE"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it has no certificate for that name; \"procserver certs\" on its machine lists those that it has"
                .to_owned()
        }
        Error::InvalidMessage(_) => "it speaks no TLS at that port: is it http://?".to_owned(),
        error => error.to_string(),
    }
}

/// Whether what goes to this `http://` URL can be read on its way.
pub(super) fn is_in_the_clear(url: &str) -> bool {
    let url: Option<awc::http::Uri> = url.parse().ok();
    let Some(host) = url.as_ref().and_then(awc::http::Uri::host) else {
        return false;
    };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_here = match address {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    !is_here && url.is_some_and(|url| url.scheme_str() == Some("http"))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::UnixTime;

    use super::*;
    use crate::tls::server_config::provider;

    #[test]
    fn what_goes_to_another_machine_by_http_can_be_read() {
        for url in [
            "http://example.org",
            "http://10.0.0.1:80",
            "http://[2001:db8::1]",
            "http://0.0.0.0",
        ] {
            assert!(is_in_the_clear(url), "{url}");
        }
        for url in [
            "https://example.org",
            "http://localhost:8080",
            "http://app.localhost",
            "http://127.9.9.9",
            "http://[::1]:80",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(!is_in_the_clear(url), "{url}");
        }
    }

    #[test]
    fn a_certificate_of_an_authority_that_answers_itself_is_explained() {
        let mut parameters = CertificateParams::new(["a.test".to_owned()]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let name = "a.test".try_into().unwrap();
        let (chain, now) = (certificate.der(), UnixTime::now());
        let verified = verifier.build().unwrap();
        let error = verified.verify_server_cert(chain, &[], &name, &[], now);
        let told = told(&error.unwrap_err());
        assert!(told.contains("CA:FALSE"), "{told}");
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_its_name() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("ca.pem");
        let told = |file: &Path| config(Some(file)).unwrap_err();
        assert!(told(&file).contains("ca.pem: No such file"));
        std::fs::write(&file, "rubbish").unwrap();
        assert!(told(&file).contains("ca.pem: it holds no certificate"));
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        std::fs::write(&file, made.cert.pem()).unwrap();
        config(Some(&file)).unwrap();
    }
}
